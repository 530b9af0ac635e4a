"""The guide to a user's own jets: its settings are valid and its examples read files."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import onnx
import pyarrow as pa
import pytest
import torch
import uproot
import yaml
from snakemake.utils import update_config

from otcal.bundle.onnx_head import head_model
from otcal.config.head import HeadConfig
from otcal.config.samples import Files, ReadDelphesSpec
from otcal.config.simulation import ShardSpec
from otcal.config.study import Settings, load_settings
from otcal.samples.flavours import FLAVOURS
from otcal.samples.readers.jets import write_jets
from otcal.samples.readers.latents import write_latents
from otcal.samples.readers.outputs import write_scores
from otcal.samples.scores import read_scores
from otcal.samples.tables import fixed_size_list, row_count
from otcal.simulation.delphes import jets as delphes
from otcal.simulation.processes import PROCESSES
from otcal.tagger.head import Head
from otcal.tagger.head_model import HeadModel
from support.checkout import ROOT
from support.delphes import simulated, write_delphes
from support.layouts import write_ftag, write_jetclass, write_tree, write_upp

GUIDE = (ROOT / "docs/own_data.md").read_text(encoding="utf-8")
BLOCKS = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)]
COMMANDS = [
    shlex.split(line)
    for text in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
    for line in text.splitlines()
]
MakeJets = Callable[..., pa.Table]
N = 60


def write_ntuple(path: Path) -> None:
    """Write the ntuple of the guide's last example."""
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 8, N)
    m = int(counts.sum())
    tracks = {
        "trk_pt": rng.uniform(500, 5000, m),
        "trk_eta": rng.uniform(-2, 2, m),
        "trk_dphi": rng.normal(0, 0.1, m),
        "trk_q": rng.choice([-1.0, 1.0], m),
        "trk_d0": rng.normal(0, 0.1, m),
        "trk_z0": rng.normal(0, 0.1, m),
    }
    branches = {
        "pt": rng.uniform(2e4, 2e5, N),
        "eta": rng.uniform(-2, 2, N),
        "truth": rng.choice([3, 2, 1, -1], N).astype(np.int32),
    } | {name: ak.unflatten(values, counts) for name, values in tracks.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with uproot.recreate(path) as file:
        write_tree(file, "events", branches)


def write_scores_file(path: Path, files: Files) -> None:
    """Write scores in the layout of an example: zeros, and probabilities that sum to 0.9."""
    rng = np.random.default_rng(0)
    p = 0.9 * rng.dirichlet(np.ones(3), N) if files.normalise else rng.dirichlet(np.ones(3), N)
    p[0] = [0.0, 0.0, p[0].sum()] if not files.normalise else p[0]
    if files.format == "ftag":
        named = {f"jets_GN2_p{name}": p[:, i] for i, name in enumerate("bcu")}
        write_ftag(path, N, **named)
        return
    columns = {"jet_id": np.arange(N), "jet_pt": rng.uniform(2e4, 2e5, N), "jet_eta": np.zeros(N)}
    columns |= {f"p_{name}": p[:, i] for i, name in enumerate(FLAVOURS)}
    branches = {files.columns[name]: values for name, values in columns.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with uproot.recreate(path) as file:
        truth = rng.choice([5, 4, 0, 15], N).astype(np.int32)
        write_tree(file, files.tree, branches | {"truth": truth})


def write(path: Path, kind: str, make_jets: MakeJets) -> None:
    """Write a file of a format; ROOT files are ntuples."""
    if kind == "jetclass":
        write_jetclass(path, make_jets(N, 1))
    elif kind == "upp":
        write_upp(path, N)
    elif kind == "ftag":
        rng = np.random.default_rng(1)
        pt = rng.uniform(2e4, 2e5, N)
        write_ftag(path, N, jets_pt_btagJes=pt, jets_eta_btagJes=rng.uniform(-2, 2, N))
    elif kind == "delphes":
        path.parent.mkdir(parents=True, exist_ok=True)
        write_delphes(path, [simulated("QCD", N // 2)])
    else:
        write_ntuple(path)


def settings(block: dict[str, Any]) -> Settings:
    merged = yaml.safe_load((ROOT / "config.yaml").read_text())
    update_config(merged, block)
    return load_settings(merged)


def samples(block: dict[str, Any]) -> list[tuple[str, str, Files]]:
    """Return study, name and settings of the datasets of a block."""
    loaded = settings(block)
    studies = {"latent": loaded.latent, "simplex": loaded.simplex}
    return [(s, name, one) for s, study in studies.items() for name, one in study.samples.items()]


def test_there_is_an_example_for_each_format() -> None:
    shown = {files.format for block in BLOCKS for _, _, files in samples(block)}
    assert shown == {"jetclass", "upp", "ftag", "root", "parquet", "delphes"}


LATE = [b for b in BLOCKS if any(files.holds != "jets" for _, _, files in samples(b))]


@pytest.mark.parametrize("block", [block for block in LATE if "simplex" in block])
def test_an_example_reads_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    study = settings(block).simplex
    assert study.start == "scores"
    found = []
    for name, files in study.samples.items():
        path = tmp_path / files.files[0].replace("*", "x")
        write_scores_file(path, files)
        write_scores(study.read_scores_spec(name), tmp_path / f"{name}.parquet", {})
        scores = read_scores(tmp_path / f"{name}.parquet", FLAVOURS)
        assert 0 < len(scores) < N
        np.testing.assert_allclose(scores.p.sum(axis=1), 1, rtol=1e-12)
        assert scores.pt.max() < 251  # GeV
        found.append(set(scores.ids.tolist()))
    if files.take:
        assert found[0].isdisjoint(found[1])  # the two parts of one file


@pytest.mark.parametrize("block", [block for block in LATE if "latent" in block])
def test_an_example_reads_latents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    study = settings(block).latent
    assert study.start == "latents"
    assert study.head is not None
    assert study.closure.undrawn == []
    rng = np.random.default_rng(0)
    rest = Head(8, [128, 32], len(study.classes))
    model = head_model(rest)
    names = {"zp128": study.head.zp128, "z10": study.head.z10}
    for node in model.graph.node:
        node.output[:] = [names.get(name, name) for name in node.output]
    for output in model.graph.output:
        output.name = names[output.name]
    path = tmp_path / study.head.file
    path.parent.mkdir(parents=True)
    onnx.save(model, path)
    for name, files in study.samples.items():
        assert files.labels is not None
        columns = {
            files.columns["z128"]: fixed_size_list(rng.normal(size=(N, 128)).astype(np.float32)),
            files.columns["jet_pt"]: pa.array(rng.uniform(500, 1000, N)),
            files.labels.column: pa.array(rng.choice(list(files.labels.values), N)),
        }
        path = tmp_path / files.files[0].replace("*", "x")
        path.parent.mkdir(parents=True)
        pa.parquet.write_table(pa.table(columns), path)
        head = HeadModel(study.head.file, study.head, threads=1)
        write_latents(study.read_latents_spec(name), head, tmp_path / "out.parquet", {})
        assert 0 < row_count(tmp_path / "out.parquet") < N


def test_there_are_examples_of_a_later_start() -> None:
    assert len(LATE) == 3


def test_the_example_in_pytorch_exports_a_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    head = Head(8, [128, 16, 12], 4).eval()

    class Rest(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = head

        def forward(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.head.from_z128(z)

    exec(code, {"torch": torch, "rest": Rest().eval()})
    spec = HeadConfig(file="head.onnx", classes=("a", "b", "c", "d"), zp128="hidden", z10="logits")
    z = np.random.default_rng(0).normal(size=(50, 128)).astype(np.float32)
    found = HeadModel("head.onnx", spec, threads=1)(z)
    with torch.no_grad():
        expected = head.from_z128(torch.from_numpy(z))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block not in LATE])
def test_an_example_reads_files(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_jets: MakeJets,
    block: dict[str, Any],
) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = settings(block)
    studies = {"latent": loaded.latent, "simplex": loaded.simplex}
    for study, name, files in samples(block):
        for pattern in files.files:
            path = Path(re.sub(r"\[(\d)-\d\]", r"\1", pattern).replace("*", "x"))
            write(path, files.format, make_jets)
        simulation = studies[study].simulation
        first = next(iter(files.shards(name, simulation.selection, simulation.detector).values()))
        if isinstance(first, ReadDelphesSpec):
            delphes.write_jets(first, tmp_path / "0.parquet", {})
        else:
            write_jets(first, tmp_path / "0.parquet", {})
        assert 0 < row_count(tmp_path / "0.parquet") <= N


@pytest.mark.parametrize("command", [one for one in COMMANDS if one[0] == "otcal"])
def test_a_command_runs(tmp_path: Path, make_jets: MakeJets, command: list[str]) -> None:
    write(tmp_path / command[-1], "jetclass" if "mine" in command[-1] else "root", make_jets)
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"{command[-1]}: " in done.stdout
    assert "can be used: jets of the" in done.stdout


def test_other_commands_name_presets_and_settings_that_exist() -> None:
    """Their plans are tested with the workflow, and the step with a program that stands in."""
    others = [one for one in COMMANDS if one[0] != "otcal"]
    presets = [
        name
        for one in others
        if "--configfile" in one
        for name in one[one.index("--configfile") + 1 :]
    ]
    assert len(presets) == 2
    assert all((ROOT / preset).is_file() for preset in presets)
    (step,) = [one for one in others if one[:2] == ["python", "-m"]]
    importlib.import_module(step[2])
    spec = ShardSpec.model_validate_json(step[step.index("--spec") + 1])
    assert spec.process in PROCESSES
