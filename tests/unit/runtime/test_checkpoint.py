"""A checkpoint gives back what went in, bit for bit, or says why it cannot."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from otcal.runtime import checkpoint
from otcal.runtime.errors import InputError


def same(one: Any, other: Any) -> bool:
    """Compare two trees: structure, types and every bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        if one.dtype != other.dtype or one.shape != other.shape:
            return False
        # Compared as bytes, so that NaN equals NaN and -0.0 differs from 0.0.
        bits = [t.contiguous().reshape(-1).view(torch.uint8) for t in (one, other)]
        return torch.equal(*bits)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and math.isnan(one):
        return math.isnan(other)
    return bool(one == other) and repr(one) == repr(other)


DTYPES = (
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int8,
    torch.uint8,
    torch.bool,
)

leaves = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
)  # fmt: skip
keys = st.text(max_size=3) | st.integers(-3, 3)
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(deadline=None)  # a disk may be busy
@given(tree=trees)
def test_plain_values_survive_exactly(tmp_path_factory: Any, tree: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "plain.safetensors"
    checkpoint.save(path, tree)
    assert same(checkpoint.load(path), tree)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_tensors_keep_type_shape_and_bits(tmp_path: Path, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(3)
    cube = (torch.randn(2, 3, 4, generator=generator) * 50).to(dtype)
    tree = {"a": cube, "b": [cube[0, 0, 0], cube[:0]], 3: (cube, {"c": torch.tensor(True)})}
    checkpoint.save(tmp_path / "t.safetensors", tree)
    assert same(checkpoint.load(tmp_path / "t.safetensors"), tree)


def test_special_floats_and_views_survive(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    base[0, 0], base[0, 1], base[0, 2] = math.nan, -math.inf, -0.0
    tree = {"whole": base, "transposed": base.T, "row": base[1], "again": base}
    checkpoint.save(tmp_path / "v.safetensors", tree)
    loaded = checkpoint.load(tmp_path / "v.safetensors")
    assert same(loaded, tree)
    loaded["whole"].zero_()
    assert loaded["row"].sum() == base[1].sum()  # no shared memory


def test_a_lone_tensor_is_a_tree(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "t.safetensors", torch.ones(2))
    assert same(checkpoint.load(tmp_path / "t.safetensors"), torch.ones(2))


def test_keys_that_look_alike_stay_apart(tmp_path: Path) -> None:
    tree = {
        "a/b": torch.tensor(1.0),
        "a": {"b": torch.tensor(2.0)},
        1: torch.tensor(3.0),
        "1": torch.tensor(4.0),
    }
    checkpoint.save(tmp_path / "t.safetensors", tree)
    assert same(checkpoint.load(tmp_path / "t.safetensors"), tree)


def test_an_optimiser_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    def optimiser() -> tuple[torch.Tensor, torch.optim.Optimizer]:
        weight = torch.zeros(3, requires_grad=True)
        return weight, torch.optim.AdamW([weight], lr=0.1)

    def step(weight: torch.Tensor, optimiser: torch.optim.Optimizer) -> None:
        optimiser.zero_grad()
        (weight - torch.tensor([1.0, 2.0, 3.0])).square().sum().backward()
        optimiser.step()

    one, first = optimiser()
    step(one, first)
    checkpoint.save(tmp_path / "o.safetensors", {"weight": one, "state": first.state_dict()})
    saved = checkpoint.load(tmp_path / "o.safetensors")
    other, second = optimiser()
    other.data = saved["weight"]
    second.load_state_dict(saved["state"])
    step(one, first)
    step(other, second)
    assert torch.equal(one, other)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PAR1" * 100])
def test_another_kind_of_file_is_an_input_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"c\.safetensors: file: is not a checkpoint"):
        checkpoint.load(path)


def test_a_truncated_checkpoint_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    checkpoint.save(path, {"a": torch.ones(100)})
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match="is not a checkpoint"):
        checkpoint.load(path)


def test_somebody_elses_safetensors_file_is_an_input_error(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "c.safetensors")
    with pytest.raises(InputError, match="is not a checkpoint"):
        checkpoint.load(tmp_path / "c.safetensors")


def test_a_missing_checkpoint_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        checkpoint.load(tmp_path / "c.safetensors")


def test_what_cannot_be_kept_is_named(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="/model/f: a checkpoint cannot hold function"):
        checkpoint.save(tmp_path / "c.safetensors", {"model": {"f": lambda: None}})
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.safetensors"
    checkpoint.save(path, {"a": 1})

    def breaks(tensors: Any, target: Path, metadata: Any) -> None:
        target.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save_file", breaks)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(path, {"a": 2})
    assert checkpoint.load(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]
