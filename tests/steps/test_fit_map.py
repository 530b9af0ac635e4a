"""The step that fits the map: what is in its files, and how it fails."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from otcal.runtime.errors import InputError
from otcal.samples import splits, tables
from otcal.samples.jets import JET_FLOATS
from otcal.samples.latents import LATENT_SCHEMA, LAYERS, read_latents
from otcal.steps import fit_map, measure_bins
from otcal.transport.fitted import TransportMap
from otcal.transport.schedule import FEWEST

SPLITS = {"train": 0.6, "validation": 0.2, "test": 0.2}
SPEC = {
    "splits": SPLITS,
    "layer": "z10",
    "steps": 60,
    "convex": {"hidden": [16, 16], "batch": 128, "noise": 0.2},
}


def write_latents(path: Path, seed: int, shift: float = 0.0, n: int = 1500) -> Path:
    """Write latents of two classes; only QCD (label 0) is shifted."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, n).astype(np.int8)
    columns = {"jet_id": pa.array(rng.choice(10**9, n, replace=False)), "label": pa.array(label)}
    columns |= {name: pa.array(rng.uniform(500, 1000, n)) for name in JET_FLOATS}
    for name, width in LAYERS.items():
        values = rng.normal(size=(n, width))
        values = np.where(label[:, None] == 0, values + shift, values + 50.0)
        columns[name] = tables.fixed_size_list(values.astype(np.float32))
    tables.write_table(path, pa.table(columns), LATENT_SCHEMA, {"step": "test"})
    return path


def run(root: Path, spec: dict[str, object], *more: str) -> None:
    fit_map.main(
        [
            *("--spec", json.dumps(spec), "--threads", "1", "--device", "cpu"),
            *("--source", str(root / "source.parquet")),
            *("--target", str(root / "target.parquet")),
            *("--output", str(root / "map.safetensors")),
            *("--learning-curve", str(root / "learning_curve.csv")),
            *("--diagnostics", str(root / "diagnostics.json"), *more),
        ]
    )


@pytest.fixture
def latents(tmp_path: Path) -> Path:
    write_latents(tmp_path / "source.parquet", 1)
    write_latents(tmp_path / "target.parquet", 2, shift=3.0)
    return tmp_path


def test_map_moves_unseen_jets_of_the_fitted_class(latents: Path) -> None:
    run(latents, SPEC)
    fitted = TransportMap.load(latents / "map.safetensors")
    unseen = read_latents(latents / "source.parquet", ["z10"], SPLITS, "test", [0])["z10"]
    target = read_latents(latents / "target.parquet", ["z10"], SPLITS, "test", [0])["z10"]
    moved = fitted.transport(unseen)
    # The other class lies 50 away: had it entered the fit, the means would be far off.
    np.testing.assert_allclose(moved.mean(0), target.mean(0), atol=0.4)
    np.testing.assert_allclose(moved.std(0), target.std(0), rtol=0.2)


def test_map_with_a_condition_moves_each_jet_as_its_condition_says(latents: Path) -> None:
    table = pa.parquet.read_table(latents / "target.parquet")
    pt = tables.to_numpy(table["jet_pt"])
    rise = (pt - 750.0)[:, None] / 50.0  # from -5 to 5
    moved = tables.fixed_size_list((tables.to_numpy(table["z10"]) + rise).astype(np.float32))
    table = table.set_column(table.schema.get_field_index("z10"), "z10", moved)
    tables.write_table(latents / "target.parquet", table, LATENT_SCHEMA, {"step": "test"})
    run(latents, {**SPEC, "conditions": ["jet_pt"]})
    fitted = TransportMap.load(latents / "map.safetensors")
    notes = json.loads((latents / "map.json").read_text())["notes"]
    assert (fitted.conditions, notes["conditions"]) == (1, ["jet_pt"])
    unseen = read_latents(latents / "source.parquet", ["z10", "jet_pt"], SPLITS, "test", [0])
    shift = (fitted.transport(unseen["z10"], unseen["jet_pt"][:, None]) - unseen["z10"]).mean(1)
    expected = 3.0 + (unseen["jet_pt"] - 750.0) / 50.0
    assert np.abs(shift - expected).mean() < 0.3  # a map without conditions: 2.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"conditions": ["jet_mass"]}, "conditions"),
        ({"conditions": ["jet_pt", "jet_pt"]}, "name a column twice"),
        ({"conditions": ["jet_pt"], "method": "minimax"}, "minimax takes no conditions"),
    ],
)
def test_conditions_that_cannot_be_are_refused(
    latents: Path, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        run(latents, {**SPEC, **settings})
    assert not (latents / "map.safetensors").exists()


def test_without_preconditioning_the_first_map_leaves_jets_where_they_are(latents: Path) -> None:
    run(latents, {**SPEC, "precondition": False, "select": False, "steps": 1})
    fitted = TransportMap.load(latents / "map.safetensors")
    unseen = read_latents(latents / "source.parquet", ["z10"], SPLITS, "test", [0])["z10"]
    assert np.abs(fitted.transport(unseen).mean(0) - unseen.mean(0)).max() < 0.3  # of 3
    notes = json.loads((latents / "map.json").read_text())["notes"]
    assert notes["diagnostics"]["preconditioned"] is False
    assert notes["diagnostics"]["winner"] == "convex"


def test_files_say_what_was_fitted_and_on_what(latents: Path) -> None:
    run(latents, SPEC)
    diagnostics = json.loads((latents / "diagnostics.json").read_text())
    assert set(diagnostics["candidates"]) == {"gaussian", "convex"}
    assert diagnostics["winner"] in diagnostics["candidates"]
    counts = {}
    for name in ("source", "target"):
        table = read_latents(latents / f"{name}.parquet", ["jet_id", "label"])
        for split in ("train", "validation"):
            inside = splits.select(table["jet_id"], SPLITS, split)
            key = name if split == "train" else f"held_out_{name}"
            counts[key] = int((inside & (table["label"] == 0)).sum())
    assert diagnostics["points"] == counts
    with (latents / "learning_curve.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    # Shifted Gaussians: the fit may end early, having found nothing beyond the Gaussian map.
    last = diagnostics["steps"]
    assert FEWEST <= last <= 60
    assert [float(row["step"]) for row in rows] == [0.0, *range(3, last, 3), last]
    assert all(np.isfinite(float(row["energy"])) for row in rows)
    assert float(rows[0]["energy"]) == diagnostics["candidates"]["gaussian"]["energy"]
    notes = json.loads((latents / "map.json").read_text())["notes"]
    assert notes["layer"] == "z10"
    assert notes["provenance"]["spec"]["splits"] == SPLITS
    assert len(notes["provenance"]["inputs"]) == 2


def test_same_spec_gives_the_same_map(latents: Path) -> None:
    run(latents, SPEC)
    first = (latents / "map.safetensors").read_bytes()
    run(latents, SPEC)
    assert (latents / "map.safetensors").read_bytes() == first


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "magic"}, "method.*magic"),
        ({"stepz": 3}, "stepz.*not a known key.*steps"),
        ({"classes": ["XYZ"]}, "label: has no class XYZ.*QCD"),
        ({"splits": {"train": 0.6}}, "splits.*sum to 1"),
        ({"steps": None}, "steps or budget_s"),
        ({"classes": ["Tbl"]}, "source.parquet: label: has 0 train jets of Tbl"),
    ],
)
def test_wrong_settings_are_named(latents: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(latents, {**SPEC, **change})
    assert not (latents / "map.safetensors").exists()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "does not exist"),
        (lambda path: path.write_bytes(b"PAR1 not really"), "not a readable Parquet file"),
    ],
)
def test_damaged_latents_are_named(
    latents: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(latents / "target.parquet")
    with pytest.raises(InputError, match=f"target.parquet.*{message}"):
        run(latents, SPEC)


def test_maps_of_bins_are_compared_on_unseen_jets(latents: Path) -> None:
    edges = [500, 750, 1000]
    spec = {**SPEC, "steps": 20}
    names = {
        "inclusive": spec,
        "conditional": {**spec, "conditions": ["jet_pt"]},
        "0": {**spec, "ranges": {"jet_pt": [500, 750]}},
        "1": {**spec, "ranges": {"jet_pt": [750, 1000]}},
    }
    points = {}
    for name, one in names.items():
        run(latents, one)
        for suffix in ("safetensors", "json"):
            (latents / f"map.{suffix}").rename(latents / f"{name}.{suffix}")
        diagnostics = json.loads((latents / "diagnostics.json").read_text())
        points[name] = diagnostics["points"]["source"]
    assert points["0"] + points["1"] == points["inclusive"]
    settings = {
        "jets": {"fractions": SPLITS, "classes": ["QCD"]},
        "bins": [{"column": "jet_pt", "edges": edges}],
        "layer": "z10",
    }

    def compare(settings: dict[str, object]) -> None:
        measure_bins.main(
            [
                *("--spec", json.dumps(settings), "--threads", "1"),
                *("--source", str(latents / "source.parquet")),
                *("--target", str(latents / "target.parquet")),
                *("--inclusive", str(latents / "inclusive.safetensors")),
                *("--conditional", str(latents / "conditional.safetensors")),
                *("--binned", *(str(latents / f"{name}.safetensors") for name in "01")),
                *("--output", str(latents / "closure.csv")),
                *("--figure", str(latents / "closure")),
            ]
        )

    compare(settings)
    table = pd.read_csv(latents / "closure.csv").set_index(["low", "high", "map"])["energy"]
    assert len(table) == 3 * 5
    for low, high in ((500, 750), (750, 1000), (500, 1000)):
        assert table[low, high, "source"] > 1.0  # three spreads apart in every coordinate
        for name in ("inclusive", "conditional", "binned", "floor"):
            assert abs(table[low, high, name]) < 0.1 * table[low, high, "source"]
    assert (latents / "closure.png").stat().st_size > 10_000
    (latents / "closure.csv").unlink()
    settings["bins"] = [{"column": "jet_pt", "edges": [500, 999.9, 1000]}]
    with pytest.raises(InputError, match="Merge bins"):
        compare(settings)
    assert not (latents / "closure.csv").exists()
