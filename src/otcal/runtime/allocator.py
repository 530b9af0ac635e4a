"""Memory that a fit frees and asks for again, thousands of times."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def keep_freed_memory(largest: int = 32 << 20, kept: int = 256 << 20) -> None:
    """Let the process keep what it frees for its next request, where the C library is glibc.

    Left to itself, glibc gives batches of some megabytes back to the system and asks for them again
    at the next step; clearing their pages took a third of the time of some fits. The setting is one
    of the whole process.

    Parameters
    ----------
    largest
        Bytes of the largest block that is kept; glibc takes 32 MiB at most.
    kept
        Bytes at the end of the heap that are kept.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, largest)
        mallopt(_TRIM_THRESHOLD, kept)
