"""The optimal map between two Gaussians, and the change of coordinates built from it.

For covariances Σ₁, Σ₂ and means m₁, m₂ the optimal map is affine (Olkin & Pukelsheim, Linear
Algebra Appl. 48 (1982) 257),

    T(x) = m₂ + A (x − m₁),   A = Σ₁^{-1/2} (Σ₁^{1/2} Σ₂ Σ₁^{1/2})^{1/2} Σ₁^{-1/2}.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from otcal.transport.rows import Rows, mean, second_moment

Array = NDArray[np.float64]

RANK_TOLERANCE = 1e-9
"""Relative variance below which a direction carries nothing but float32 rounding."""

_SMALLEST_EIGENVALUE = 1e-8  # relative to the pool: a sample which lacks a direction altogether


@dataclass(frozen=True)
class GaussianMap:
    """Affine optimal map x ↦ target_mean + linear (x − source_mean).

    Attributes
    ----------
    source_mean, target_mean
        Means, shape (d,).
    support
        Orthonormal basis of the directions in which either sample varies, shape (d, r).
    core
        A in that basis, symmetric positive definite, shape (r, r); outside it A = 1.
    covariance
        Regularised source covariance in that basis, shape (r, r).
    shrinkage
        Intensities of the shrinkage of the two covariances.
    """

    source_mean: Array
    target_mean: Array
    support: Array
    core: Array
    covariance: Array
    shrinkage: tuple[float, float]

    @property
    def linear(self) -> Array:
        """A, shape (d, d)."""
        return self.support @ self.core @ self.support.T + self.outside

    @property
    def outside(self) -> Array:
        """Projector onto the directions in which nothing varies, shape (d, d)."""
        return np.eye(len(self.support)) - self.support @ self.support.T

    def __call__(self, x: NDArray[np.floating]) -> Array:
        """Return T(x), shape (n, d)."""
        return (x - self.source_mean) @ self.linear + self.target_mean

    def inverse(self, y: NDArray[np.floating]) -> Array:
        """Return T⁻¹(y), shape (n, d)."""
        inverse = self.support @ power(self.core, -1.0) @ self.support.T + self.outside
        return (y - self.target_mean) @ inverse + self.source_mean


def fit_gaussian(
    source: NDArray[np.floating], target: NDArray[np.floating], unit: Array | float = 1.0
) -> GaussianMap:
    """Fit the affine optimal map to two samples, singular covariances included.

    Regularisation. Directions in which neither sample varies (relative variance of the pooled
    covariance below 1e-9: the rank of a linear layer is often smaller than its width) are taken
    out; there A = 1. In the others both covariances are shrunk towards their mean: in coordinates
    where the mean is the identity, eigenvalues w become w^{1−λ} with the intensity λ of Ledoit &
    Wolf (J. Multivar. Anal. 88 (2004) 365). λ → 0 for many samples, λ → 1 (A → 1, a shift only) for
    few; it doesn't depend on the coordinates' scales.

    Parameters
    ----------
    source, target
        Samples, shapes (n, d) and (m, d).
    unit
        Length of one unit of each feature, shape (d,): the map is fitted to source / unit and
        target / unit.
    """
    x, y = (Rows(sample, lambda piece: piece / unit) for sample in (source, target))
    source_mean, target_mean = mean(x), mean(y)
    x, y = x.then(lambda piece: piece - source_mean), y.then(lambda piece: piece - target_mean)
    support, spread = _support(0.5 * (second_moment(x) + second_moment(y)))
    whitening = support / spread
    first, first_shrinkage = _shrunk_covariance(x.then(lambda piece: piece @ whitening))
    second, second_shrinkage = _shrunk_covariance(y.then(lambda piece: piece @ whitening))
    # Factors of the well-conditioned covariances, scaled afterwards: exact where it is narrow too.
    roots = [spread[:, None] * np.linalg.cholesky(white) for white in (first, second)]
    return GaussianMap(
        source_mean,
        target_mean,
        support,
        bures(*roots),
        first * np.outer(spread, spread),
        (first_shrinkage, second_shrinkage),
    )


def bures(first: Array, second: Array) -> Array:
    """Return the symmetric A ≻ 0 with A Σ₁ A = Σ₂ from factors, Σᵢ = Fᵢ Fᵢᵀ.

    With the singular values F₂ᵀ F₁ = P S Qᵀ it is A = F₁⁻ᵀ Q S Qᵀ F₁⁻¹. Covariances themselves are
    never multiplied: their product would have the square of their condition number, and the narrow
    directions of a tagger's latent (relative variance 1e-8) would drown in rounding.

    Parameters
    ----------
    first, second
        F₁ and F₂, lower triangular, shape (d, d).
    """
    _, values, right = np.linalg.svd(second.T @ first)
    half = solve_triangular(first, (right.T * np.sqrt(values)), trans="T", lower=True)
    return half @ half.T


def power(matrix: Array, exponent: float) -> Array:
    """Return the power of a symmetric positive semi-definite matrix, shape (d, d).

    Eigenvalues are floored at 1e-14 of the largest, so rounding can't make one negative.
    """
    values, vectors = np.linalg.eigh(0.5 * (matrix + matrix.T))
    values = np.maximum(values, 1e-14 * max(float(values.max(initial=0.0)), 1e-300))
    return (vectors * values**exponent) @ vectors.T


def _support(pooled: Array) -> tuple[Array, Array]:
    """Return the eigenvectors of `pooled` that carry variance, and their standard deviations."""
    values, vectors = np.linalg.eigh(pooled)
    keep = values > RANK_TOLERANCE * max(float(values.max()), 1e-300)
    return vectors[:, keep], np.sqrt(values[keep])


def _shrunk_covariance(white: Rows) -> tuple[Array, float]:
    """Return the shrunk covariance and λ for centred rows whose pooled covariance is the identity.

    Variances and correlations are shrunk one after the other, since far fewer points determine the
    d variances. To first order around the identity w^{1−λ} is Ledoit and Wolf's (1 − λ) w + λ, but
    it changes small eigenvalues in proportion. Those lost for want of points are raised to λ d/n.
    """
    n = len(white.sample)
    moments = white.average(_second_and_fourth)
    second, fourth = moments[:-1], moments[-1]
    variances = np.diag(second)
    width_intensity = _intensity((fourth - variances**2).sum() / n, variances - 1.0)
    widths = np.maximum(variances, _SMALLEST_EIGENVALUE) ** (0.5 * (1.0 - width_intensity))
    scale = np.maximum(np.sqrt(variances), np.sqrt(_SMALLEST_EIGENVALUE))
    correlation = second / np.outer(scale, scale)
    lengths = white.average(lambda x: (((x / scale) ** 2).sum(1) ** 2).sum())
    d = len(correlation)
    intensity = _intensity((lengths - (correlation**2).sum()) / n, correlation - np.eye(d))
    values, vectors = np.linalg.eigh(correlation)
    floor = max(intensity * min(1.0, d / n), _SMALLEST_EIGENVALUE)
    values = np.maximum(np.maximum(values, 0.0) ** (1.0 - intensity), floor)
    shrunk = (vectors * values) @ vectors.T
    unit = widths / np.sqrt(np.diag(shrunk))
    return shrunk * np.outer(unit, unit), intensity


def _second_and_fourth(x: Array) -> Array:
    """Return Σ x xᵀ over the rows, shape (d, d), with Σ x⁴ of each column below, (d + 1, d)."""
    return np.vstack([x.T @ x, ((x * x) ** 2).sum(0)])


def _intensity(noise: float, deviation: Array) -> float:
    """Return how far to shrink what deviates from its prior partly by noise, from 0 to 1."""
    distance = float((deviation**2).sum())
    return 1.0 if distance <= noise else float(noise) / distance
