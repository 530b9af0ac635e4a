"""Random streams that depend on named keys only, never on the order of calls."""

from __future__ import annotations

import hashlib

import numpy as np


def derive(seed: int, *keys: str | int) -> int:
    """Return a 31-bit seed for the stream named by `keys`.

    The same arguments give the same number on every machine; different keys give independent
    numbers (BLAKE2b).
    """
    text = "\x1f".join(str(part) for part in (seed, *keys))
    digest = hashlib.blake2b(text.encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") & 0x7FFFFFFF


def numpy_generator(seed: int, *keys: str | int) -> np.random.Generator:
    """Return a NumPy generator for the stream named by `keys`."""
    return np.random.default_rng(derive(seed, *keys))
