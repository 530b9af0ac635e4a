from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from otcal.config.tagger import Architecture
from otcal.runtime.errors import InputError
from otcal.runtime.files import sha256
from otcal.samples.classes import CLASSES
from otcal.tagger.batches import padded
from otcal.tagger.head import load_head
from otcal.tagger.saved import build, load_tagger, save_tagger

CPU = torch.device("cpu")
ARCHITECTURE = Architecture(blocks=2)


@pytest.fixture
def saved(tmp_path, make_jets, ragged, preprocess):
    """A tagger's file, the network in it, and jets."""
    jets = ragged(make_jets(30, 1))
    transform = preprocess(jets)
    torch.manual_seed(1)
    network = build(ARCHITECTURE, transform, CLASSES).eval().requires_grad_(False)
    path = tmp_path / "tagger.safetensors"
    save_tagger(path, network.state_dict(), ARCHITECTURE, transform, CLASSES, {"seed": 1})
    return path, network, transform(jets)


def edit(path: Path, **changes) -> None:
    """Change the description of a tagger."""
    where = path.with_suffix(".json")
    where.write_text(json.dumps(json.loads(where.read_text()) | changes))


def test_a_loaded_tagger_is_the_saved_one(saved) -> None:
    path, network, jets = saved
    tagger = load_tagger(path)
    assert tagger.classes == CLASSES
    assert not tagger.network.training
    inputs = padded(jets, np.arange(30), CPU)
    assert torch.equal(tagger.network(*inputs), network(*inputs))
    assert json.loads(path.with_suffix(".json").read_text())["provenance"] == {"seed": 1}


def test_the_head_alone_gives_the_same_later_layers(saved) -> None:
    path, network, jets = saved
    z128, zp128, z10 = network.latents(*padded(jets, np.arange(30), CPU))
    again = load_head(path).from_z128(z128)
    assert z128.shape == zp128.shape == (30, 128)
    assert torch.equal(again[0], zp128)
    assert torch.equal(again[1], z10)


def test_the_head_needs_no_training_code() -> None:
    code = (
        "import sys, otcal.tagger.head\n"
        "names = [n for n in sys.modules if n.startswith('otcal.')]\n"
        "assert not any(part in n for n in names for part in "
        "('training', 'network', 'config', 'preprocessing')), names"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("load", [load_tagger, load_head])
def test_weights_of_another_architecture_are_refused(saved, load) -> None:
    path, *_ = saved
    wider = Architecture(blocks=2, d_model=256)
    edit(path, architecture=wider.model_dump())
    with pytest.raises(InputError, match=r"tagger\.safetensors: .*has shape .*architecture has"):
        load(path)


def test_a_missing_tensor_is_named(saved) -> None:
    path, *_ = saved
    edit(path, architecture=Architecture(blocks=3).model_dump())
    with pytest.raises(InputError, match=r"blocks\.2\..*: has shape \(none\)"):
        load_tagger(path)


@pytest.mark.parametrize("load", [load_tagger, load_head])
def test_weights_and_description_of_two_trainings_are_refused(saved, load) -> None:
    path, network, _ = saved
    weights = {name: value + 1 for name, value in network.state_dict().items()}
    save_file(weights, path, metadata={"otcal.format": "otcal.tagger"})
    with pytest.raises(InputError, match=r"is not the file that tagger\.json describes"):
        load(path)


@pytest.mark.parametrize("load", [load_tagger, load_head])
@pytest.mark.parametrize(
    ("content", "message"),
    [(b"not safetensors", "is not a safetensors file"), (None, "does not exist")],
)
def test_damaged_and_missing_weights(saved, load, content, message: str) -> None:
    path, *_ = saved
    path.unlink()
    if content is not None:
        path.write_bytes(content)
        edit(path, weights_sha256=sha256(path))
    with pytest.raises(InputError, match=message):
        load(path)


def test_a_foreign_safetensors_file_is_refused(saved) -> None:
    path, *_ = saved
    save_file(load_file(path), path)  # same tensors, but no word that they are a tagger's
    edit(path, weights_sha256=sha256(path))
    with pytest.raises(InputError, match=r"format: is null, not 'otcal\.tagger'"):
        load_head(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "format: is \"other\", not 'otcal.tagger'"),
        ({"architecture": {"d_model": 64}}, "architecture.d_model: .*128"),
        ({"preprocessing": {}}, "preprocessing: cannot be read"),
    ],
)
def test_a_foreign_description_is_refused(saved, change, message: str) -> None:
    path, *_ = saved
    edit(path, **change)
    with pytest.raises(InputError, match=message):
        load_tagger(path)


def test_an_incomplete_description_is_refused(saved) -> None:
    path, *_ = saved
    where = path.with_suffix(".json")
    content = json.loads(where.read_text())
    del content["classes"]
    where.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"tagger\.json: classes: is missing"):
        load_head(path)


@pytest.mark.parametrize("load", [load_tagger, load_head])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": 5}, "classes: is 5, not a list of names"),
        ({"classes": [1, 2]}, r"classes: is \[1, 2\], not a list of names"),
        ({"head": "128"}, 'head: is "128", not a list of two or more widths'),
        ({"head": [128]}, r"head: is \[128\], not"),
        ({"head": [128, -1]}, r"head: is \[128, -1\], not"),
        ({"architecture": [128]}, r"architecture: is \[128\], not a block"),
        ({"architecture": {"d_model": "wide"}}, r"architecture\.d_model: "),
        ({"preprocessing": None}, "preprocessing: is null, not a block"),
        ({"weights_sha256": 1}, "weights_sha256: is 1, not a checksum"),
    ],
)
def test_a_field_of_another_type_is_named(saved, load, change, message: str) -> None:
    path, *_ = saved
    edit(path, **change)
    with pytest.raises(InputError, match=rf"tagger\.json: {message}"):
        load(path)
