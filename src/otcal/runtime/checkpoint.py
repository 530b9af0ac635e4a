"""Checkpoints: a tree of tensors and plain values in one safetensors file."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from otcal.runtime.errors import InputError
from otcal.runtime.files import atomic_path

Tree = Any
"""Nested dicts (string or integer keys), lists and tuples of tensors, numbers, strings, None."""

START_AGAIN = "Delete it to start this fit again"

_STRUCTURE = "otcal.structure"
_ABSENT = object()

log = logging.getLogger(__name__)


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
        return _restore(json.loads(structure), tensors)
    except FileNotFoundError:
        raise InputError(path, "file", "does not exist", "Check the path") from None
    except (SafetensorError, OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(path, "file", f"is not a checkpoint ({error})", START_AGAIN) from None


def load_fit(path: str | Path) -> dict[str, Any]:
    """Read a tree that tells under ``identity`` which fit it is of.

    Raises
    ------
    InputError
        When the file is damaged or tells nothing.
    """
    saved = load(path)
    if not isinstance(saved, dict) or not isinstance(saved.get("identity"), dict):
        raise InputError(path, "identity", "is missing: not the checkpoint of a fit", START_AGAIN)
    return saved


def load_own(path: str | Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read a tree as `load_fit`; None for one of another fit, whose first difference is logged."""
    saved = load_fit(path)
    other = _difference(saved["identity"], identity)
    if other is None:
        return saved
    log.warning("%s is of another fit: %s; starting again", path, other)
    return None


def check_fit(path: str | Path, saved: Tree, present: Tree) -> None:
    """Check that a saved tree has the tensors of the present one.

    Plain values may differ, and a dict that is still empty (an optimiser's, before its first step)
    may have been filled.

    Raises
    ------
    InputError
        Names the first tensor that is missing, extra or of another shape.
    """
    misfit = _misfit(saved, present, "")
    if misfit is not None:
        name, there, wanted = misfit
        raise InputError(path, name, f"has shape {there}, this fit has {wanted}", START_AGAIN)


def _difference(saved: Any, known: Any, name: str = "") -> str | None:
    """Say in which setting two identities differ first, None when they are equal."""
    if isinstance(saved, Mapping) and isinstance(known, Mapping):
        for key in [*known, *(key for key in saved if key not in known)]:
            values = saved.get(key, _ABSENT), known.get(key, _ABSENT)
            found = _difference(*values, f"{name}.{key}" if name else str(key))
            if found is not None:
                return found
        return None
    if saved == known:
        return None
    there, here = (_short(value) for value in (saved, known))
    return f"{name} was {there} and is {here}"


def _short(value: Any) -> str:
    text = "absent" if value is _ABSENT else str(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _misfit(saved: Tree, present: Tree, name: str) -> tuple[str, str, str] | None:
    """Return name, saved shape and present shape of the first tensor that does not fit."""
    if isinstance(saved, torch.Tensor) or isinstance(present, torch.Tensor):
        shape, wanted = _shape(saved), _shape(present)
        return None if shape == wanted else (name, shape, wanted)
    if present == {}:
        return None
    there, here = _children(saved), _children(present)
    for key in [*here, *(key for key in there if key not in here)]:
        values = there.get(key, _ABSENT), here.get(key, _ABSENT)
        found = _misfit(*values, f"{name}.{key}" if name else str(key))
        if found is not None:
            return found
    return None


def _children(node: Tree) -> dict[Any, Tree]:
    if isinstance(node, list | tuple):
        return dict(enumerate(node))
    return node if isinstance(node, dict) else {}


def _shape(node: Tree) -> str:
    return str(tuple(node.shape)) if isinstance(node, torch.Tensor) else "(none)"


def _flatten(node: Tree, name: str, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(node, torch.Tensor):
        key = name or "."
        while key in tensors:  # the keys 1 and "1", or one with a slash in it
            key += "'"
        content = node.detach().cpu().contiguous()
        # safetensors refuses tensors that share memory; what has its own may be too large to copy.
        alone = content.untyped_storage().nbytes() == content.nbytes
        others = {other.data_ptr() for other in tensors.values()}
        tensors[key] = content if alone and content.data_ptr() not in others else content.clone()
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
