"""Pseudo-data: how much worse, and that nothing else changes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from otcal.config.degradation import Degradation
from otcal.samples.flavours import FLAVOURS
from otcal.samples.jets import jet_schema
from otcal.samples.tables import to_numpy
from otcal.simulation.degradation import degrade, needed

SCHEMA = jet_schema(FLAVOURS)
NOTHING = Degradation(seed=3, d0val=0.0, dzval=0.0, dropout=0.0)
N = 4000


def made(n=N, seed=1, shortest=1):
    """Jets of random numbers; pulls of the impact parameters are standard Gaussians."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(shortest, 15, n)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    m = int(lengths.sum())
    values = {name: rng.normal(size=m) for name in SCHEMA.names if name.startswith("part_")}
    values["part_charge"] = rng.choice([-1, 0, 1], m, p=[0.4, 0.2, 0.4])
    charged = values["part_charge"] != 0
    for name in ("d0", "dz"):
        values[f"part_{name}err"] = charged * rng.uniform(0.01, 0.3, m)
        values[f"part_{name}val"] *= values[f"part_{name}err"]
    columns = {}
    for field in SCHEMA:
        if field.name in values:
            flat = values[field.name].astype(field.type.value_type.to_pandas_dtype())
            columns[field.name] = pa.ListArray.from_arrays(offsets, pa.array(flat))
        elif field.name == "jet_nparticles":
            columns[field.name] = pa.array(lengths.astype(np.float32))
        elif field.name == "jet_id":
            columns[field.name] = pa.array((seed << 20) + np.arange(n))
        else:
            columns[field.name] = pa.array(rng.integers(0, 9, n).astype(float)).cast(field.type)
    return pa.table(columns, schema=SCHEMA)


def flat(table, name):
    return to_numpy(table[f"part_{name}"].combine_chunks().flatten()).astype(float)


def owners(table):
    lengths = to_numpy(table["part_charge"].combine_chunks().value_lengths())
    return np.repeat(np.arange(len(table)), lengths)


@pytest.fixture(scope="module")
def jets():
    return made()


def test_without_changes_the_jets_are_the_same(jets):
    assert degrade(jets, NOTHING).equals(jets)


@pytest.mark.parametrize("name", ["d0", "dz"])
def test_variance_of_the_pulls_grows_by_the_square_of_the_width(jets, name):
    width = 0.7
    after = degrade(jets, NOTHING.model_copy(update={f"{name}val": width}))
    charged = flat(jets, "charge") != 0
    error = flat(jets, f"{name}err")[charged]
    added = (flat(after, f"{name}val") - flat(jets, f"{name}val"))[charged] / error
    pull = flat(after, f"{name}val")[charged] / error
    n = charged.sum()
    assert n > 20_000
    assert added.mean() == pytest.approx(0, abs=4 * width / np.sqrt(n))
    assert added.var() == pytest.approx(width**2, rel=4 * np.sqrt(2 / n))
    assert pull.var() == pytest.approx(1 + width**2, rel=4 * np.sqrt(2 / n))
    # Independent of the track itself and of its neighbour.
    assert np.corrcoef(added, flat(jets, f"{name}val")[charged] / error)[0, 1] == pytest.approx(
        0, abs=4 / np.sqrt(n)
    )
    assert np.corrcoef(added[1:], added[:-1])[0, 1] == pytest.approx(0, abs=4 / np.sqrt(n))
    for column in SCHEMA.names:
        if column != f"part_{name}val":
            assert after[column].equals(jets[column]), column
    assert (flat(after, f"{name}val")[~charged] == 0).all()


def test_both_impact_parameters_move_independently(jets):
    after = degrade(jets, NOTHING.model_copy(update={"d0val": 0.5, "dzval": 0.5}))
    charged = flat(jets, "charge") != 0
    moves = [
        ((flat(after, f"{k}val") - flat(jets, f"{k}val")) / np.maximum(flat(jets, f"{k}err"), 1e-9))
        for k in ("d0", "dz")
    ]
    correlation = np.corrcoef(moves[0][charged], moves[1][charged])[0, 1]
    assert correlation == pytest.approx(0, abs=4 / np.sqrt(charged.sum()))


def test_tracks_are_lost_at_the_rate_and_never_the_last_one(jets):
    rate = 0.3
    after = degrade(jets, NOTHING.model_copy(update={"dropout": rate}))
    before, left = (
        np.bincount(owners(t)[flat(t, "charge") != 0], minlength=N) for t in (jets, after)
    )
    assert (left[before > 0] >= 1).all()
    assert (left == 1)[before == 1].all()
    # A track is lost unless it is the last one: the share is rate - rate^n / n.
    expected = (before * rate - np.where(before > 0, rate**before, 0)).sum() / before.sum()
    share = 1 - left.sum() / before.sum()
    assert share == pytest.approx(expected, abs=4 * np.sqrt(rate * (1 - rate) / before.sum()))

    neutral = [flat(t, "px")[flat(t, "charge") == 0] for t in (jets, after)]
    assert np.array_equal(*neutral)
    lengths = np.bincount(owners(after), minlength=N)
    assert np.array_equal(to_numpy(after["jet_nparticles"]), lengths)
    # Those left are the ones that were there, in their order, with all their columns.
    for name in (c for c in SCHEMA.names if c.startswith("part_")):
        for old, new in zip(jets[name][:50].to_pylist(), after[name][:50].to_pylist(), strict=True):
            rest = iter(old)
            assert all(value in rest for value in new), name
    for name in SCHEMA.names:
        if not name.startswith("part_") and name != "jet_nparticles":
            assert after[name].equals(jets[name]), name


def test_each_jet_has_its_own_random_numbers(jets):
    spec = Degradation(seed=9, d0val=0.5, dzval=0.4, dropout=0.2)
    whole = degrade(jets, spec)
    pieces = [degrade(jets.slice(start, 700), spec) for start in range(0, N, 700)]
    assert pa.concat_tables(pieces).combine_chunks().equals(whole.combine_chunks())
    order = np.random.default_rng(2).permutation(N)
    assert degrade(jets.take(order), spec).equals(whole.take(order))
    chunked = pa.concat_tables([jets.slice(0, 10), jets.slice(10)])
    assert degrade(chunked, spec).equals(whole)

    # Smearing does not depend on what else is done, nor dropout on smearing.
    only = degrade(jets, spec.model_copy(update={"dropout": 0.0, "dzval": 0.0}))
    smeared = set(flat(only, "d0val")[flat(only, "charge") != 0])
    assert set(flat(whole, "d0val")[flat(whole, "charge") != 0]) <= smeared
    assert whole["jet_nparticles"].equals(
        degrade(jets, spec.model_copy(update={"d0val": 0.0}))["jet_nparticles"]
    )
    other = degrade(jets, only_d0(spec.seed + 1))
    charged = flat(jets, "charge") != 0
    moves = [
        (flat(t, "d0val") - flat(jets, "d0val"))[charged] / flat(jets, "d0err")[charged]
        for t in (degrade(jets, only_d0(spec.seed)), other)
    ]
    assert np.corrcoef(*moves)[0, 1] == pytest.approx(0, abs=4 / np.sqrt(charged.sum()))


def only_d0(seed):
    return NOTHING.model_copy(update={"seed": seed, "d0val": 1.0})


def test_jets_with_neighbouring_ids_are_unrelated():
    jets = made(1, seed=5, shortest=14)
    same = pa.concat_tables([jets] * 3000)
    same = same.set_column(0, "jet_id", pa.array(np.arange(3000)))
    move = to_numpy(degrade(same, only_d0(1))["part_d0val"].combine_chunks().flatten())
    move = move.reshape(3000, -1)[:, flat(jets, "charge") != 0].astype(float)
    move -= move.mean(axis=0)
    successive = (move[1:] * move[:-1]).mean(axis=0) / move.var(axis=0)
    assert np.abs(successive).max() < 4.5 / np.sqrt(3000)


def test_jets_without_constituents_and_no_jets_at_all():
    jets = made(200, seed=4, shortest=0)
    assert (to_numpy(jets["jet_nparticles"]) == 0).any()
    after = degrade(jets, Degradation(dropout=0.5))
    assert np.array_equal(
        to_numpy(after["jet_nparticles"]), np.bincount(owners(after), minlength=200)
    )
    assert degrade(jets.slice(0, 0), Degradation()).equals(jets.slice(0, 0))


def test_jets_without_an_error_can_be_degraded_otherwise() -> None:
    table = made(50)
    spec = Degradation(d0val=0.5, dzval=0.0, dropout=0.2)
    assert "part_dzerr" not in needed(spec)
    assert set(needed(Degradation(d0val=0.5, dzval=0.5))) >= {"part_d0err", "part_dzerr"}
    few = degrade(table.select(needed(spec)), spec)
    assert few.equals(degrade(table, spec).select(needed(spec)))
