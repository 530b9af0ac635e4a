"""Studies of jets that exist already: plans without simulation, and shards that are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from otcal.config.study import load_settings
from otcal.runtime.errors import InputError
from otcal.samples.jets import JET_SCHEMA
from otcal.samples.tables import to_numpy
from support.checkout import ROOT, SMOKE, Checkout
from support.delphes import simulated, write_delphes
from support.layouts import write_ftag, write_jetclass, write_upp
from support.settings import configured

PAPER, PUBLIC = (f"workflow/presets/{name}.yaml" for name in ("paper", "public_data"))
STEMS = [
    "ZJetsToNuNu",
    "HToBB",
    "HToCC",
    "HToGG",
    "HToWW4Q",
    "HToWW2Q1L",
    "ZToQQ",
    "WToQQ",
    "TTBar",
    "TTBarLep",
]
MakeJets = Callable[..., pa.Table]


def touch(checkout: Checkout, *names: str) -> None:
    for name in names:
        (checkout.path / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout.path / name).touch()


def preset(checkout: Checkout, content: dict[str, Any]) -> tuple[str, str]:
    """Write settings on top of the smoke preset."""
    (checkout.path / "own.yaml").write_text(yaml.safe_dump(content))
    return SMOKE, "own.yaml"


def existing(files: str, kind: str = "jetclass", **more: Any) -> dict[str, Any]:
    return {"files": [files], "format": kind, "jets": 10_000} | more


def test_a_study_of_existing_files_simulates_nothing(checkout: Checkout) -> None:
    touch(checkout, *(f"data/{stem}_{number}.root" for stem in STEMS for number in range(3)))
    names = {"training": "data/*_0.root", "source": "data/ZJ*_1.root", "target": "data/ZJ*_2.root"}
    samples = {name: existing(files) for name, files in names.items()}
    samples["source"]["parts"] = 4
    presets = preset(checkout, {"latent": {"samples": samples}})
    planned = checkout.planned("latent", presets=presets)
    assert planned["read_jets"] == 10 + 4 + 1
    assert "simulate" not in planned
    before = checkout.planned("latent")
    assert "read_jets" not in before
    left = ("simulate", "read_jets")
    assert {k: n for k, n in planned.items() if k not in left} == {
        k: n for k, n in before.items() if k not in left
    }


def test_delphes_has_a_rule_of_its_own(checkout: Checkout) -> None:
    touch(checkout, "data/a.root", "data/b.root", "data/mine.h5")
    latent = {"source": existing("data/*.root", "delphes", parts=3)}
    latent["target"] = existing("data/a.root")
    # In the other study the same names of datasets are of other formats.
    simplex = {
        "training": existing("data/mine.h5", "ftag"),
        "data": existing("data/b.root", "delphes"),
    }
    content = {"latent": {"samples": latent}, "simplex": {"samples": simplex}}
    content["latent"]["samples"]["training"] = existing("data/b.root", "delphes")
    presets = preset(checkout, content)
    planned, before = checkout.planned("latent", presets=presets), checkout.planned("latent")
    assert planned.pop("read_delphes") == 1 + 2 * 3
    assert planned.pop("read_jets") == 1
    assert "simulate" not in planned
    before.pop("simulate")
    assert planned == before
    planned = checkout.planned("simplex", presets=presets)
    assert (planned["read_jets"], planned["read_delphes"]) == (1, 1)
    assert planned["simulate"] > 0
    done = checkout.snakemake(
        "--dry-run", "results/smoke/latent/jets/other/files/0.parquet", presets=presets
    )
    assert done.returncode != 0


def test_one_dataset_may_be_read_and_the_others_simulated(checkout: Checkout) -> None:
    touch(checkout, "data/mine.h5")
    samples = {"training": existing("data/mine.h5", "ftag")}
    done = checkout.snakemake(
        "--dry-run",
        "results/smoke/simplex/scores/data.parquet",
        presets=preset(checkout, {"simplex": {"samples": samples}}),
    )
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    assert "results/smoke/simplex/jets/training/files/0.parquet" in text
    assert "results/smoke/simplex/jets/data/ttbar/0.parquet" in text
    assert "results/smoke/simplex/jets/training/ttbar" not in text


def test_public_files_stand_in_for_simulation(checkout: Checkout) -> None:
    train = "data/JetClass/train_100M"
    touch(checkout, *(f"{train}/{stem}_{n:03}.root" for stem in STEMS for n in range(30)))
    touch(checkout, "data/ttbar/pp_output_train.h5", "data/ttbar/pp_output_test_ttbar.h5")
    simplex = checkout.planned("simplex", presets=(PAPER, PUBLIC))
    assert simplex["read_jets"] == 100 + 8 + 12
    assert "simulate" not in simplex
    tagger = "results/latent/tagger/metrics.json"
    planned = checkout.planned(tagger, presets=(PAPER, PUBLIC))
    assert planned["read_jets"] == 250
    assert "simulate" not in planned


def test_files_that_are_not_there_stop_the_plan(checkout: Checkout) -> None:
    samples = {"source": existing("data/*.root")}
    presets = preset(checkout, {"latent": {"samples": samples}})
    done = checkout.snakemake("--dry-run", presets=presets)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "latent.samples.source: data/*.root: matches no file" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ({"format": "csv"}, ["samples.source.format", "'jetclass'", "csv"]),
        ({"file": "x"}, ["samples.source.file", "is not a known key", "files, jets, parts"]),
        ({"take": [2, 5], "parts": 4}, ["samples.source", "take", "0 to 4"]),
        ({"jets": 99}, ["samples.source.jets", "9.9 jets for splits.validation"]),
        ({"labels": {"column": "y", "values": {"5": "beauty"}}}, ["labels name beauty", "Hbb"]),
        ({"labels": {"all": "QCD", "column": "y"}}, ["samples.source.labels", "column and values"]),
        (
            {"format": "delphes", "labels": {"column": "y", "values": {"5": "Hbb"}}},
            ["samples.source", "no jets that a column could label", "by the generated particles"],
        ),
        ({"format": "delphes", "tree": "mine"}, ["samples.source", "columns, unit and tree"]),
        ({"format": "delphes", "unit": "GeV"}, ["samples.source", "leave them out"]),
        ({"format": "delphes", "columns": {"jet_pt": "pt"}}, ["samples.source", "leave them out"]),
        ({"format": "delphes", "holds": "latents"}, ["samples.source", "holds jets"]),
    ],
)
def test_a_mistake_names_key_and_remedy(block: dict[str, Any], says: list[str]) -> None:
    samples = {"source": existing("data/*.root") | block}
    with pytest.raises(InputError) as caught:
        load_settings(configured({"latent": {"samples": samples}}))
    for text in says:
        assert text in str(caught.value)


def test_datasets_of_files_need_no_counterpart_that_is_simulated() -> None:
    settings = configured({"latent": {"samples": {"source": existing("data/*.root")}}})
    del settings["latent"]["simulation"]["datasets"]["source"]
    assert load_settings(settings).latent.jets("source") == {"files": 10_000}


def test_one_class_for_all_is_none_to_train_with() -> None:
    one = existing("data/*.root", labels={"all": "QCD"})
    loaded = load_settings(configured({"latent": {"samples": {"source": one, "target": one}}}))
    labels = loaded.latent.samples["target"].labels
    assert labels is not None
    assert labels.classes == ("QCD",)
    with pytest.raises(InputError, match=r"samples\.training\.labels\.all: .* of every class"):
        load_settings(configured({"latent": {"samples": {"training": one}}}))


def test_shards_are_read(checkout: Checkout, make_jets: MakeJets) -> None:
    """Files of each format through the workflow, up to the transforms of a tagger's inputs."""
    data = checkout.path / "data"
    made = make_jets(100, 1)
    write_jetclass(data / "ZJetsToNuNu_000.root", made)
    pq.write_table(made, data / "mine.parquet")
    top = write_upp(data / "top.h5", 400)["jets"]
    write_ftag(data / "atlas.h5", 50)
    latent = {
        "source": existing("data/Z*.root", parts=2),
        "target": existing("data/mine.parquet", "parquet"),
    }
    simplex: dict[str, Any] = {
        "samples": {
            "training": existing("data/top.h5", "upp", parts=3, take=[1, 3]),
            "data": existing("data/atlas.h5", "ftag", ignore_weights=True),
        },
        "tagger": {"preprocessing": {"constituent_features": ["pt", "d0val", "d0err", "dzval"]}},
    }
    presets = preset(checkout, {"latent": {"samples": latent}, "simplex": simplex})
    jets = Path("results/smoke")
    targets = [
        *(f"{jets}/latent/jets/source/files/{number}.parquet" for number in range(2)),
        f"{jets}/latent/jets/target/files/0.parquet",
        f"{jets}/simplex/jets/data/files/0.parquet",
        f"{jets}/simplex/tagger/preprocessing.json",
    ]
    done = checkout.snakemake(*targets, presets=presets)
    assert done.returncode == 0, done.stderr[-5000:]
    source, *others = (pq.read_table(checkout.path / target) for target in targets[:4])
    source = pa.concat_tables([source, others[0]])
    assert (
        source.drop_columns("jet_id")
        .cast(pa.schema(field for field in JET_SCHEMA if field.name != "jet_id"))
        .equals(made.drop_columns("jet_id"))
    )
    assert to_numpy(others[1]["jet_id"]).tolist() == to_numpy(made["jet_id"]).tolist()
    assert 0 < len(others[2]) < 50  # without jets of tau leptons
    training = checkout.path / jets / "simplex/jets/training/files"
    pt = [to_numpy(pq.read_table(training / f"{number}.parquet")["jet_pt"]) for number in range(2)]
    assert [*pt[0], *pt[1]] == top["pt"][133:].tolist()
    assert (
        "part_dzerr" in (checkout.path / jets / "simplex/logs/read_jets/training-0.log").read_text()
    )
    assert checkout.planned(*targets, presets=presets) == {}


def test_events_of_delphes_are_read(checkout: Checkout) -> None:
    """Of one file the jets of both studies: with the settings of each."""
    data = checkout.path / "data"
    data.mkdir()
    write_delphes(data / "top.root", [simulated("ttbar", 30)])
    samples = {"data": existing("data/top.root", "delphes", parts=2)}
    content: dict[str, Any] = {
        "simplex": {"samples": samples},
        "latent": {"samples": {"target": existing("data/top.root", "delphes")}},
    }
    presets = preset(checkout, content)
    jets = "results/smoke/{}/jets/{}/files/{}.parquet"
    targets = [jets.format(*one) for one in (("simplex", "data", 0), ("simplex", "data", 1))]
    targets.append(jets.format("latent", "target", 0))
    done = checkout.snakemake(*targets, presets=presets)
    assert done.returncode == 0, done.stderr[-5000:]
    first, second, boosted = (pq.read_table(checkout.path / target) for target in targets)
    pt = np.concatenate([to_numpy(one["jet_pt"]) for one in (first, second)])
    assert len(pt) > 30
    assert ((pt > 20) & (pt < 250)).all()
    assert not set(first["jet_id"].to_pylist()) & set(second["jet_id"].to_pylist())
    assert "label_b" in first.column_names
    assert "label_QCD" in boosted.column_names
    log = checkout.path / "results/smoke/simplex/logs/read_delphes/data-1.log"
    assert f"top.root: {len(second)} jets in the events from 15 to 30" in log.read_text()
    assert checkout.planned(*targets, presets=presets) == {}


def test_public_preset_fits_the_models() -> None:
    over = [yaml.safe_load((ROOT / name).read_text()) for name in (PAPER, PUBLIC)]
    settings = load_settings(configured(*over))
    assert sum(settings.latent.jets("training").values()) == 25_000_000
    simplex = settings.simplex
    equal = dict.fromkeys(simplex.mixture.flavours, 1 / 3)
    # Of each flavour a third of the file's jets: enough for all regions.
    for flavour in simplex.mixture.flavours:
        regions = simplex.mixture.regions.values()
        wanted = sum(one.jets * (one.fractions or equal)[flavour] for one in regions)
        assert wanted < simplex.jets("data")["files"] / 3
