"""Where torch computes, and in which precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from otcal.runtime.errors import InputError

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["float32", "bfloat16", "float16"]


def resolve(name: str) -> torch.device:
    """Turn a configured device name into a torch device.

    `auto` takes CUDA, then Apple's MPS, then the CPU, whichever exists first.

    Raises
    ------
    InputError
        When the named accelerator does not exist on this node.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(kind for kind, there in available.items() if there))
    kind = name.partition(":")[0]
    if not available.get(kind, False):
        there = ", ".join(kind for kind, is_there in available.items() if is_there)
        raise InputError(
            "config", "device", f"'{name}' is not available on this node", f"Use auto or: {there}"
        )
    return torch.device(name)


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Return the mixed-precision context for `precision`; float32 computes as it is."""
    if precision == "float32":
        return nullcontext()
    # Weights are cast once per pass, and the cache of casts is shared between threads.
    return torch.autocast(device.type, dtype=getattr(torch, precision), cache_enabled=False)


def limit_threads(count: int | None) -> None:
    """Let torch use `count` threads; None leaves torch's own choice."""
    if count is not None:
        torch.set_num_threads(count)


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished, so that a clock reads what was computed."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
