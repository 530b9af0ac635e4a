"""Memory that a fit frees and asks for again, thousands of times."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import numpy as np

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_HUGE_PAGES, _COLLAPSE = 14, 25  # advice of Linux' mman.h; the second from Linux 6.1 on


def keep_freed_memory(largest: int = 32 << 20, kept: int = 256 << 20) -> None:
    """Let the process keep what it frees for its next request, where the C library is glibc.

    Left to itself, glibc gives batches of some megabytes back to the system and asks for them again
    at the next step; clearing their pages took a third of the time of some fits. What is kept is in
    huge pages where the system has them: looking up the addresses of small ones took a tenth of a
    step's time. The setting is one of the whole process.

    Parameters
    ----------
    largest
        Bytes of the largest block that is kept; glibc takes 32 MiB at most.
    kept
        Bytes at the end of the heap that are kept.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is None or not hasattr(library, "mallopt"):
        return
    library.mallopt(_MMAP_THRESHOLD, largest)
    library.mallopt(_TRIM_THRESHOLD, kept)
    block = largest - (1 << 20)
    grown = [np.empty(block, np.uint8) for _ in range(kept // block)]
    for start, size in _heap():
        # A system that has no huge pages, or none left, says so; small pages do as well.
        for advice in (_HUGE_PAGES, _COLLAPSE):
            library.madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), advice)
    del grown  # and what remains is the advice for these addresses


def _heap() -> list[tuple[int, int]]:
    """Return the start and size of each part of the heap, where Linux shows them."""
    parts = []
    maps = Path("/proc/self/maps")
    for line in maps.read_text().splitlines() if maps.exists() else ():
        if line.endswith("[heap]"):
            start, end = (int(address, 16) for address in line.split()[0].split("-"))
            parts.append((start, end - start))
    return parts
