"""Highest-density regions of two-dimensional histograms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def levels(density: Array, masses: Sequence[float]) -> Array:
    """Return the density on the border of the smallest regions that hold given shares.

    Bins are taken from the densest down; between two bins the level is interpolated in the
    cumulative mass.

    Parameters
    ----------
    density
        Density or counts in bins of equal area, shape (Bx, By).
    masses
        Shares of the total inside the histogram, each in (0, 1), ascending.

    Returns
    -------
    levels
        One per share, descending, shape (M,).
    """
    ordered = np.sort(density.ravel())[::-1]
    cumulative = np.cumsum(ordered)
    total = cumulative[-1]
    if total <= 0:
        return np.zeros(len(masses))
    # A level between two bins: half of a bin's own mass lies above its density.
    middle = (cumulative - 0.5 * ordered) / total
    return np.interp(masses, middle, ordered)


def smooth(counts: Array, width: float) -> Array:
    """Blur a histogram with a Gaussian of `width` bins; its sum is kept.

    Contours of a histogram follow the fluctuations of single bins; a kernel of about one bin takes
    these away and widens the contours by less than a bin. What would leave the range is
    folded back by dividing each bin's contribution by the share of its kernel inside the range.

    Parameters
    ----------
    counts
        Histogram, shape (Bx, By).
    width
        Standard deviation of the kernel in bins; 0 returns the histogram as it is.
    """
    if width <= 0:
        return counts
    result = counts
    for axis, size in enumerate(counts.shape):
        position = np.arange(size)
        kernel = np.exp(-0.5 * ((position[:, None] - position[None, :]) / width) ** 2)
        kernel /= kernel.sum(axis=0, keepdims=True)
        result = np.moveaxis(np.tensordot(kernel, result, axes=(1, axis)), 0, axis)
    return result
