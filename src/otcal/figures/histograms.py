"""Weighted histograms with statistical errors, and what figures compute from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Histogram:
    """Sums of weights and of squared weights per bin; lower edges belong to their bin.

    Parameters
    ----------
    edges
        Bin edges, ascending; one array of shape (B + 1,) per dimension.
    weights, variances
        Sums of weights and of squared weights, shape (B,) or (Bx, By).
    """

    edges: tuple[Array, ...]
    weights: Array
    variances: Array

    @classmethod
    def empty(cls, *edges: ArrayLike) -> Histogram:
        """Return a histogram without entries."""
        arrays = tuple(np.asarray(edge, dtype=np.float64) for edge in edges)
        shape = tuple(len(edge) - 1 for edge in arrays)
        return cls(arrays, np.zeros(shape), np.zeros(shape))

    def fill(self, *values: ArrayLike, weights: ArrayLike | None = None) -> None:
        """Add entries; those outside the range are left out.

        Parameters
        ----------
        values
            One array of shape (N,) per dimension.
        weights
            Weights, shape (N,); None means 1 each.
        """
        shape = self.weights.shape
        arrays = [np.asarray(value, dtype=np.float64) for value in values]
        bins = [_bin(value, edge) for value, edge in zip(arrays, self.edges, strict=True)]
        inside = np.logical_and.reduce(
            [(index >= 0) & (index < size) for index, size in zip(bins, shape, strict=True)]
        )
        flat = np.ravel_multi_index([index[inside] for index in bins], shape)
        entries = (
            np.ones(len(flat)) if weights is None else np.asarray(weights, dtype=np.float64)[inside]
        )
        size = self.weights.size
        self.weights[...] += np.bincount(flat, entries, size).reshape(shape)
        self.variances[...] += np.bincount(flat, entries**2, size).reshape(shape)

    def density(self) -> tuple[Array, Array]:
        """Return the density normalised to one within the range, and its statistical error.

        The error is the root of the summed squared weights (Poisson for unit weights); the
        uncertainty of the normalisation is not part of it. An empty histogram gives zeros.
        """
        volume = np.diff(self.edges[0])
        for edge in self.edges[1:]:
            volume = np.multiply.outer(volume, np.diff(edge))
        total = self.weights.sum()
        scale = volume * total if total > 0 else np.full_like(volume, np.inf)
        return self.weights / scale, np.sqrt(self.variances) / scale


def _bin(values: Array, edges: Array) -> NDArray[np.intp]:
    """Return bin numbers, -1 or the number of bins outside; the last bin holds its upper edge."""
    index = np.searchsorted(edges, values, side="right") - 1
    index[values == edges[-1]] -= 1
    return index


def ratio(numerator: Histogram, denominator: Histogram) -> tuple[Array, Array, Array]:
    """Return the ratio of two densities with the error of each part, shape (B,) each.

    Returns
    -------
    ratio, error, reference_error
        `error` propagates the numerator's error only, `reference_error` is the denominator's
        relative error (the band around one); NaN where the denominator is empty.
    """
    top, top_error = numerator.density()
    bottom, bottom_error = denominator.density()
    filled = bottom > 0
    safe = np.where(filled, bottom, 1.0)
    return (
        np.where(filled, top / safe, np.nan),
        np.where(filled, top_error / safe, np.nan),
        np.where(filled, bottom_error / safe, np.nan),
    )


def chi2(first: Histogram, second: Histogram) -> tuple[float, int]:
    """Return the chi-squared of two normalised histograms and its degrees of freedom.

    Bins that are empty in both do not count; one degree is lost to the common normalisation.
    """
    a, a_error = first.density()
    b, b_error = second.density()
    variance = a_error**2 + b_error**2
    used = variance > 0
    value = float(np.sum((a - b)[used] ** 2 / variance[used]))
    return value, max(int(used.sum()) - 1, 0)
