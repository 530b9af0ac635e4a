"""Steps from scores to the extraction: what is in their files, and how they fail."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from otcal.mixture.adaptation import AdaptedFlows
from otcal.mixture.composition import Prior, logits
from otcal.mixture.flows import Components
from otcal.runtime.errors import InputError
from otcal.samples import tables
from otcal.samples.scores import read_scores, score_schema
from otcal.simplex import ilr
from otcal.steps import build_regions, extract_components, pretrain_flows, select_extraction
from support.shifted_flavours import FLAVOURS, score_table

NOMINAL = {
    "b_enriched": {"b": 0.88, "c": 0.05, "light": 0.07},
    "c_enriched": {"b": 0.06, "c": 0.88, "light": 0.06},
    "light_enriched": {"b": 0.05, "c": 0.10, "light": 0.85},
}
FRACTIONS = {
    "b_enriched": {"b": 0.90, "c": 0.04, "light": 0.06},
    "c_enriched": {"b": 0.05, "c": 0.8886, "light": 0.0614},
    "light_enriched": {"b": 0.0505, "c": 0.0887, "light": 0.8608},
}
REGIONS = {
    "regions": {
        **{
            name: {"jets": 500, "enriched": name.split("_")[0], "fractions": fractions}
            for name, fractions in FRACTIONS.items()
        },
        "validation": {"jets": 300},
    },
    "seed": 1,
}
PRETRAIN = {
    "flow": {"transforms": 1, "hidden": [8], "bins": 4},
    "training": {"steps": 60, "batch": 128, "learning_rate": 0.02, "evaluate_every": 20},
    "splits": {"train": 0.7, "validation": 0.2, "test": 0.1},
    "seed": 1,
}
EXTRACT: dict[str, Any] = {
    "regions": {
        name: {"enriched": name.split("_")[0], "nominal": nominal}
        for name, nominal in NOMINAL.items()
    },
    "settle": 1,
    "max_iterations": 5,
    "density": {"batch": 256, "learning_rate": 0.005},
    "seed": 1,
}


def extract(root: Path, start: int, output: str, **change: Any) -> None:
    extract_components.main(
        [
            *("--spec", json.dumps({**EXTRACT, **change}), "--threads", "1"),
            *("--regions", *(str(root / f"regions/{name}.parquet") for name in NOMINAL)),
            *("--pretrained", str(root / "pretrained.safetensors")),
            *("--start", str(start), "--output", str(root / output)),
        ]
    )


def select(root: Path, *starts: str) -> dict[str, Any]:
    select_extraction.main(
        [
            *("--spec", "{}", "--starts", *(str(root / name) for name in starts)),
            *("--extraction", str(root / "extraction.json")),
            *("--flows", str(root / "flows.safetensors")),
        ]
    )
    content: dict[str, Any] = json.loads((root / "extraction.json").read_text())
    return content


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mixture")
    schema = score_schema(FLAVOURS)
    for name, seed in (("simulation", 1), ("data", 2)):
        table = score_table(1000, seed, name == "data")
        tables.write_table(root / f"{name}.parquet", table, schema, {})
    build_regions.main(
        [
            *("--spec", json.dumps(REGIONS)),
            *("--scores", str(root / "data.parquet"), "--output", str(root / "regions")),
        ]
    )
    pretrain_flows.main(
        [
            *("--spec", json.dumps(PRETRAIN), "--threads", "1"),
            *("--scores", str(root / "simulation.parquet")),
            *("--output", str(root / "pretrained.safetensors")),
        ]
    )
    for start in (0, 1):
        extract(root, start, f"start-{start}")
    return root


def test_region_files_hold_exact_mixtures(made: Path) -> None:
    seen: set[int] = set()
    for name, one in REGIONS["regions"].items():  # type: ignore[attr-defined]
        scores = read_scores(made / f"regions/{name}.parquet", FLAVOURS)
        shares = one.get("fractions") or dict.fromkeys(FLAVOURS, 1 / 3)
        expected = [one["jets"] * shares[flavour] for flavour in FLAVOURS]
        assert np.abs(np.bincount(scores.labels, minlength=3) - expected).max() < 1.0
        assert not seen & set(scores.ids.tolist())
        seen |= set(scores.ids.tolist())
    origin = tables.read_provenance(made / "regions/validation.parquet")
    assert origin["spec"]["regions"]["b_enriched"]["fractions"] == FRACTIONS["b_enriched"]


def test_pretrained_flows_prefer_their_own_jets(made: Path) -> None:
    components = Components.load(made / "pretrained.safetensors")
    scores = read_scores(made / "simulation.parquet", FLAVOURS)
    log_q = components.log_prob(ilr(scores.p))
    for label in range(3):
        means = log_q[scores.labels == label].mean(axis=0)
        assert np.argmax(means) == label
        assert means[label] > np.delete(means, label).max() + 0.5
    notes = json.loads((made / "pretrained.json").read_text())["notes"]
    jets = notes["jets"]
    assert sum(jets["train"]) == pytest.approx(2100, abs=100)
    assert sum(jets["validation"]) == pytest.approx(600, abs=80)
    assert [row["step"] for row in notes["history"]] == [20.0, 40.0, 60.0]


def test_composition_file_has_the_agreed_keys_and_consistent_numbers(made: Path) -> None:
    content = json.loads((made / "start-0/composition.json").read_text())
    assert content["regions"] == list(NOMINAL)
    assert content["enriched"] == ["b", "c", "light"]
    assert content["flavours"] == list(FLAVOURS)
    assert content["events"] == [500, 500, 500]
    nominal = np.array([[NOMINAL[r][f] for f in FLAVOURS] for r in NOMINAL])
    truth = np.array([[FRACTIONS[r][f] for f in FLAVOURS] for r in NOMINAL])
    np.testing.assert_allclose(content["nominal"], nominal, rtol=1e-15)
    np.testing.assert_allclose(content["truth"], truth, atol=1 / 500)
    change = np.abs(np.array(content["start"]) / nominal - 1.0)
    assert 0.01 < change.max() <= 0.2
    prior = Prior.around(nominal, [0, 1, 2], 0.3)
    np.testing.assert_allclose(content["prior"]["mean"], prior.mean, rtol=1e-14)
    np.testing.assert_allclose(content["prior"]["covariance"], prior.covariance, rtol=1e-14)
    a = logits(np.array(content["pi"]))
    assert content["objective"] - content["log_likelihood"] == pytest.approx(
        prior.log_density(a), abs=1e-8
    )
    assert content["iterations"] == 5
    assert content["converged"] is False
    # The likelihood is that of the flows beside it.
    flows = Components.load(made / "start-0/flows.safetensors")
    total = 0.0
    for row, name in zip(content["pi"], NOMINAL, strict=True):
        p = read_scores(made / f"regions/{name}.parquet", FLAVOURS).p
        total += float(np.log(np.exp(flows.log_prob(ilr(p))) @ row).sum())
    assert content["log_likelihood"] == pytest.approx(total, abs=1e-6)


def test_history_and_responsibilities_have_every_iteration(made: Path) -> None:
    content = json.loads((made / "start-1/composition.json").read_text())
    with (made / "start-1/history.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    columns = [f"pi_{region}_{flavour}" for region in NOMINAL for flavour in FLAVOURS]
    assert list(rows[0]) == [
        *("iteration", "log_likelihood", "objective", "imbalance", "held_out"),
        *columns,
    ]
    assert [int(row["iteration"]) for row in rows] == list(range(6))
    for row, key in ((rows[0], "start"), (rows[1], "start"), (rows[-1], "pi")):
        pi = [float(row[name]) for name in columns]
        np.testing.assert_allclose(pi, np.ravel(content[key]), rtol=1e-12)
    assert float(rows[-1]["objective"]) == content["objective"] > float(rows[0]["objective"])

    table = pq.read_table(made / "start-1/responsibilities.parquet")
    assert table.column_names == ["iteration", "region", "jet_id", "gamma"]
    assert len(table) == 6 * 1500
    gamma = np.array(table["gamma"].to_pylist())
    np.testing.assert_allclose(gamma.sum(axis=1), 1.0, atol=1e-6)
    iteration, region = (np.array(table[name]) for name in ("iteration", "region"))
    for number, row in enumerate(rows):
        shifts = []
        for name in NOMINAL:
            mean = gamma[(iteration == number) & (region == name)].mean(axis=0)
            shifts.append(mean - [float(row[f"pi_{name}_{flavour}"]) for flavour in FLAVOURS])
        assert np.abs(shifts).max() == pytest.approx(float(row["imbalance"]), abs=1e-6)
    ids = set(read_scores(made / "regions/c_enriched.parquet", FLAVOURS).ids.tolist())
    here = (iteration == 5) & (region == "c_enriched")
    assert set(np.array(table["jet_id"])[here].tolist()) == ids


def test_nothing_unfinished_is_left(made: Path) -> None:
    names = sorted(path.name for path in (made / "start-0").iterdir())
    assert names == [
        "composition.json",
        "flows.json",
        "flows.safetensors",
        "history.csv",
        "responsibilities.parquet",
    ]


def test_best_start_is_taken(made: Path) -> None:
    result = select(made, "start-0", "start-1")
    fits = [json.loads((made / f"start-{n}/composition.json").read_text()) for n in (0, 1)]
    winner = int(np.argmax([fit["objective"] for fit in fits]))
    assert result["chosen"] == f"start-{winner}"
    for key in ("pi", "start", "objective", "truth", "prior", "events"):
        assert result[key] == fits[winner][key]
    assert [one["objective"] for one in result["starts"]] == [fit["objective"] for fit in fits]
    difference = np.abs(np.array(fits[0]["pi"]) - np.array(fits[1]["pi"]))
    np.testing.assert_allclose(result["spread"], difference, atol=1e-15)
    assert difference.max() > 1e-4
    assert result["kappa"] == pytest.approx(np.linalg.cond(result["pi"], 2), rel=1e-12)
    flows = (made / "flows.safetensors").read_bytes()
    assert flows == (made / f"start-{winner}/flows.safetensors").read_bytes()


def test_interrupted_fit_ends_with_the_same_files(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = AdaptedFlows.update

    def interrupted(self: AdaptedFlows, z: np.ndarray, gamma: np.ndarray) -> None:
        if self.updates == 3:
            raise KeyboardInterrupt
        update(self, z, gamma)

    monkeypatch.setattr(AdaptedFlows, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        extract(made, 0, "again")
    assert not (made / "again/composition.json").exists()
    assert len(list((made / "again/unfinished.parts").iterdir())) == 4
    monkeypatch.setattr(AdaptedFlows, "update", update)
    extract(made, 0, "again")
    names = ["flows.safetensors", "history.csv", "composition.json", "responsibilities.parquet"]
    for name in names:
        assert (made / "again" / name).read_bytes() == (made / "start-0" / name).read_bytes()


def test_another_setting_does_not_continue_an_unfinished_fit(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = AdaptedFlows.update

    def interrupted(self: AdaptedFlows, z: np.ndarray, gamma: np.ndarray) -> None:
        if self.updates == 2:
            raise KeyboardInterrupt
        update(self, z, gamma)

    monkeypatch.setattr(AdaptedFlows, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        extract(made, 0, "other", prior_width=0.1)
    monkeypatch.setattr(AdaptedFlows, "update", update)
    extract(made, 0, "other")
    expected = (made / "start-0/history.csv").read_bytes()
    assert (made / "other/history.csv").read_bytes() == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prior_width": 0.0}, "prior_width.*greater than 0"),
        ({"widht": 1}, "widht: is not a known key"),
        ({"kappa_limit": 1.1}, "do not tell the regions apart"),
        (
            {"regions": {**EXTRACT["regions"], "b_enriched": EXTRACT["regions"]["c_enriched"]}},
            "exactly one region of the fit; there are regions enriched in: c, c, light",
        ),
        ({"flavours": ["c", "b", "light"]}, r"pretrained.*flavours: are b, c, light"),
    ],
)
def test_wrong_settings_are_named(made: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        extract(made, 0, "wrong", **change)
    assert not (made / "wrong").exists()


def _forget(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda content: content.pop(key)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_forget("objective"), "composition.json: objective: is missing"),
        (lambda content: content.update(events=[1, 2, 3]), "events: is another one than in"),
    ],
)
def test_starts_of_another_fit_are_refused(
    made: Path, tmp_path: Path, damage: Callable[[dict[str, Any]], None], message: str
) -> None:
    for name in ("start-0", "start-1"):
        shutil.copytree(made / name, tmp_path / name)
    path = tmp_path / "start-1/composition.json"
    content = json.loads(path.read_text())
    damage(content)
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        select(tmp_path, "start-0", "start-1")


def test_compositions_of_another_fit_than_their_flows_are_refused(
    made: Path, tmp_path: Path
) -> None:
    shutil.copytree(made / "start-0", tmp_path / "start-0")
    for name in ("flows.safetensors", "flows.json"):
        shutil.copy(made / "start-1" / name, tmp_path / "start-0" / name)
    with pytest.raises(InputError, match=r"composition\.json: provenance: is not that of flows"):
        select(tmp_path, "start-0")
    assert not (tmp_path / "extraction.json").exists()


def test_flavour_without_simulated_jets_is_named(made: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has \d+ validation jets of flavour b"):
        pretrain_flows.main(
            [
                "--spec",
                json.dumps(
                    {**PRETRAIN, "splits": {"train": 0.9, "validation": 0.05, "test": 0.05}}
                ),
                *("--scores", str(made / "simulation.parquet")),
                *("--output", str(tmp_path / "flows.safetensors")),
            ]
        )
