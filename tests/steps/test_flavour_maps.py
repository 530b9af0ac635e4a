"""Maps per flavour and their closure, on flavours whose true maps are known."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from otcal.runtime.errors import InputError
from otcal.runtime.files import read_json, write_json
from otcal.samples.flavours import FLAVOURS
from otcal.samples.scores import Scores, read_scores, score_writer
from otcal.samples.targets import TargetSample, write_targets
from otcal.simplex import ilr, ilr_inverse
from otcal.steps import fit_flavour_map, measure_closure, vary_flavour_maps
from otcal.transport.api import fit_map
from otcal.transport.fitted import TransportMap
from otcal.transport.simplex_maps import SimplexMap

pytestmark = pytest.mark.heavy

SIMULATED, DATA, POINTS = 3_600, 4_000, 3_000
PURE = 0.8
REGIONS = {f"{name}_enriched": k for k, name in enumerate(FLAVOURS)}
MEANS = np.array([[1.5, 1.5], [-1.0, 1.0], [0.0, -1.5]])
WIDTH = 0.8
STRENGTHS = np.array([0.25, 0.35, 0.45])
SPLITS = {"train": 0.6, "validation": 0.1, "test": 0.3}
FIT = {"splits": SPLITS, "seed": 1, "batch": 256}
NOMINAL = {**FIT, "steps": 150, "learning_rate": 0.02, "hidden": [16, 16], "evaluations": 1}
VARIED = {**FIT, "steps": 10, "learning_rate": 0.005}
NAMES = ("eigen1_up", "eigen1_down")
CLOSURE = {"splits": SPLITS, "kappas": [0.5, 2.0], "bins": 15, "halvings": 4, "seed": 1}


def simulation(k: int, n: int, seed: int) -> np.ndarray:
    noise = np.random.default_rng([seed, k]).normal(size=(n, 2))
    return MEANS[k] + WIDTH * noise


def true_map(z: np.ndarray, k: int) -> np.ndarray:
    """∇ of ½|z|² (1 − s) + s Σ √(1 + (z − m)²): convex; pulls jets towards the others."""
    x = z - MEANS[k]
    s = STRENGTHS[k]
    return MEANS[k] * 0.8 + (1.0 - s) * x + s * x / np.sqrt(1.0 + x**2)


def data(k: int, n: int, seed: int) -> np.ndarray:
    return true_map(simulation(k, n, seed), k)


def log_prob_simulation(z: np.ndarray) -> np.ndarray:
    squares = ((z[:, None] - MEANS) ** 2).sum(axis=-1) / WIDTH**2
    return -0.5 * squares - np.log(2 * np.pi * WIDTH**2)


def log_prob_data(z: np.ndarray) -> np.ndarray:
    """Densities of `data` by the change of variables, the inverse map by bisection."""
    columns = []
    for k in range(3):
        low, high = MEANS[k] - 60.0 + 0 * z, MEANS[k] + 60.0 + 0 * z
        for _ in range(60):
            middle = 0.5 * (low + high)
            above = true_map(middle, k) > z
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        x = low - MEANS[k]
        slope = (1.0 - STRENGTHS[k]) + STRENGTHS[k] / (1.0 + x**2) ** 1.5
        columns.append(log_prob_simulation(low)[:, k] - np.log(slope).sum(axis=1))
    return np.stack(columns, axis=1)


class Flows:
    """Stands for `Components`: densities in closed form, told apart by their file's name."""

    def __init__(self, path: Path) -> None:
        self.log_prob = log_prob_simulation if path.stem == "pretrained" else log_prob_data
        self.conditions = ()

    load = staticmethod(lambda path: Flows(Path(path)))


def write_scores(path: Path, z: np.ndarray, labels: np.ndarray, first: int) -> None:
    dull = np.full(len(z), 50.0, np.float32)
    ids = np.arange(first, first + len(z))
    with score_writer(path, FLAVOURS, {}) as writer:
        scores = Scores(ids, labels.astype(np.int8), dull, dull, ilr_inverse(z))
        writer.write_table(scores.to_table(FLAVOURS))


def write_inputs(root: Path) -> None:
    labels = np.repeat(np.arange(3), SIMULATED)
    z = np.concatenate([simulation(k, SIMULATED, 1) for k in range(3)])
    write_scores(root / "simulation.parquet", z, labels, 0)
    first, everything = 0, []
    for name, signal in {**REGIONS, "validation": None}.items():
        shares = np.full(3, (1 - PURE) / 2) + (PURE - (1 - PURE) / 2) * (np.arange(3) == signal)
        counts = (DATA * (np.full(3, 1 / 3) if signal is None else shares)).astype(int)
        z = np.concatenate([data(k, n, 10 + first) for k, n in enumerate(counts)])
        labels = np.repeat(np.arange(3), counts)
        write_scores(root / f"{name}.parquet", z, labels, first)
        everything.append((z, labels))
        first += len(z)
    z, labels = (np.concatenate(part) for part in zip(*everything, strict=True))
    write_scores(root / "data.parquet", z, labels, 0)
    for k, name in enumerate(FLAVOURS):
        points = TargetSample(data(k, POINTS, 7), np.empty((POINTS, 0)))
        write_targets(root / f"{name}.parquet", dict.fromkeys(("nominal", *NAMES), points), {})
    pi = (np.full((3, 3), (1 - PURE) / 2) + (PURE - (1 - PURE) / 2) * np.eye(3)).tolist()
    names = {"regions": list(REGIONS), "enriched": FLAVOURS, "flavours": FLAVOURS, "pi": pi}
    write_json(root / "extraction.json", names)
    nothing = [{"name": name, "delta_pi": np.zeros((3, 3)).tolist()} for name in NAMES]
    write_json(root / "variations.json", {**names, "variations": nothing})


def fit(root: Path, flavour: str, variant: str = "nominal", **spec: object) -> None:
    target = "data" if spec.get("target") == "truth" else flavour
    exclude = ["--exclude", str(root / "validation.parquet")] if variant == "truth" else []
    fit_flavour_map.main(
        [
            *("--spec", json.dumps({**NOMINAL, "flavour": flavour, **spec}), "--threads", "1"),
            *("--source", str(root / "simulation.parquet")),
            *("--target", str(root / f"{target}.parquet")),
            *exclude,
            *("--output", str(root / f"maps/{flavour}/{variant}.safetensors")),
            *("--learning-curve", str(root / f"maps/{flavour}/{variant}.csv")),
            *("--diagnostics", str(root / f"maps/{flavour}/{variant}-fit.json")),
        ]
    )


def vary(root: Path, flavour: str, **spec: object) -> None:
    vary_flavour_maps.main(
        [
            *("--spec", json.dumps({**VARIED, "flavour": flavour, **spec}), "--threads", "1"),
            *("--source", str(root / "simulation.parquet")),
            *("--target", str(root / f"{flavour}.parquet")),
            *("--initial", str(root / f"maps/{flavour}/nominal.safetensors")),
            *("--output", str(root / f"maps/{flavour}/variations.json")),
        ]
    )


def close(root: Path, *more: str, **spec: object) -> None:
    def of(variant: str) -> list[str]:
        return [str(root / f"maps/{name}/{variant}") for name in FLAVOURS]

    measure_closure.main(
        [
            *("--spec", json.dumps({**CLOSURE, **spec}), "--threads", "1"),
            *("--simulation", str(root / "simulation.parquet")),
            *("--regions", *(str(root / f"{name}.parquet") for name in (*REGIONS, "validation"))),
            *("--maps", *of("nominal.safetensors"), "--variation-maps", *of("variations.json")),
            *("--targets", *(str(root / f"{name}.parquet") for name in FLAVOURS)),
            *("--pretrained", str(root / "pretrained.safetensors")),
            *("--flows", str(root / "flows.safetensors")),
            *("--extraction", str(root / "extraction.json")),
            *("--variations", str(root / "variations.json")),
            *("--discriminants", str(root / "discriminants.csv")),
            *("--metrics", str(root / "metrics.csv")),
            *("--diagnostics", str(root / "diagnostics.json"), *more),
        ]
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make everything once; tests that change something work on a copy."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("study")
    write_inputs(root)
    for name in ("pretrained", "flows"):
        (root / f"{name}.safetensors").write_bytes(b"")
    for flavour in FLAVOURS:
        fit(root, flavour)
        fit(root, flavour, "truth", target="truth", steps=60)
        fit(root, flavour, "logit", space="logit", steps=60)
        vary(root, flavour)
    variants = [
        [f"--{kind}-maps", *(str(root / f"maps/{f}/{kind}.safetensors") for f in FLAVOURS)]
        for kind in ("truth", "logit")
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure_closure, "Components", Flows)
        close(root, *variants[0], *variants[1])
    return root


@pytest.fixture
def copy(study: Path, tmp_path: Path) -> Path:
    shutil.copytree(study, tmp_path / "study")
    return tmp_path / "study"


def metrics(root: Path, sample: str) -> pd.DataFrame:
    table = pd.read_csv(root / "metrics.csv").set_index(["region", "discriminant", "kappa"])
    return table[table["sample"] == sample].sort_index()


def test_known_maps_are_found(study: Path) -> None:
    for k, flavour in enumerate(FLAVOURS):
        z = simulation(k, 3_000, 99)
        moved = ilr(
            SimplexMap.load(study / f"maps/{flavour}/nominal.safetensors", flavour)(
                ilr_inverse(z)
            ).p
        )
        exact = true_map(z, k)
        missed = np.sqrt(((moved - exact) ** 2).sum(axis=1).mean())
        # What the means of the two samples alone are uncertain by, in two dimensions.
        noise = WIDTH * np.sqrt(2.0 / (SIMULATED * SPLITS["train"]) + 2.0 / (0.9 * POINTS))
        assert missed < 3.0 * noise
        assert missed < 0.25 * np.sqrt(((z - exact) ** 2).sum(axis=1).mean())


def test_calibration_closes_to_the_floor(study: Path) -> None:
    raw, calibrated = metrics(study, "simulation"), metrics(study, "calibrated")
    assert len(calibrated) == 4 * 3 * 2
    assert (raw["w1"] / raw["w1_floor"]).median() > 4.0
    # Three finite samples enter: jets, data, and those that the map was fitted to.
    assert (calibrated["w1"] / calibrated["w1_floor"]).median() < 2.0
    assert calibrated.loc["validation", "w1_ratio"].max() < 0.35
    for sample in ("truth_target", "reweighted", "logit_space"):
        assert metrics(study, sample)["w1_ratio"].median() < 0.6


def test_maps_keep_all_jets_and_weights_do_not(study: Path) -> None:
    calibrated, weighted = metrics(study, "calibrated"), metrics(study, "reweighted")
    np.testing.assert_array_equal(calibrated["effective_size"], calibrated["jets"])
    assert (weighted["effective_size"] < 0.9 * weighted["jets"]).all()
    histograms = pd.read_csv(study / "discriminants.csv")
    key = ["region", "discriminant", "kappa", "sample"]
    totals = histograms.groupby(key)["count"].sum().unstack("sample")
    for sample in totals:
        np.testing.assert_allclose(totals[sample], totals["data"], rtol=1e-6)
    regions = read_json(study / "diagnostics.json")["regions"]
    for name, signal in REGIONS.items():
        counts = np.array(list(regions[name]["simulated_jets"].values()))
        assert counts[signal] / counts.sum() == pytest.approx(PURE, abs=1.0 / counts.sum())


def test_variations_that_equal_the_nominal_make_no_band(study: Path) -> None:
    table = pd.read_csv(study / "discriminants.csv")
    calibrated = table[table["sample"] == "calibrated"]
    for edge in ("up", "down", "up_reweighted", "down_reweighted"):
        np.testing.assert_array_equal(calibrated[edge], calibrated["count"])
        assert table.loc[table["sample"] != "calibrated", edge].isna().all()


def test_logit_maps_leak_and_ilr_maps_do_not(study: Path) -> None:
    leakage = read_json(study / "diagnostics.json")["leakage"]
    for flavour in FLAVOURS:
        assert leakage[flavour]["calibrated"]["max"] == 0.0
        assert leakage[flavour]["logit_space"]["q95"] > 1e-3


def test_scale_factors_are_shares_of_the_target(study: Path) -> None:
    found = read_json(study / "diagnostics.json")
    assert len(found["working_points"]) == 4
    for flavour in FLAVOURS:
        assert len(found["scale_factors"][flavour]) == 5
    # Data are pulled together: fewer b jets pass the tightest point than in the simulation.
    assert found["scale_factors"]["b"][-1] < 0.97


def test_map_says_what_it_is(study: Path) -> None:
    notes = read_json(study / "maps/c/truth.json")["notes"]
    assert (notes["flavour"], notes["space"], notes["target"]) == ("c", "ilr", "truth")
    assert len(notes["provenance"]["inputs"]) == 3
    points = read_json(study / "maps/c/truth-fit.json")["points"]
    labels = read_scores(study / "data.parquet", FLAVOURS).labels
    inside = read_scores(study / "validation.parquet", FLAVOURS).labels
    # All labelled charm jets, but for those of the validation.
    used = points["target"] + points["held_out_target"]
    assert used == (labels == 1).sum() - (inside == 1).sum()
    assert TransportMap.load(study / "maps/c/logit.safetensors").dimension == 3
    assert len(pd.read_csv(study / "maps/c/nominal.csv")) == 2


def test_interrupted_variations_continue(copy: Path) -> None:
    paths = [copy / f"maps/b/{name}.safetensors" for name in NAMES]
    listed = (copy / "maps/b/variations.json").read_bytes()
    before = [path.stat().st_mtime_ns for path in paths]
    paths[1].write_bytes(paths[1].read_bytes()[:-1])
    vary(copy, "b")
    assert paths[0].stat().st_mtime_ns == before[0]
    assert paths[1].stat().st_mtime_ns != before[1]
    # One sample, one map, under two names.
    assert paths[0].read_bytes() == paths[1].read_bytes()
    entries = [
        json.loads(text)["maps"]
        for text in (listed, (copy / "maps/b/variations.json").read_bytes())
    ]
    assert entries[0] == entries[1]
    vary(copy, "b", steps=11)
    assert all(path.stat().st_mtime_ns != time for path, time in zip(paths, before, strict=True))


def test_gaussian_nominal_has_gaussian_variations(copy: Path) -> None:
    linear = fit_map(simulation(0, 500, 1), data(0, 500, 2), method="gaussian")
    linear.save(copy / "maps/b/nominal.safetensors", {"flavour": "b", "space": "ilr"})
    vary(copy, "b")
    kinds = {
        name: read_json(copy / f"maps/b/{name}.json")["potentials"][0]["kind"] for name in NAMES
    }
    assert set(kinds.values()) == {"quadratic"}


def test_wrong_inputs_are_named(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure_closure, "Components", Flows)
    with pytest.raises(InputError, match="flavour: must be one of b, c, light"):
        fit(copy, "tau")
    with pytest.raises(InputError, match="data jets that test the map must not fit it"):
        fit(copy, "b", "nominal", target="truth")
    shutil.copy(copy / "maps/c/nominal.safetensors", copy / "maps/b/nominal.safetensors")
    shutil.copy(copy / "maps/c/nominal.json", copy / "maps/b/nominal.json")
    with pytest.raises(InputError, match="is a map of c, not of b"):
        vary(copy, "b")
    with pytest.raises(InputError, match="is a map of c, not of b"):
        close(copy)


def test_variations_of_all_flavours_must_be_those_of_the_fit(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure_closure, "Components", Flows)
    content = read_json(copy / "maps/c/variations.json")
    write_json(copy / "maps/c/variations.json", {**content, "maps": content["maps"][:1]})
    with pytest.raises(InputError, match="maps: are of eigen1_up"):
        close(copy)
