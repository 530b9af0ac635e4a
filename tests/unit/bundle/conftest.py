"""Bundles that the tests of a session share; nobody writes into them."""

from __future__ import annotations

from pathlib import Path

import pytest

from otcal.bundle.exporting import export_bundle
from otcal.config.bundle import BundleConfig, LatentBundleConfig
from support.bundles import write_latent_study, write_simplex_study


@pytest.fixture(scope="session")
def studies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("studies")
    return {"simplex": write_simplex_study(root), "latent": write_latent_study(root)}


@pytest.fixture(scope="session")
def bundle(studies: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundles") / "simplex"
    export_bundle("simplex", studies["simplex"], path, BundleConfig())
    return path


@pytest.fixture(scope="session")
def latent_bundle(studies: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundles") / "latent"
    export_bundle("latent", studies["latent"], path, LatentBundleConfig())
    return path
