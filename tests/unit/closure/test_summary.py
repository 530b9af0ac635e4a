from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from otcal.closure import summary
from otcal.closure.summary_keys import KEYS, documentation
from otcal.runtime.errors import InputError


@pytest.mark.parametrize(
    "key",
    [
        f"latent.auc.{layer}.{kind}{suffix}"
        for layer in ("z128", "zp128", "z10")
        for kind in (
            "nominal.mlp",
            "nominal.linear",
            "calibrated.mlp",
            "calibrated.linear",
            "retrained.mlp",
            "retrained.linear",
            "floor.mlp",
        )
        for suffix in ("", ".std")
    ]
    + ["latent.dilution.rho", "latent.inputs.ks.jet_pt", "latent.inputs.ks.part_d0val"],
)
def test_fixed_names_are_documented_once(key: str) -> None:
    assert documentation(key).meaning


@pytest.mark.parametrize(
    "key", ["latent.auc.z64.nominal.mlp", "latent.auc.z128.nominal", "latent.inputs.ks.", "x"]
)
def test_other_names_are_not(key: str) -> None:
    with pytest.raises(KeyError, match="documented 0 times"):
        documentation(key)


def test_patterns_and_meanings_are_distinct_and_complete() -> None:
    assert len({entry.pattern for entry in KEYS}) == len(KEYS)
    assert all(entry.meaning for entry in KEYS)
    # No entry documents a key of another one.
    names = {
        "layer": "z10",
        "model": "mlp",
        "sample": "source",
        "class": "Hbb",
        "flavour": "c",
        "number": "3",
        "discriminant": "hf_l",
        "kappa": "0.5",
        "other": "reweighted",
    }
    for entry in KEYS:
        key = re.sub(r"<(\w+)>", lambda found: names.get(found[1], "some"), entry.pattern)
        assert documentation(key) is entry


def test_metrics_are_flattened_without_words_and_provenance(tmp_path: Path) -> None:
    content = {
        "accuracy": 0.5,
        "auc": {"rest": {"Hbb": 0.9}},
        "good": True,
        "missing": None,
        "reason": "a word",
        "provenance": {"seed": 3},
    }
    (tmp_path / "metrics.json").write_text(json.dumps(content))
    assert summary.from_tagger(tmp_path / "metrics.json") == {
        "latent.tagger.accuracy": 0.5,
        "latent.tagger.auc.rest.Hbb": 0.9,
    }
    (tmp_path / "map.json").write_text(json.dumps({"notes": {"diagnostics": {"dual": -1.5}}}))
    assert summary.from_map(tmp_path / "map.json") == {"latent.map.dual": -1.5}


def test_merged_studies_keep_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "latent.json"
    path.write_text('{"latent.dilution.rho": 0.5, "latent.auc.jets": 7}')
    assert summary.merge({"latent": path}) == {"latent.auc.jets": 7, "latent.dilution.rho": 0.5}
    with pytest.raises(InputError, match="does not belong to simplex"):
        summary.merge({"simplex": path})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"latent.dilution.rho": "0.5"}', "not a number"),
        ('{"latent.dilution.rho": true}', "not a number"),
        ('{"latent.dilution.rho": NaN}', "is nan"),
        ('{"latent.dilution.sigma": 1.0}', "documented 0 times"),
        ("{", "is not JSON"),
    ],
)
def test_bad_summaries_are_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "summary.json"
    path.write_text(text)
    with pytest.raises(InputError, match=problem) as caught:
        summary.merge({"latent": path})
    assert caught.value.where == str(path)


@pytest.mark.parametrize(
    ("reader", "name", "text", "field"),
    [
        (summary.from_auc, "auc.csv", "layer,auc\nz128,0.5\n", "evaluation"),
        (summary.from_validation, "v.csv", "feature,distance\njet_pt,0.1\n", "ks"),
        (summary.from_validation, "v.csv", "feature,ks\njet pt,0.1\n", "latent.inputs.ks.jet pt"),
        (summary.from_distances, "d.csv", "", "file"),
        (summary.from_reweighting, "r.json", '{"rho": 1}', "'rho_std'"),
        (summary.from_map, "m.json", '{"notes": {}}', "notes.diagnostics"),
    ],
)
def test_foreign_files_are_named(
    tmp_path: Path, reader: object, name: str, text: str, field: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as caught:
        reader(tmp_path / name)  # type: ignore[operator]
    assert caught.value.field == field
