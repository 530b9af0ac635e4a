"""Weights on disk: tensors in a safetensors file, and mostly a description in JSON beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from otcal.runtime.errors import InputError
from otcal.runtime.files import atomic_path, read_json, sha256, write_json


def description_path(path: str | Path) -> Path:
    """Return the name of the JSON file that belongs to a weights file."""
    return Path(path).with_suffix(".json")


def read_tensors(path: str | Path, remedy: str) -> dict[str, Tensor]:
    """Return all tensors of a file by name.

    Raises
    ------
    InputError
        When the file is missing or damaged; `remedy` says what to do about a damaged one.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            return {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise InputError(path, "file", "does not exist", "Check the path") from None
    except (SafetensorError, OSError) as error:
        raise InputError(path, "file", f"is not a safetensors file ({error})", remedy) from None


def save_described(
    path: str | Path,
    tensors: Mapping[str, Tensor],
    description: Mapping[str, Any],
    metadata: dict[str, str] | None = None,
) -> None:
    """Write tensors, and beside them a description (JSON-ready) with their checksum.

    Parameters
    ----------
    path
        Name of the weights file (.safetensors).
    tensors
        Tensors by name.
    description
        What the file is, its ``format`` among other things.
    metadata
        Texts to keep in the weights file itself.
    """
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(stored, temporary, metadata=metadata)
    write_json(description_path(path), {**description, "weights_sha256": sha256(path)})


def load_described(
    path: str | Path, format_: str, remedy: str
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the description and the tensors that `save_described` wrote.

    Parameters
    ----------
    path
        Name of the weights file.
    format_
        What the description must have as its ``format``.
    remedy
        How to get files in order, such as "Fit the map again".

    Raises
    ------
    InputError
        When a file is missing, damaged, of another format, or the two don't belong together.
    """
    beside = description_path(path)
    description = read_json(beside)
    if not isinstance(description, dict) or description.get("format") != format_:
        raise InputError(beside, "format", f"is not {format_}", remedy)
    tensors = read_tensors(path, remedy)
    if sha256(path) != description.get("weights_sha256"):
        problem = f"is not the file that {beside.name} describes"
        raise InputError(path, "file", problem, _together(remedy))
    return description, tensors


@contextmanager
def fitting_together(path: str | Path, remedy: str) -> Iterator[None]:
    """While weights are put where their description says, report what does not fit.

    Raises
    ------
    InputError
        When the description lacks something, or tensors have other names or shapes.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        problem = f"do not fit the description beside them ({' '.join(str(error).split())})"
        raise InputError(path, "weights", problem, _together(remedy)) from None


def _together(remedy: str) -> str:
    return f"Keep the two files of one fit together, or {remedy[0].lower()}{remedy[1:]}"
