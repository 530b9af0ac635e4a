from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest
import torch

from otcal.samples.classes import CLASSES
from otcal.tagger.constituents import Jets, from_table
from otcal.tagger.network import Tagger
from otcal.tagger.preprocessing import Preprocessing

CONSTITUENT_FEATURES = ("pt", "deta", "dphi", "d0val", "d0err", "dzval", "dzerr")
JET_FEATURES = ("pt", "eta", "phi", "energy", "nparticles")


@pytest.fixture(scope="session")
def ragged() -> Callable[[pa.Table], Jets]:
    def convert(table: pa.Table) -> Jets:
        return from_table(table, CONSTITUENT_FEATURES, JET_FEATURES, CLASSES, "test")

    return convert


@pytest.fixture(scope="session")
def preprocess() -> Callable[..., Preprocessing]:
    def fit(jets: Jets, quantiles: int = 50, max_constituents: int = 64) -> Preprocessing:
        return Preprocessing.fit(
            jets,
            CONSTITUENT_FEATURES,
            JET_FEATURES,
            quantiles=quantiles,
            max_constituents=max_constituents,
        )

    return fit


@pytest.fixture
def network() -> Tagger:
    """A small network in evaluation mode whose FiLM layers do something."""
    torch.manual_seed(3)
    net = Tagger(
        constituent_features=7,
        jet_features=5,
        classes=10,
        d_model=32,
        blocks=3,
        heads=4,
        expansion=2,
        dropout=0.1,
        head=[16, 16, 16, 16],
    )
    for block in net.blocks:
        torch.nn.init.normal_(block.film.weight, std=0.2)
    return net.eval()
