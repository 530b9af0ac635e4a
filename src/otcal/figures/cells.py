"""Densities in the ILR plane summed up over cells, and cells over bins.

The cells are finer than the bins and reach far beyond them, so no random numbers blur what is
shown. Only densities with conditions, of which the plane shows the marginal, are sampled.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from otcal.config.simplex_tabulation import MixtureTables
from otcal.mixture.flows import Components

Array = NDArray[np.float64]

NOTICEABLE = 0.002
"""Share of a component outside all cells that is worth a warning."""

DRAWN = 500_000
"""Points that stand for a density with conditions: a bin of 1 % is good to 1.4 % of itself."""

_log = logging.getLogger(__name__)


class Densities(Protocol):
    """Densities of all flavours."""

    def log_prob(self, z: Array) -> Array:
        """Return log q_f(z), (N, K), of points (N, 2)."""


@dataclass(frozen=True)
class Axis:
    """One coordinate of the plane: bins that are shown, and the cells below and around them.

    Parameters
    ----------
    edges
        Bin edges, shape (B + 1,).
    cells
        Edges of the cells, shape (C + 1,); those of the bins are among them.
    """

    edges: Array
    cells: Array

    @classmethod
    def spanning(cls, values: Array, settings: MixtureTables) -> Axis:
        """Return bins between two quantiles of values (N,), and cells half a range further."""
        low, high = (float(q) for q in np.quantile(values, (settings.tail, 1.0 - settings.tail)))
        edges = np.linspace(low, high, settings.bins + 1)
        width = edges[1] - edges[0]
        inner = np.linspace(low, high, settings.bins * settings.cells + 1)
        outer = width * np.arange(1, settings.bins // 2 + 2)
        cells = np.concatenate([edges[0] - outer[::-1], inner, edges[-1] + outer])
        return cls(edges, cells)

    def binned(self, masses: Array) -> Array:
        """Sum masses of the cells, (..., C), over those of each bin, (..., B)."""
        starts = np.searchsorted(self.cells, self.edges - 1e-9 * (self.edges[1] - self.edges[0]))
        return np.add.reduceat(masses, starts, axis=-1)[..., :-1]


def masses(densities: Densities, axes: Sequence[Axis]) -> Array:
    """Return the probability of each cell for each flavour, shape (K, C1, C2)."""
    centres = [0.5 * (axis.cells[1:] + axis.cells[:-1]) for axis in axes]
    area = np.outer(*(np.diff(axis.cells) for axis in axes))
    points = np.stack(np.meshgrid(*centres, indexing="ij"), axis=-1).reshape(-1, 2)
    density = np.exp(densities.log_prob(points)).T.reshape(-1, *area.shape)
    return _checked(density * area)


def drawn(components: Components, axes: Sequence[Axis]) -> Array:
    """Return the same of densities with conditions, from points drawn from them."""
    edges = [axis.cells for axis in axes]
    counts = [
        np.histogramdd(components.sample(flavour, DRAWN, seed=0)[:, :2], edges)[0]
        for flavour in range(len(components.flavours))
    ]
    return _checked(np.array(counts) / DRAWN)


def _checked(result: Array) -> Array:
    for flavour, total in enumerate(result.sum(axis=(1, 2))):
        if abs(total - 1.0) > NOTICEABLE:
            _log.warning(
                "component %d: its probability sums to %.4f over the cells", flavour, total
            )
    return result


def project(cells: Array, axes: Sequence[Axis]) -> list[Array]:
    """Return the marginals of cell masses (..., C1, C2) in the bins of each axis, (..., B)."""
    return [axes[0].binned(cells.sum(axis=-1)), axes[1].binned(cells.sum(axis=-2))]
