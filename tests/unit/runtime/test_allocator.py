"""Freed memory that is not cleared again and again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

CHURN = """
import resource
import torch
from otcal.runtime.allocator import keep_freed_memory

def faults(size):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        torch.ones(size), torch.ones(size)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

keep_freed_memory(largest=64 << 10, kept=0)
given_back = faults(1 << 20)
keep_freed_memory()
faults(1 << 20)
print(given_back, faults(1 << 20))
"""

FIRST_USE = """
import resource
import numpy as np
import torch
from otcal.runtime.allocator import keep_freed_memory

def faults(make):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [make() for _ in range(4)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

numpy = faults(lambda: np.ones(10 << 20, np.float32))
keep_freed_memory()
print(numpy, faults(lambda: torch.ones(5 << 20)))
"""

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")


def printed(script: str) -> list[int]:
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    return [int(number) for number in done.stdout.split()]


@glibc
def test_freed_blocks_are_used_again() -> None:
    given_back, kept = printed(CHURN)
    assert given_back > 50 * 2 * 1000  # pages of 4 kB in two blocks of 4 MB, each time
    assert kept < 0.01 * given_back


@glibc
def test_pages_are_as_large_as_numpy_gets_them() -> None:
    numpy, heap = printed(FIRST_USE)  # page faults of 160 MiB and of 80 MiB
    assert heap < numpy
