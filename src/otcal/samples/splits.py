"""Splits by a hash of the jet's id: a jet never moves between train, validation and test."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


def uniform(jet_id: NDArray[np.int64], salt: int = 0) -> NDArray[np.float64]:
    """Hash ids to uniform numbers in [0, 1).

    The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), which has full avalanche. Another
    `salt` gives an independent split of the same jets.

    Parameters
    ----------
    jet_id
        Ids, shape (N,).
    salt
        Names the split.
    """
    step = (0x9E3779B97F4A7C15 * (salt + 1)) % 2**64
    x = jet_id.astype(np.uint64) + np.uint64(step)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x = x ^ (x >> np.uint64(31))
    return (x >> np.uint64(11)).astype(np.float64) / 2.0**53


def select(
    jet_id: NDArray[np.int64], fractions: Mapping[str, float], split: str, salt: int = 0
) -> NDArray[np.bool_]:
    """Return which jets belong to `split`, shape (N,).

    Parameters
    ----------
    jet_id
        Ids, shape (N,).
    fractions
        Share of each split, in order; they fill [0, 1) from the left.
    split
        One of their names (`KeyError` otherwise).
    salt
        Names the split family, see `uniform`.
    """
    names = list(fractions)
    edges = np.concatenate([[0.0], np.cumsum([fractions[name] for name in names])])
    if split not in fractions:
        raise KeyError(f"no split '{split}', only {names}")
    position = names.index(split)
    u = uniform(jet_id, salt)
    return (u >= edges[position]) & (u < edges[position + 1])
