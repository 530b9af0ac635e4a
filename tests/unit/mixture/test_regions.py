"""Regions: exact numbers, no jet twice, the same from any order, mistakes named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from otcal.config.mixture import ExtractSpec, MixtureConfig
from otcal.config.regions import RegionsSpec
from otcal.config.splits import Splits
from otcal.mixture.events import read_events
from otcal.mixture.regions import build, exact_counts
from otcal.runtime.errors import InputError
from otcal.samples import tables
from otcal.samples.scores import Scores, score_schema
from otcal.simplex import ilr

FLAVOURS = ("b", "c", "light")
REGIONS: dict[str, Any] = {
    "b_enriched": {
        "jets": 100,
        "enriched": "b",
        "fractions": {"b": 0.9, "c": 0.04, "light": 0.06},
    },
    "c_enriched": {
        "jets": 200,
        "enriched": "c",
        "fractions": {"b": 0.05, "c": 0.8886, "light": 0.0614},
    },
    "light_enriched": {
        "jets": 150,
        "enriched": "light",
        "fractions": {"b": 0.0505, "c": 0.0887, "light": 0.8608},
    },
    "validation": {"jets": 100},
}
COUNTS = {
    "b_enriched": [90, 4, 6],
    "c_enriched": [10, 178, 12],
    "light_enriched": [8, 13, 129],
    "validation": [34, 33, 33],
}


def make_scores(n: int = 700, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) % 3).astype(np.int8)
    p = rng.dirichlet([1.0, 1.0, 1.0], n) + 1e-3
    scores = Scores(
        rng.choice(10**9, n, replace=False).astype(np.int64),
        labels,
        rng.uniform(20, 250, n).astype(np.float32),
        rng.uniform(-2.5, 2.5, n).astype(np.float32),
        p / p.sum(axis=1, keepdims=True),
    )
    return scores.to_table(FLAVOURS)


def write(path: Path, table: pa.Table) -> Path:
    tables.write_table(path, table, score_schema(FLAVOURS), {})
    return path


def spec(change: dict[str, dict[str, Any]] | None = None, **more: Any) -> RegionsSpec:
    regions = {name: {**one, **(change or {}).get(name, {})} for name, one in REGIONS.items()}
    return RegionsSpec.model_validate({"regions": regions, **more})


def test_counts_are_exact_and_sum_up() -> None:
    assert exact_counts(100, [0.07, 0.9, 0.03]) == [7, 90, 3]
    assert exact_counts(20_000, [0.0505, 0.0887, 0.8608]) == [1010, 1774, 17216]
    assert exact_counts(10, [1 / 3, 1 / 3, 1 / 3]) == [4, 3, 3]
    for jets in range(1, 60):
        counts = exact_counts(jets, [0.05, 0.8886, 0.0614])
        assert sum(counts) == jets
        assert np.abs(np.array(counts) - jets * np.array([0.05, 0.8886, 0.0614])).max() < 1.0


def test_regions_have_the_asked_flavours_and_no_jet_twice(tmp_path: Path) -> None:
    table = make_scores()
    regions = build(write(tmp_path / "data.parquet", table), spec())
    assert list(regions) == list(REGIONS)
    ids = np.concatenate([tables.to_numpy(one["jet_id"]) for one in regions.values()])
    assert len(np.unique(ids)) == len(ids) == 550
    original = {row["jet_id"]: row for row in table.to_pylist()}
    for name, region in regions.items():
        counts = np.bincount(tables.to_numpy(region["label"]), minlength=3)
        assert counts.tolist() == COUNTS[name]
        assert all(row == original[row["jet_id"]] for row in region.to_pylist())
        # Shuffled: flavours do not come one after the other.
        labels = tables.to_numpy(region["label"])
        assert (np.diff(labels) != 0).sum() > 12


def test_regions_depend_on_ids_and_seed_not_on_order(tmp_path: Path) -> None:
    table = make_scores()
    first = build(write(tmp_path / "a.parquet", table), spec(seed=3))
    backwards = table.take(pa.array(np.arange(len(table))[::-1]))
    second = build(write(tmp_path / "b.parquet", backwards), spec(seed=3))
    other = build(write(tmp_path / "c.parquet", table), spec(seed=4))
    for name, region in first.items():
        assert region.equals(second[name])
        assert not region.equals(other[name])


def test_regions_are_random_samples_of_their_flavours(tmp_path: Path) -> None:
    """The hash knows nothing of a jet's scores: mean ranks of p_b agree within errors."""
    table = make_scores(30_000)
    regions = build(
        write(tmp_path / "a.parquet", table), spec({name: {"jets": 5000} for name in REGIONS})
    )
    p, label = (tables.to_numpy(table[name]) for name in ("p_b", "label"))
    for region in regions.values():
        own, flavour = (tables.to_numpy(region[name]) for name in ("p_b", "label"))
        for f in range(3):
            everywhere, here = p[label == f], own[flavour == f]
            error = everywhere.std() / np.sqrt(len(here))
            assert abs(here.mean() - everywhere.mean()) < 4 * error


def test_missing_jets_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "data.parquet", make_scores(600))
    with pytest.raises(
        InputError,
        match=r"has 200 jets of flavour c, the regions take 228 "
        r"\(b_enriched 4, c_enriched 178, light_enriched 13, validation 33\)",
    ):
        build(path, spec())


@pytest.mark.parametrize("name", ["weight", "event_weights"])
def test_weighted_events_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "data.parquet"
    table = make_scores()
    pq.write_table(table.append_column(name, pa.array(np.ones(len(table)))), path)
    with pytest.raises(InputError, match=f"{name}: weighted events are not supported: counts"):
        build(path, spec())


def test_repeated_ids_are_named(tmp_path: Path) -> None:
    table = make_scores()
    path = write(tmp_path / "data.parquet", pa.concat_tables([table, table.slice(5, 1)]))
    with pytest.raises(InputError, match=r"jet_id: \d+ occurs more than once \(1 do\)"):
        build(path, spec())


def test_regions_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "data.parquet", make_scores())
    near = {
        "b_enriched": {"fractions": {"b": 0.34, "c": 0.33, "light": 0.33}},
        "c_enriched": {"fractions": {"b": 0.33, "c": 0.34, "light": 0.33}},
        "light_enriched": {"fractions": {"b": 0.33, "c": 0.33, "light": 0.34}},
    }
    with pytest.raises(InputError, match="do not tell the regions apart: kappa is 100, the limit"):
        build(path, spec(near))
    build(path, spec(near, kappa_limit=101.0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"b_enriched": {"fractions": {"b": 0.9, "c": 0.04, "light": 0.07}}}, "must sum to 1"),
        ({"b_enriched": {"fractions": {"b": 0.9, "c": 0.1}}}, "must name b, c, light"),
        ({"b_enriched": {"fractions": {"b": 1.0, "c": 0.0, "light": 0.0}}}, "less than 1"),
        ({"b_enriched": {"jets": 0}}, "greater than or equal to 1"),
        ({"b_enriched": {"enriched": "c"}}, "enriched in c, not its largest"),
        ({"b_enriched": {"enriched": None}}, "b, c, light must be enriched in exactly one"),
        ({"validation": {**REGIONS["b_enriched"]}}, "regions enriched in: b, c, light, b"),
        ({"b_enriched": {"nominal": {"b": 0.4, "c": 0.5, "light": 0.1}}}, "not its largest"),
        ({"b_enriched": {"enriched": "tau"}}, "tau"),
    ],
)
def test_wrong_settings_are_named(change: dict[str, dict[str, Any]], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        spec(change)


def test_settings_of_the_steps_follow_from_the_study() -> None:
    nominal = {"b": 0.88, "c": 0.05, "light": 0.07}
    regions = {name: dict(one) for name, one in REGIONS.items()}
    regions["b_enriched"]["nominal"] = nominal
    study = MixtureConfig.model_validate({"regions": regions, "em": {"settle": 2}})
    extract = study.extract_spec(7)
    assert ExtractSpec.model_validate_json(extract.model_dump_json()) == extract
    assert list(extract.regions) == ["b_enriched", "c_enriched", "light_enriched"]
    assert extract.regions["b_enriched"].nominal == nominal
    assert extract.regions["c_enriched"].nominal == REGIONS["c_enriched"]["fractions"]
    assert (extract.settle, extract.seed) == (2, 7)
    made = RegionsSpec.model_validate({"regions": REGIONS, "seed": 3})  # whatever a fit believes
    assert study.regions_spec(3) == made
    splits = Splits(train=0.7, validation=0.2, test=0.1)
    assert study.pretrain_spec(splits, 1).splits == splits


@pytest.fixture
def region_files(tmp_path: Path) -> list[Path]:
    regions = build(write(tmp_path / "data.parquet", make_scores()), spec())
    return [write(tmp_path / f"{name}.parquet", table) for name, table in regions.items()]


def test_events_are_in_the_order_of_the_regions(region_files: list[Path]) -> None:
    names = ["light_enriched", "b_enriched", "c_enriched"]
    events, truth = read_events(region_files[:3], names, FLAVOURS, 0.2, seed=1)
    assert events.counts.tolist() == [150, 100, 200]
    assert truth is not None
    np.testing.assert_allclose(truth[1], [0.9, 0.04, 0.06], rtol=1e-15)
    table = pq.read_table(region_files[0])
    np.testing.assert_array_equal(events.ids[150:250], table["jet_id"].to_numpy())
    p = np.stack([table[f"p_{name}"].to_numpy() for name in FLAVOURS], axis=1)
    np.testing.assert_allclose(events.z[150:250], ilr(p), atol=1e-6)
    assert 0.12 < events.held_out.mean() < 0.28
    again, _ = read_events(region_files[:3][::-1], names, FLAVOURS, 0.2, seed=1)
    np.testing.assert_array_equal(again.held_out, events.held_out)
    np.testing.assert_allclose(events.sums(events.z)[1], events.z[150:250].sum(axis=0), rtol=1e-12)


def test_without_labels_there_is_no_truth(region_files: list[Path]) -> None:
    table = pq.read_table(region_files[1])
    position = table.schema.get_field_index("label")
    unknown = pa.array(np.full(len(table), -1, dtype=np.int8))
    write(region_files[1], table.set_column(position, "label", unknown))
    _, truth = read_events(region_files[:3], list(REGIONS)[:3], FLAVOURS, 0.1, seed=1)
    assert truth is None


def _empty(files: list[Path]) -> list[Path]:
    write(files[0], pq.read_table(files[0]).slice(0, 0))
    return files[:3]


def _same_jet(files: list[Path]) -> list[Path]:
    first, second = (pq.read_table(path) for path in files[:2])
    write(files[1], pa.concat_tables([second, first.slice(3, 1)]))
    return files[:3]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda files: [files[0], files[0], *files[1:3]], "'b_enriched' is given twice"),
        (lambda files: files, "'validation' is given twice or not a region of the fit"),
        (lambda files: files[:2], "there is none for region 'light_enriched'"),
        (_empty, "b_enriched.parquet: file: has no jets"),
        (_same_jet, "occurs more than once"),
    ],
)
def test_wrong_region_files_are_named(
    region_files: list[Path], damage: Callable[[list[Path]], list[Path]], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_events(damage(region_files), list(REGIONS)[:3], FLAVOURS, 0.1, seed=1)
