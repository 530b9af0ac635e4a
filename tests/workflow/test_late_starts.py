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
from otcal.runtime.files import sha256
from otcal.samples.flavours import FLAVOURS
from otcal.simplex import ilr_inverse
from support.checkout import SMOKE, Checkout
from support.heads import CLASSES, HIDDEN, OUTPUTS, WIDTH, write_head
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
NAMED = {"draw_fig05", "draw_fig11", "draw_reweighting"}
"""Rules of figures of certain discriminants."""


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


def latents(name: str, **more: Any) -> dict[str, Any]:
    return {
        "format": "parquet",
        "holds": "latents",
        "files": [f"data/{name}.parquet"],
        "jets": 900,
        "columns": {"z128": "latent", "jet_pt": "pt"},
        "labels": {"column": "truth", "values": dict(enumerate(CLASSES))},
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


LATENTS: dict[str, Any] = {
    "head": {"file": "data/head.onnx", "classes": list(CLASSES), **OUTPUTS},
    "samples": {"source": latents("source"), "target": latents("target")},
    "transport": {"classes": ["multijet", "top"]},
    "closure": {
        "discriminants": [{"name": "tagged", "signal": ["h_bb"], "background": ["multijet"]}]
    },
}


def write_latents(path: Path, shift: float, seed: int) -> None:
    """Write latents of multijets and top quarks, moved across what tells these apart."""
    rng = np.random.default_rng(seed)
    truth = rng.choice([0, 2], 900)
    z = rng.normal(size=(900, WIDTH)) + truth[:, None] + shift * (-1.0) ** np.arange(WIDTH)
    columns = {
        "latent": pa.array(list(z.astype(np.float32))),
        "pt": pa.array(rng.uniform(500, 1000, 900)),
        "truth": pa.array(truth),
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


def test_a_study_of_latents_has_no_jets_and_no_tagger(checkout: Checkout) -> None:
    touch(checkout, *(f"data/{name}" for name in ("source.parquet", "target.parquet", "head.onnx")))
    presets = preset(checkout, {"latent": LATENTS})
    planned = checkout.planned("latent", presets=presets)
    before = checkout.planned("latent")
    assert (planned["read_latents"], planned["read_head"]) == (2, 1)
    assert EARLY.isdisjoint(planned)
    left = {"read_latents", "read_head", *EARLY}
    assert {k: n for k, n in planned.items() if k not in left} == {
        k: n for k, n in before.items() if k not in left | NAMED
    }
    for target in (f"{RESULTS}/latent/bundle", f"{RESULTS}/latent/conditions/closure.csv"):
        assert EARLY.isdisjoint(checkout.planned(target, presets=presets))
    # Discriminants with the names that figures show bring the figures back.
    like = LATENTS["closure"]["discriminants"][0]
    named = {"discriminants": [like | {"name": name} for name in ("Hbb", "Hcc", "HbbHcc")]}
    presets = preset(checkout, {"latent": LATENTS | {"closure": named}})
    assert set(checkout.planned("latent", presets=presets)) >= NAMED


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
        (
            SCORES | {"data": scores("data", labels={"all": "light"})},
            "samples.data.labels.all: this dataset needs jets of every class of its study",
        ),
    ],
)
def test_mixtures_make_no_sense(samples: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as caught:
        load_settings(configured({"simplex": {"samples": samples}}))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"head": None}, "samples hold latents, so that head is needed"),
        ({"samples": {}}, "head is of samples that hold latents; there are none"),
        (
            {"samples": {"source": latents("source")}},
            "samples.source holds latents, but target is to be made of jets by another tagger",
        ),
        (
            {"samples": {**LATENTS["samples"], "target": scores("data")}},
            "samples.target.holds is scores: in the latent study only source and target can hold",
        ),
        ({"transport": {"classes": ["QCD"]}}, "transport.classes: QCD is none of the tagger's"),
        (
            {
                "closure": {
                    "discriminants": [{"name": "x", "signal": ["Hbb"], "background": ["top"]}]
                }
            },
            "closure.discriminants: x: Hbb is none of the tagger's classes, which are multijet",
        ),
        (
            {
                "samples": {
                    **LATENTS["samples"],
                    "target": latents("t", labels={"column": "y", "values": {1: "Hbb"}}),
                }
            },
            "samples.target.labels: Hbb is none of the tagger's classes",
        ),
        (
            {"samples": {**LATENTS["samples"], "target": latents("t", labels={"all": "QCD"})}},
            "samples.target.labels: QCD is none of the tagger's classes, which are multijet",
        ),
    ],
)
def test_settings_of_latents_that_do_not_go_together(changes: dict[str, Any], says: str) -> None:
    content = configured({"latent": LATENTS})
    content["latent"] |= changes
    with pytest.raises(InputError) as caught:
        load_settings(content)
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
    assert 'id="probabilities"' in page
    for absent in ('id="inputs"', "train_tagger", "tagger_roc", "generated and reconstructed"):
        assert absent not in page
    summary = json.loads((study / "summary.json").read_text())
    assert not [key for key in summary if key.startswith("simplex.tagger")]
    raw, left = (summary[f"simplex.closure.{key}.b_c.1"] for key in ("w1", "w1_ratio"))
    assert raw > 0
    assert left < 1  # even so little brings simulation closer to data
    assert not (study / "jets").exists()
    assert not (study / "tagger").exists()
    assert checkout.planned("simplex", presets=presets) == {}


def test_latents_become_a_page_and_a_bundle(checkout: Checkout) -> None:
    """The latent study of a tagger with three classes and a latent of its own width."""
    write_head(checkout.path / "data/head.onnx")
    write_latents(checkout.path / "data/source.parquet", 0.0, 1)
    write_latents(checkout.path / "data/target.parquet", 0.7, 2)
    closure = {"fits": 1, "mlp": {"epochs": 2}} | LATENTS["closure"]
    presets = preset(checkout, {"latent": LATENTS | {"closure": closure}})
    bundle = f"{RESULTS}/latent/bundle"
    done = checkout.snakemake("latent", bundle, presets=presets)
    assert done.returncode == 0, done.stderr[-5000:]
    study = checkout.path / RESULTS / "latent"
    page = (study / "report/index.html").read_text()
    assert "read from files" in page
    assert "<code>read_head</code>" in page
    checksum = sha256(checkout.path / "data/head.onnx")
    assert f"<dt>data/head.onnx</dt><dd>{checksum}</dd>" in page
    assert 'id="latents"' in page
    for absent in ('id="inputs"', 'id="tagger"', "train_tagger", "fig05a_hbb", "fig01a_d0"):
        assert absent not in page
    summary = json.loads((study / "summary.json").read_text())
    assert set(CLASSES) == {
        key.split(".")[3] for key in summary if key.startswith("latent.logits.ks.")
    }
    assert summary["latent.auc.z128.nominal.linear"] > 0.9
    assert summary["latent.auc.z128.calibrated.linear"] < 0.65
    before, after = (
        summary[f"latent.discriminants.ks.tagged.{name}"] for name in ("source", "calibrated")
    )
    assert after < before
    card = json.loads((checkout.path / bundle / "card.json").read_text())
    assert card["head"]["outputs"] == {"hidden": HIDDEN, "logits": 3}
    assert card["notes"]["classes"] == {"0": "multijet", "2": "top"}
    assert not (study / "jets").exists()
    assert not (study / "tagger").exists()
    assert checkout.planned("latent", bundle, presets=presets) == {}
