"""A Slurm cluster of one node for the session, and an undisturbed local run to compare with."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.checkout import Checkout, copy_project
from support.slurm import CLUSTER, TINY, Submitter

TAGGER = "results/smoke/simplex/tagger/tagger.json"


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """Start Slurm; stop it after the last test, unless it ran before."""
    runs = subprocess.run([CLUSTER, "status"], check=False).returncode == 0
    subprocess.run([CLUSTER, "start"], check=True)
    yield
    if not runs:
        subprocess.run([CLUSTER, "stop"], check=True)


@pytest.fixture
def submit(cluster: None) -> Iterator[Submitter]:
    """Start Snakemake that submits: ``submit(checkout, *arguments)``."""
    submitter = Submitter()
    yield submitter
    submitter.close()


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Jets and tagger of the simplex study, made without Slurm and without a disturbance."""
    project = copy_project(tmp_path_factory.mktemp("reference") / "otcal")
    done = project.snakemake(TAGGER, "--set-threads", "train_tagger=1", presets=TINY)
    assert done.returncode == 0, done.stderr[-6000:]
    return project


@pytest.fixture
def without(reference: Checkout, tmp_path: Path) -> Callable[..., Checkout]:
    """Copy the reference without some directories of its results: ``without("simplex/tagger")``."""

    def copy(*names: str, to: str = "otcal") -> Checkout:
        shutil.copytree(reference.path, tmp_path / to, symlinks=True)
        for name in names:
            shutil.rmtree(tmp_path / to / "results/smoke" / name)
        return Checkout(tmp_path / to)

    return copy
