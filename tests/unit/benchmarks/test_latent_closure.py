"""The latent map's benchmark: what it varies; rows that are there aren't measured again."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import latent_closure
from otcal.config.study import load_settings
from otcal.samples.splits import select
from support.checkout import ROOT

STUDY = load_settings(yaml.safe_load((ROOT / "config.yaml").read_text())).latent
JETS = np.arange(20_000)


@pytest.mark.parametrize("share", latent_closure.SHARES)
def test_smaller_shares_train_on_fewer_jets_and_on_none_that_test(share: float) -> None:
    spec = latent_closure.variants(STUDY.map_spec())["share"][str(share)]
    train, stop = (select(JETS, spec.splits.fractions(), name) for name in ("train", "validation"))
    assert train.mean() == pytest.approx(share, abs=0.02)
    assert not (train & stop).any()
    assert not ((train | stop) & select(JETS, STUDY.splits.fractions(), "test")).any()


def test_only_what_is_varied_differs_from_the_study() -> None:
    default = STUDY.map_spec().model_dump()
    for changed, values in latent_closure.variants(STUDY.map_spec()).items():
        for value, spec in values.items():
            differs = {name for name, kept in spec.model_dump().items() if kept != default[name]}
            setting = {"steps": "steps", "units": "convex", "share": "splits"}[changed]
            assert differs <= {"method" if value == "0" else setting}
            assert value == "0" or value in str(spec.model_dump())


def test_only_missing_rows_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []

    def measure(spec, *_: object) -> dict[str, float]:
        measured.append(spec)
        seconds = {} if spec is None else {"fit_cpu_s": float(spec.steps)}
        figures = ("auc", 0.6), ("std", 0.01)
        return {**seconds, **{f"{n}_{k}": v for n, v in figures for k in latent_closure.LAYERS}}

    monkeypatch.setattr(latent_closure, "measure", measure)
    options = ["--config", str(ROOT / "config.yaml"), "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["command", *options])
    latent_closure.main()
    everything = sum(map(len, latent_closure.variants(STUDY.map_spec()).values()))
    # The floor, and the study's own settings, which are in each of three series, once.
    assert len(measured) == 1 + everything - 2
    assert (tmp_path / "closure.pdf").exists()
    path = tmp_path / "closure.csv"
    pd.read_csv(path, dtype=str).drop(index=[3]).to_csv(path, index=False)
    latent_closure.main()
    assert len(measured) == everything
    assert len(pd.read_csv(path)) == 1 + everything
