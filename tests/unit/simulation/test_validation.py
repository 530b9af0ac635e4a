"""Distances to the JetClass quantiles."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml

from otcal.config.simulation import ValidationSpec
from otcal.runtime.errors import InputError
from otcal.samples.classes import CLASSES
from otcal.samples.jets import CONSTITUENT_FLAGS, CONSTITUENT_FLOATS, JET_SCHEMA, write_jets
from otcal.simulation.validation import FEATURES, Reference, Sample, distance, load, references
from otcal.steps import validate_simulation

ROOT = Path(__file__).parents[3]


def sample(values, weights=None):
    values = np.asarray(values, dtype=float)
    weights = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=float)
    order = np.argsort(values)
    return Sample(values[order], weights[order] / weights.sum())


def test_references_are_those_of_jetclass():
    expected = references()
    assert tuple(expected) == FEATURES
    for reference in expected.values():
        assert len(reference.values) == 500
        assert (np.diff(reference.values) >= 0).all()
        assert (reference.probabilities[0], reference.probabilities[-1]) == (0, 1)
    assert np.interp(0.5, *_columns(expected["jet_pt"])) == pytest.approx(585.3, abs=0.5)
    assert np.interp(0.5, *_columns(expected["jet_nparticles"])) == 38


def _columns(reference):
    return reference.probabilities, reference.values


def test_distance_of_shifted_uniform_numbers():
    p = np.linspace(0, 1, 500)
    reference = Reference(p, p)
    grid = (np.arange(20_000) + 0.5) / 20_000
    assert distance(sample(grid), reference) < 1e-4
    assert distance(sample(grid + 0.07), reference) == pytest.approx(0.07, abs=2e-3)
    assert distance(sample(grid**2), reference) == pytest.approx(0.25, abs=2e-3)


def test_distance_of_discrete_numbers():
    p = np.linspace(0, 1, 501)
    reference = Reference(p, np.repeat([1.0, 2.0, 3.0], [101, 200, 200]))  # 20, 40, 40 %
    same = sample(np.repeat([1.0, 2.0, 3.0], [20, 40, 40]))
    assert distance(same, reference) < 0.003
    rounded = sample(np.float32([1.0, 2.0, 3.0] * 100) * (1 + 1e-7))
    assert distance(rounded, reference) == pytest.approx(1 / 3 - 0.2, abs=0.003)
    weighted = sample([1.0, 2.0, 3.0], [0.3, 0.3, 0.4])
    assert distance(weighted, reference) == pytest.approx(0.1, abs=0.003)


def test_quantiles_of_a_weighted_sample():
    one = sample([1.0, 2.0, 3.0], [1, 2, 1])
    assert one.quantile(np.array([0.0, 0.2, 0.3, 0.75, 0.8, 1.0])).tolist() == [1, 1, 2, 2, 3, 3]


def write(path, counts, first=0):
    """Write jets of a track and a photon, of given numbers per class; pT tells the class."""
    label = np.repeat(list(counts), list(counts.values()))
    n = len(label)
    columns = {"jet_id": first + np.arange(n)}
    for name in JET_SCHEMA.names[1:]:
        if name in CONSTITUENT_FLOATS + CONSTITUENT_FLAGS:
            columns[name] = [[1.0, 0.0]] * n
        elif name.startswith("label_"):
            columns[name] = (label == CLASSES.index(name[6:])).astype(np.int8)
        else:
            columns[name] = np.full(n, 1.0)
    columns["jet_pt"] = 500.0 + label
    columns["jet_energy"] = np.full(n, 1000.0 + first)
    columns["part_d0val"] = [[float(k), 99.0] for k in label]
    columns["part_deta"] = [[1.3, -0.2]] * n
    table = pa.table({k: pa.array(v, JET_SCHEMA.field(k).type) for k, v in columns.items()})
    write_jets(path, table, {})
    return path


ALL = dict.fromkeys(range(10), 5)


def test_classes_are_mixed_evenly_and_neutrals_have_no_impact_parameter(tmp_path):
    paths = [write(tmp_path / "a.parquet", {0: 30}), write(tmp_path / "b.parquet", ALL)]
    samples = load(paths, 1000)
    for name, values in (("jet_pt", 500.0 + np.arange(10)), ("d0val", np.arange(10.0))):
        one = samples[name]
        assert len(one.values) == 80
        for value in values:
            assert one.weights[one.values == value].sum() == pytest.approx(0.1)
    assert samples["deta"].values.max() == 0.8  # clipped like the reference
    assert len(samples["pt"].values) == 160


@pytest.mark.parametrize(
    ("counts", "absent"),
    [
        ({k: 5 for k in ALL if k not in (3, 9)}, "Hgg, Tbl"),
        ({}, ", ".join(CLASSES)),
    ],
)
def test_classes_without_jets_are_named(tmp_path, counts, absent):
    path = write(tmp_path / "a.parquet", counts)
    with pytest.raises(InputError, match=f"has no jet of {absent} in 1 files") as caught:
        load([path], 1000)
    assert caught.value.field == f"label_{absent.split(',')[0]}"


def test_at_most_so_many_jets_evenly_from_classes_and_files(tmp_path):
    paths = [
        write(tmp_path / "a.parquet", dict.fromkeys(range(10), 300)),
        write(tmp_path / "b.parquet", dict.fromkeys(range(10), 300) | {0: 3000}, first=10_000),
    ]
    samples = load(paths, 1000)
    pt = samples["jet_pt"]
    label, counts = np.unique(pt.values, return_counts=True)
    assert label.tolist() == [500.0 + k for k in range(10)]
    assert counts.sum() == pytest.approx(1000, abs=100)
    assert (np.abs(counts - 100) < 5 * np.sqrt(100)).all()  # also of the class with more jets
    assert pt.weights[pt.values == 500.0].sum() == pytest.approx(0.1)
    # Half of nine classes, and of the tenth 1 and 10 out of 11.
    files = [(samples["jet_energy"].values == energy).sum() for energy in (1000, 11_000)]
    assert files == pytest.approx([459, 541], abs=5 * np.sqrt(500))
    assert len(load(paths, 10_000_000)["jet_pt"].values) == 8700


def test_the_default_study_is_compared_with_all_of_its_jets():
    study = yaml.safe_load((ROOT / "config.yaml").read_text())["latent"]["simulation"]
    made = study["datasets"]["training"]["jets"].values()
    assert 10 * max(made) <= ValidationSpec().max_jets


def test_step_writes_distances_quantiles_and_figure(tmp_path):
    jets = write(tmp_path / "jets.parquet", ALL)
    outputs = {name: tmp_path / name for name in ("summary.csv", "quantiles.csv")}
    arguments = ["--spec", "{}", "--jets", str(jets), "--figure", str(tmp_path / "inputs")]
    for path in outputs.values():
        arguments += [f"--{path.stem}", str(path)]
    validate_simulation.main(arguments)
    rows = list(csv.DictReader(outputs["summary.csv"].open()))
    assert [row["feature"] for row in rows] == list(FEATURES)
    expected, found = references(), load([jets], 1000)
    for row in rows:
        value = distance(found[row["feature"]], expected[row["feature"]])
        assert float(row["ks"]) == pytest.approx(value, rel=1e-4)
    rows = list(csv.DictReader(outputs["quantiles.csv"].open()))
    assert len(rows) == 500 * len(FEATURES)
    medians = [
        r for r in rows if r["feature"] == "jet_pt" and 0.5 < float(r["probability"]) < 0.502
    ]
    assert float(medians[0]["generated"]) == pytest.approx(505.0, abs=1.0)
    assert (tmp_path / "inputs.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "inputs.pdf").read_bytes()[:4] == b"%PDF"
