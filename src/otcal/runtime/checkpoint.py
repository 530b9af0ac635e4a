"""Checkpoints: a tree of tensors and plain values in one safetensors file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from otcal.runtime.errors import InputError
from otcal.runtime.files import atomic_path

Tree = Any
"""Nested dicts (string or integer keys), lists and tuples of tensors, numbers, strings, None."""

_STRUCTURE = "otcal.structure"


def save(path: str | Path, tree: Tree) -> None:
    """Write `tree` to `path`, whole or not at all.

    Tensors are stored as they are; the rest is JSON in the file's metadata, so that nothing in the
    file can execute. Floats survive exactly (shortest round-trip representation).

    Raises
    ------
    TypeError
        When the tree holds something that is neither.
    """
    tensors: dict[str, torch.Tensor] = {}
    structure = _flatten(tree, "", tensors)
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={_STRUCTURE: json.dumps(structure)})


def load(path: str | Path) -> Tree:
    """Read what `save` wrote; tensors arrive on the CPU.

    Raises
    ------
    InputError
        When the file is damaged or was not written by `save`.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            structure = (stream.metadata() or {})[_STRUCTURE]
            tensors = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise InputError(path, "file", "does not exist", "Check the path") from None
    except (SafetensorError, KeyError, OSError) as error:
        raise InputError(
            path, "file", f"is not a checkpoint ({error})", "Delete it to start this fit again"
        ) from None
    return _restore(json.loads(structure), tensors)


def _flatten(node: Tree, name: str, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(node, torch.Tensor):
        key = name or "."
        while key in tensors:  # the keys 1 and "1", or one with a slash in it
            key += "'"
        # A copy: safetensors refuses tensors that share memory.
        tensors[key] = node.detach().cpu().contiguous().clone()
        return {"tensor": key}
    if isinstance(node, dict):
        items = [[key, _flatten(value, f"{name}/{key}", tensors)] for key, value in node.items()]
        return {"dict": items}
    if isinstance(node, list | tuple):
        items = [_flatten(value, f"{name}/{i}", tensors) for i, value in enumerate(node)]
        return {"list" if isinstance(node, list) else "tuple": items}
    if node is None or isinstance(node, bool | int | float | str):
        return {"value": node}
    raise TypeError(f"{name or 'the tree'}: a checkpoint cannot hold {type(node).__name__}")


def _restore(node: Any, tensors: dict[str, torch.Tensor]) -> Tree:
    ((kind, content),) = node.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _restore(value, tensors) for key, value in content}
    if kind in ("list", "tuple"):
        items = [_restore(value, tensors) for value in content]
        return items if kind == "list" else tuple(items)
    return content
