"""Studies that start from what somebody's tagger made of jets: plans, and small runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from otcal.config.study import load_settings
from otcal.runtime.errors import InputError
from otcal.samples.flavours import FLAVOURS
from otcal.simplex import ilr_inverse
from support.checkout import SMOKE, Checkout
from support.settings import configured
from support.simplex_study import DATA, SIMULATION, Densities

pytestmark = pytest.mark.heavy

RESULTS = Path("results/smoke")
EARLY = {
    "simulate",
    "read_jets",
    "validate_simulation",
    "fit_preprocessing",
    "train_tagger",
    "evaluate_tagger",
    "export_scores",
    "export_latents",
    "tabulate_inputs",
    "draw_simplex_tagger",
    "draw_tagger",
    "draw_fig01",
    "draw_fig07",
    "draw_fig08",
}
"""Rules of jets and tagger."""


def preset(checkout: Checkout, content: dict[str, Any]) -> tuple[str, str]:
    """Write settings on top of the smoke preset."""
    (checkout.path / "own.yaml").write_text(yaml.safe_dump(content))
    return SMOKE, "own.yaml"


def scores(name: str, **more: Any) -> dict[str, Any]:
    return {
        "format": "parquet",
        "holds": "scores",
        "files": [f"data/{name}.parquet"],
        "jets": 3600,
        "labels": {"column": "flavour", "values": {5: "b", 4: "c", 0: "light"}},
    } | more


SCORES = {"simulation": scores("simulation"), "data": scores("data")}


def write_scores(path: Path, densities: Densities, jets: int, seed: int) -> None:
    """Write the probabilities of as many jets of each flavour."""
    z = np.concatenate([densities.sample(k, jets, seed) for k in range(3)])
    columns = {f"p_{name}": p for name, p in zip(FLAVOURS, ilr_inverse(z).T, strict=True)}
    columns |= {
        "flavour": np.repeat([5, 4, 0], jets),
        "jet_pt": np.full(len(z), 50.0),
        "jet_eta": np.zeros(len(z)),
    }
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), path)


def touch(checkout: Checkout, *names: str) -> None:
    for name in names:
        (checkout.path / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout.path / name).touch()


def test_a_study_of_scores_has_no_jets_and_no_tagger(checkout: Checkout) -> None:
    touch(checkout, "data/simulation.parquet", "data/data.parquet")
    presets = preset(checkout, {"simplex": {"samples": SCORES}})
    planned = checkout.planned("simplex", presets=presets)
    before = checkout.planned("simplex")
    assert planned["read_scores"] == 2
    assert EARLY.isdisjoint(planned)
    left = {"read_scores", *EARLY}
    # All that follows is the same.
    assert {k: n for k, n in planned.items() if k not in left} == {
        k: n for k, n in before.items() if k not in left
    }
    bundle = checkout.planned(f"{RESULTS}/simplex/bundle", presets=presets)
    assert EARLY.isdisjoint(bundle)


def test_jets_of_such_a_study_do_not_exist(checkout: Checkout) -> None:
    touch(checkout, "data/simulation.parquet", "data/data.parquet")
    presets = preset(checkout, {"simplex": {"samples": SCORES}})
    done = checkout.snakemake(
        "--dry-run", f"{RESULTS}/simplex/tagger/tagger.safetensors", presets=presets
    )
    assert done.returncode == 0  # those that train a tagger may still be asked for
    done = checkout.snakemake(
        "--dry-run",
        "simplex",
        presets=preset(checkout, {"simplex": {"samples": SCORES | {"data": scores("other")}}}),
    )
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "simplex.samples.data: data/other.parquet: matches no file" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("samples", "says"),
    [
        (
            {"simulation": SCORES["simulation"]},
            "samples.simulation holds scores, but data is to be made of jets by another tagger",
        ),
        (
            SCORES | {"training": scores("training")},
            "samples.training.holds is scores: in the simplex study only simulation and data",
        ),
    ],
)
def test_mixtures_make_no_sense(samples: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as caught:
        load_settings(configured({"simplex": {"samples": samples}}))
    assert says in str(caught.value)


def test_such_a_study_needs_no_training_sample() -> None:
    content = configured({"simplex": {"samples": SCORES}})
    content["simplex"]["simulation"]["datasets"] = {}
    settings = load_settings(content).simplex
    assert settings.start == "scores"
    assert settings.jets("data") == {"files": 3600}
    del content["simplex"]["samples"]
    with pytest.raises(InputError, match=r"simulation\.datasets needs: training"):
        load_settings(content)


def test_scores_become_a_page(checkout: Checkout) -> None:
    """The simplex study from scores, with as little fitting as makes a page."""
    write_scores(checkout.path / "data/simulation.parquet", SIMULATION, 1200, 1)
    write_scores(checkout.path / "data/data.parquet", DATA, 1200, 2)
    little = {
        "samples": SCORES,
        "mixture": {
            "pretraining": {"steps": 60},
            "em": {"settle": 1, "max_iterations": 6},
            "starts": 1,
        },
        "uncertainty": {"points": 300},
        "maps": {"steps": 20, "variation_steps": 4},
    }
    presets = preset(checkout, {"simplex": little})
    done = checkout.snakemake("simplex", presets=presets)
    assert done.returncode == 0, done.stderr[-5000:]
    study = checkout.path / RESULTS / "simplex"
    page = (study / "report/index.html").read_text()
    assert "read from files" in page
    assert "data/simulation.parquet" in page  # configuration and checksums
    for absent in ("Pythia", "train_tagger", "tagger_roc", "AUC"):
        assert absent not in page
    summary = json.loads((study / "summary.json").read_text())
    assert not [key for key in summary if key.startswith("simplex.tagger")]
    raw, left = (summary[f"simplex.closure.{key}.b_c.1"] for key in ("w1", "w1_ratio"))
    assert raw > 0
    assert left < 1  # even so little brings simulation closer to data
    assert not (study / "jets").exists()
    assert not (study / "tagger").exists()
    assert checkout.planned("simplex", presets=presets) == {}
