"""All commands and examples of docs/bundle.md, on small files."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

from otcal.__main__ import main
from otcal.bundle.card import CARD
from otcal.runtime.files import read_json
from otcal.samples.flavours import FLAVOURS
from support.bundles import probabilities

GUIDE = (Path(__file__).parents[3] / "docs/bundle.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


def write_jets() -> None:
    label = np.arange(30, dtype=np.int32) % 3
    p = np.concatenate([probabilities(k, 1, 50 + i) for i, k in enumerate(label)])
    columns = {f"p_{name}": p[:, k].astype(np.float32) for k, name in enumerate(FLAVOURS)}
    columns["label"] = label
    pq.write_table(pa.table(columns), "jets.parquet")
    names = dict(
        zip(columns, ["GN2_pb", "GN2_pc", "GN2_pu", "HadronConeExclTruthLabelID"], strict=True)
    )
    theirs = {names[name]: values for name, values in columns.items()}
    theirs["HadronConeExclTruthLabelID"] = np.array([5, 4, 0])[label]
    pq.write_table(pa.table(theirs), "ntuple.parquet")
    with h5py.File("jets.h5", "w") as file:
        rows = np.zeros(30, [(name, values.dtype) for name, values in columns.items()])
        for name, values in columns.items():
            rows[name] = values
        file["jets"] = rows
    with uproot.recreate("jets.root") as file:
        file.mktree("tree", {name: one.dtype for name, one in columns.items()}).extend(columns)


@pytest.fixture
def finished(studies: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be where a study is finished, and jets are in files of all kinds."""
    monkeypatch.chdir(tmp_path)
    Path("results").mkdir()
    for name, study in studies.items():
        Path("results", name).symlink_to(study)
    write_jets()


@pytest.mark.usefixtures("finished")
def test_the_readme() -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^otcal (.*)$", readme, re.MULTILINE)
    assert [one.partition(" ")[0] for one in commands] == ["export", "apply"]
    for command in commands:
        main(shlex.split(command))
    with uproot.open("calibrated.root") as file:
        assert np.isfinite(file["tree"]["calibrated_p_b"].array(library="np")).all()


@pytest.mark.usefixtures("finished")
def test_the_guide() -> None:
    commands = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(commands) == 7
    for command in commands:
        name, *arguments = shlex.split(command)
        assert name == "otcal"
        main(arguments)
    reference = pq.read_table("calibrated.parquet")["calibrated_p_b"].to_numpy()
    assert np.isfinite(reference).all()
    found = pq.read_table("out.parquet")["calibrated_p_b"]
    np.testing.assert_array_equal(found.to_numpy(), reference)
    with h5py.File("calibrated.h5") as file:
        np.testing.assert_array_equal(file["jets"]["calibrated_p_b"], reference)
    for path, tree in (("calibrated.root", "tree"), ("friends.root", "tree_calibrated")):
        with uproot.open(path) as file:
            np.testing.assert_array_equal(file[tree]["calibrated_p_b"].array(), reference)
    names: dict[str, Any] = {}
    for example in blocks("python"):
        exec(example, names)
    assert names["calibrated"].sum() == pytest.approx(1.0, abs=1e-6)
    assert np.abs(names["calibrated"] - names["p"]).max() > 0.01
    assert names["weight"] > 0
    files = {path.name for path in Path("bundle").iterdir()}
    listed = set(re.findall(r"`([\w-]+\.(?:onnx|json))`", GUIDE)) - {"map.onnx", "head.onnx"}
    assert listed <= files
    keys = set(re.findall(r"^- `(\w+)`", GUIDE, re.MULTILINE)) | {"maps", "outside"}
    assert keys <= read_json(Path("bundle") / CARD).keys()
