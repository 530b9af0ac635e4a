"""Principal components of a layer, computed from pieces that need not fit in memory together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PrincipalAxes:
    """Leading principal axes of a sample, whitened: its own components have unit variance.

    Parameters
    ----------
    mean
        Mean of the sample, shape (D,).
    axes
        Unit vectors in rows, by falling variance, shape (K, D). The sign is chosen so that the
        entry of largest magnitude is positive.
    variances
        Variance along each axis, shape (K,).
    shares
        Share of the total variance, shape (K,).
    """

    mean: Array
    axes: Array
    variances: Array
    shares: Array

    @classmethod
    def fit(cls, pieces: Iterable[NDArray[np.float32]], count: int) -> PrincipalAxes:
        """Fit to pieces of shape (N, D), read once.

        Sums are taken about the mean of the first piece, which keeps them accurate.

        Raises
        ------
        ValueError
            With fewer than two rows in all, or more axes than dimensions.
        """
        rows = 0
        for piece in pieces:
            z = piece.astype(np.float64)
            if rows == 0:
                if len(z) == 0:
                    continue
                shift = z.mean(axis=0)
                first = np.zeros(z.shape[1])
                second = np.zeros((z.shape[1], z.shape[1]))
            z -= shift
            rows += len(z)
            first += z.sum(axis=0)
            second += z.T @ z
        if rows < 2 or count > len(first):
            raise ValueError(f"cannot take {count} principal components of {rows} rows")
        mean = first / rows
        covariance = (second - rows * np.outer(mean, mean)) / (rows - 1)
        values, vectors = np.linalg.eigh(covariance)
        values = np.clip(values[::-1], 0.0, None)
        axes = vectors.T[::-1][:count]
        largest = np.argmax(np.abs(axes), axis=1)
        axes = axes * np.sign(axes[np.arange(count), largest])[:, None]
        return cls(mean + shift, axes, values[:count], values[:count] / values.sum())

    def project(self, z: NDArray[np.float32]) -> Array:
        """Return whitened components (N, K) of rows (N, D); an axis without variance gives 0."""
        scale = np.sqrt(self.variances)
        result = (z - self.mean) @ self.axes.T
        return np.divide(result, scale, out=np.zeros_like(result), where=scale > 0)
