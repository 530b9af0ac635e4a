"""Closure in bins: maps that do and do not know how the difference depends on the column."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from otcal.closure.bins import bin_rows
from otcal.closure.jets import Sample
from otcal.config.bins import BinsConfig, bin_columns, named_bins
from otcal.config.closure import ClosureConfig
from otcal.transport.api import fit_map

BINS = [BinsConfig(column="jet_pt", edges=(500, 700, 1000))]


def sample(seed: int, rise: float, n: int = 6000) -> Sample:
    """Return jets whose latent has mean `rise` (pT - 750) / 250 in every coordinate."""
    rng = np.random.default_rng(seed)
    pt = rng.uniform(500, 1000, n).astype(np.float32)
    z = rng.normal(size=(n, 3)) + rise * (pt[:, None] - 750.0) / 250.0
    fold = np.zeros(n, np.int8)
    columns = {"z128": z.astype(np.float32), "jet_pt": pt}
    return Sample(rng.choice(10**9, n, replace=False), fold, columns)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    source, target = sample(1, 0.0), sample(2, 1.0)
    fit = {"method": "gaussian", "diagnostics": False}

    def fitted(one: Sample, other: Sample, conditional: bool = False):
        points = [jets.columns["z128"] for jets in (one, other)]
        given = tuple(jets.columns["jet_pt"][:, None] for jets in (one, other))
        return fit_map(*points, conditions=given if conditional else None, **fit).map

    def inside(jets: Sample, low: float, high: float) -> Sample:
        pt = jets.columns["jet_pt"]
        return jets.take((pt >= low) & (pt < high))

    train = sample(3, 0.0), sample(4, 1.0)
    maps = {"inclusive": fitted(*train), "conditional": fitted(*train, conditional=True)}
    edges = ((500, 700), (700, 1000))
    binned = [fitted(*(inside(jets, low, high) for jets in train)) for low, high in edges]
    rows = pd.DataFrame(bin_rows(source, target, maps, binned, BINS, "z128", 2000))
    return rows.set_index(["low", "high", "map"]).sort_index()


def test_files_in_any_order_of_their_jets_compare_alike() -> None:
    """One process after the other in the source, shuffled in the target: no difference."""
    rng = np.random.default_rng(5)
    n = 8000

    def jets(process: np.ndarray) -> Sample:
        z = rng.normal(size=(n, 2)) + 3.0 * process[:, None]
        columns = {"z128": z.astype(np.float32), "jet_pt": rng.uniform(500, 1000, n)}
        return Sample(rng.choice(10**9, n, replace=False), np.zeros(n, np.int8), columns)

    one_after_the_other = np.repeat([0, 1], n // 2)
    source, target = jets(one_after_the_other), jets(rng.permutation(one_after_the_other))
    binned = [fit_map(z, z, method="gaussian", diagnostics=False).map for z in _points(source)]
    rows = pd.DataFrame(bin_rows(source, target, {}, binned, BINS, "z128", 1000))
    for _, row in rows.iterrows():
        assert abs(row["energy"]) < 5 * row["error"]


def _points(jets: Sample) -> list[np.ndarray]:
    return [jets.columns["z128"]] * len(named_bins(BINS))


@pytest.mark.parametrize(("low", "high"), [(500.0, 700.0), (700.0, 1000.0)])
def test_only_a_map_that_knows_the_condition_closes_every_bin(
    table: pd.DataFrame, low: float, high: float
) -> None:
    energy, error = table["energy"][low, high], table["error"][low, high]
    for name in ("conditional", "floor"):
        assert abs(energy[name]) < 4 * error[name]
    # A map of the bin's jets leaves the slope within the bin, one of all jets the bin's own mean.
    assert energy["binned"] < 0.2 * energy["inclusive"]
    assert energy["inclusive"] > 5 * error["inclusive"]


def test_all_bins_together_hide_what_one_map_for_all_leaves(table: pd.DataFrame) -> None:
    whole, first = table["energy"][500.0, 1000.0], table["energy"][500.0, 700.0]
    assert whole["inclusive"] < 0.2 * first["inclusive"]
    assert table["source_jets"].max() <= 2000


def test_edges_rise() -> None:
    with pytest.raises(ValidationError, match="edges of bins must rise"):
        BinsConfig(column="jet_pt", edges=(500.0, 500.0))


def test_every_column_has_its_bins_and_maps_their_names() -> None:
    eta = BinsConfig(column="jet_eta", edges=(-1.0, 0.0, 2.0))
    bins = [*BINS, eta]
    assert bin_columns(bins) == ("jet_pt", "jet_eta")
    assert named_bins(bins) == {
        "jet_pt-0": ("jet_pt", 500.0, 700.0),
        "jet_pt-1": ("jet_pt", 700.0, 1000.0),
        "jet_eta-0": ("jet_eta", -1.0, 0.0),
        "jet_eta-1": ("jet_eta", 0.0, 2.0),
    }
    with pytest.raises(ValidationError, match="bins name a column twice"):
        ClosureConfig(bins=(eta, eta))


def test_a_map_of_two_conditions_closes_bins_of_both() -> None:
    """The target moves along one coordinate as pT does, along the other as η does."""

    def jets(seed: int, moved: bool) -> Sample:
        rng = np.random.default_rng(seed)
        given = rng.uniform((500.0, -2.0), (1000.0, 2.0), (6000, 2))
        z = rng.normal(size=(6000, 2)) + 2 * moved * (given - (750.0, 0.0)) / (250.0, 2.0)
        columns = {"z128": z, "jet_pt": given[:, 0], "jet_eta": given[:, 1]}
        single = {name: values.astype(np.float32) for name, values in columns.items()}
        return Sample(rng.choice(10**9, 6000, replace=False), np.zeros(6000, np.int8), single)

    bins = [*BINS, BinsConfig(column="jet_eta", edges=(-2.0, 0.0, 2.0))]
    train, test = ([jets(seed, False), jets(seed + 1, True)] for seed in (11, 13))
    points = [one.columns["z128"] for one in train]
    given = [np.column_stack([one.columns[name] for name in bin_columns(bins)]) for one in train]
    fit = {"method": "gaussian", "diagnostics": False}
    maps = {
        "inclusive": fit_map(*points, **fit).map,
        "conditional": fit_map(*points, conditions=tuple(given), **fit).map,
    }
    binned = [maps["inclusive"]] * 4  # what these do is another test's
    table = pd.DataFrame(bin_rows(*test, maps, binned, bins, "z128", 2000))
    assert table.groupby("column").size().to_dict() == {"jet_pt": 3 * 5, "jet_eta": 3 * 5}
    for _, rows in table.set_index("map").groupby(["column", "low", "high"]):
        energy, error = rows["energy"], rows["error"]
        assert abs(energy["conditional"]) < 4 * error["conditional"]
        if rows["source_jets"].max() < 2000:  # a bin, not all of them
            assert energy["inclusive"] > 5 * error["inclusive"]
