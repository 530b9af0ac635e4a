"""Put the maps into tables: mean displacements in the ILR plane and on the simplex, densities.

[KY] = Kim, Yang (arXiv:2605.01363), Figs. 8 and 9.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otcal.config.simplex_tabulation import DisplacementTables
from otcal.figures.histograms import Histogram
from otcal.figures.tables import Columns, Pairs, stack
from otcal.simplex import ilr_inverse

Array = NDArray[np.float64]

SAMPLES = ("simulation", "calibrated")
MARGIN = 0.06
"""Share of an axis that is added at each end."""


@dataclass(frozen=True)
class Displacements:
    """Everything that the figures of the maps need.

    Parameters
    ----------
    plane
        `flavour`, `jets`, mean `z1`, `z2` of the jets in a bin, and their mean image `moved_z1`,
        `moved_z2`.
    simplex
        `flavour`, `jets`, `shown` (1 for at least `min_jets`), the cell's numbers `cell_<flavour>`,
        and the mean probabilities `p_<flavour>` and `moved_<flavour>`.
    densities
        Histograms of the ILR plane keyed by ("z1", "z2", "<flavour>/<sample>").
    """

    plane: Columns
    simplex: Columns
    densities: Pairs


def count(
    before: Mapping[str, Array], after: Mapping[str, Array], settings: DisplacementTables
) -> Displacements:
    """Average displacements over bins.

    Parameters
    ----------
    before, after
        ILR coordinates of each flavour's simulated jets and of their images, (N, 2) each.
    settings
        Bins and limits.
    """
    plane: list[dict[str, Any]] = []
    simplex: list[dict[str, Any]] = []
    densities: Pairs = {}
    for flavour in before:
        fine, coarse = _edges(np.concatenate([before[flavour], after[flavour]]), settings)
        plane.append({"flavour": flavour, **_plane(before[flavour], after[flavour], coarse)})
        p, moved = ilr_inverse(before[flavour]), ilr_inverse(after[flavour])
        cells = triangles(p, settings.triangles)
        simplex.append({"flavour": flavour, **_simplex(p, moved, cells, list(before))})
        for sample, z in zip(SAMPLES, (before[flavour], after[flavour]), strict=True):
            histogram = Histogram.empty(*fine)
            histogram.fill(*z.T)
            densities["z1", "z2", f"{flavour}/{sample}"] = histogram
    columns = stack(plane)
    enough = columns["jets"] >= settings.min_jets
    whole = stack(simplex)
    whole["shown"] = (whole["jets"] >= settings.min_jets).astype(np.int64)
    return Displacements({name: v[enough] for name, v in columns.items()}, whole, densities)


def _edges(z: Array, settings: DisplacementTables) -> tuple[list[Array], list[Array]]:
    """Return edges for densities and for arrows that hold all but the tails, with a margin."""
    low, high = np.quantile(z, (settings.tail, 1.0 - settings.tail), axis=0)
    margin = MARGIN * (high - low)
    ends = list(zip(low - margin, high + margin, strict=True))
    fine, coarse = (
        [np.linspace(*end, bins + 1) for end in ends]
        for bins in (settings.contour_bins, settings.arrows)
    )
    return fine, coarse


def triangles(p: Array, count: int) -> NDArray[np.int64]:
    """Return the small triangle that each point lies in.

    Lines of constant p_f at multiples of 1/`count` cut the simplex into `count`² equal
    triangles; the rounded-down multiples of a point name its triangle.

    Parameters
    ----------
    p
        Probabilities, shape (N, 3).
    count
        Triangles along an edge.

    Returns
    -------
    cells
        Shape (N, 3); a row sums to count − 1 (same orientation as the whole) or count − 2.
    """
    cells = np.clip(np.floor(p * count), 0, count - 1).astype(np.int64)
    # Rounding at a corner or on a line may leave a sum that no triangle has.
    excess = cells.sum(axis=1) - (count - 1)
    for row in np.flatnonzero(excess > 0):
        cells[row, np.argmax(cells[row])] -= excess[row]
    for row in np.flatnonzero(excess < -1):
        cells[row, np.argmax(cells[row])] += -1 - excess[row]
    return cells


def corners(cells: NDArray[np.int64], count: int) -> Array:
    """Return the corners of triangles (N, 3) as probabilities, shape (N, 3 corners, 3)."""
    upright = cells.sum(axis=1) == count - 1
    steps = np.where(upright[:, None, None], np.eye(3), 1.0 - np.eye(3))
    return np.asarray((cells[:, None, :] + steps) / count)


def _plane(before: Array, after: Array, edges: list[Array]) -> Columns:
    """Return means over the filled bins of the ILR plane."""
    index = [np.searchsorted(e, z, side="right") - 1 for e, z in zip(edges, before.T, strict=True)]
    size = len(edges[0]) - 1
    inside = np.logical_and.reduce([(i >= 0) & (i < size) for i in index])
    keys = (index[0] * size + index[1])[inside].astype(np.int64)
    _, means, jets = _means(keys, np.hstack([before, after])[inside])
    names = ("z1", "z2", "moved_z1", "moved_z2")
    return {**dict(zip(names, means.T, strict=True)), "jets": jets}


def _simplex(p: Array, moved: Array, cells: NDArray[np.int64], flavours: list[str]) -> Columns:
    """Return means over the filled triangles of the simplex."""
    base = int(cells.max(initial=0)) + 1
    keys = (cells[:, 0] * base + cells[:, 1]) * base + cells[:, 2]
    first, means, jets = _means(keys, np.hstack([p, moved]))
    names = [*(f"p_{f}" for f in flavours), *(f"moved_{f}" for f in flavours)]
    numbers = {f"cell_{f}": cells[first, k] for k, f in enumerate(flavours)}
    return {**numbers, **dict(zip(names, means.T, strict=True)), "jets": jets}


def _means(
    keys: NDArray[np.int64], values: Array
) -> tuple[NDArray[np.int64], Array, NDArray[np.int64]]:
    """Return the first row, the mean of the values (N, D), and the rows of each key."""
    _, first, group, size = np.unique(
        keys, return_index=True, return_inverse=True, return_counts=True
    )
    sums = np.stack([np.bincount(group, column, len(size)) for column in values.T], axis=1)
    return first.astype(np.int64), sums / size[:, None], size.astype(np.int64)
