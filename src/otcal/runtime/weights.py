"""Weights on disk: tensors in a safetensors file."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from otcal.runtime.errors import InputError


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
