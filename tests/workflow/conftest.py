"""A checkout in a directory of its own, with the smoke preset run once for all tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from support.checkout import Checkout, copy_project


@pytest.fixture(scope="session")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A copy with what Python and a plan keep of the code. Do not change it."""
    project = copy_project(tmp_path_factory.mktemp("parsed") / "otcal")
    project.planned()
    shutil.rmtree(project.path / ".snakemake")
    return project


@pytest.fixture
def checkout(parsed: Checkout, tmp_path: Path) -> Checkout:
    """A copy without results."""
    shutil.copytree(parsed.path, tmp_path / "otcal", symlinks=True)
    return Checkout(tmp_path / "otcal")


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A copy in which `make smoke`'s workflow has run: for one file of tests. Do not change it."""
    project = copy_project(tmp_path_factory.mktemp("smoke") / "otcal")
    done = project.snakemake()
    assert done.returncode == 0, done.stderr[-6000:]
    return project


@pytest.fixture
def edited(smoke: Checkout, tmp_path: Path) -> Checkout:
    """A copy of the finished smoke run (with its rerun metadata) that a test may edit."""
    shutil.copytree(smoke.path, tmp_path / "otcal", symlinks=True)
    return Checkout(tmp_path / "otcal")
