"""Where torch computes, and in which precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Literal

import torch

from otcal.runtime.errors import InputError

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]

NATIVE_BFLOAT16 = ("amx_bf16", "avx512_bf16", "bf16")
"""Instructions of CPUs that multiply in bfloat16; without them it is some hundred times slower."""


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


@cache
def fastest_precision(device: torch.device) -> Precision:
    """Return bfloat16 where the device multiplies in it, else float32."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        native = any(torch.cpu.get_capabilities().get(name, False) for name in NATIVE_BFLOAT16)
    else:
        native = False
    return "bfloat16" if native else "float32"


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Return the mixed-precision context for `precision`; float32 computes as it is.

    `auto` is `fastest_precision`.
    """
    if precision == "auto":
        precision = fastest_precision(device)
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
