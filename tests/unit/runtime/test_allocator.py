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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_freed_blocks_are_used_again() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHURN], capture_output=True, text=True, check=True, timeout=120
    )
    given_back, kept = map(int, done.stdout.split())
    assert given_back > 50 * 2 * 1000  # pages of 4 kB in two blocks of 4 MB, each time
    assert kept < 0.01 * given_back
