"""Points of the mixture's densities: a jet's log-ratios, and conditions that its map depends on.

With conditions, such as pT and η, the densities are joint ones, q_f(z, c): a flavour then has the
same spectrum of conditions in all regions, as it has the same scores (Kim, Yang, arXiv:2605.01363,
13). A spectrum that falls over orders of magnitude would leave a spline few bins where most jets
are, so that momenta enter by their logarithm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otcal.simplex import ilr

Array = NDArray[np.float64]

LOGARITHMIC = ("jet_pt",)
"""Conditions whose logarithm is a coordinate."""


def join(p: NDArray[Any], conditions: NDArray[Any], names: Sequence[str]) -> Array:
    """Return points (N, K − 1 + C) of probabilities (N, K) and conditions (N, C)."""
    coordinates = np.array(conditions, dtype=np.float64)
    which = _logarithmic(names)
    coordinates[:, which] = np.log(coordinates[:, which])
    return np.concatenate([ilr(p), coordinates], axis=1)


def split(points: Array, names: Sequence[str]) -> tuple[Array, Array]:
    """Return log-ratios (N, K − 1) and conditions (N, C), in their own units, of points."""
    dimensions = points.shape[1] - len(names)
    conditions = points[:, dimensions:].copy()
    which = _logarithmic(names)
    conditions[:, which] = np.exp(conditions[:, which])
    return points[:, :dimensions], conditions


def _logarithmic(names: Sequence[str]) -> list[int]:
    return [i for i, name in enumerate(names) if name in LOGARITHMIC]
