"""The optimal map between two Gaussians, and the change of coordinates built from it.

For covariances Σ₁, Σ₂ and means m₁, m₂ the optimal map is affine (Olkin & Pukelsheim, Linear
Algebra Appl. 48 (1982) 257),

    T(x) = m₂ + A (x − m₁),   A = Σ₁^{-1/2} (Σ₁^{1/2} Σ₂ Σ₁^{1/2})^{1/2} Σ₁^{-1/2}.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag, qr, solve_triangular
from scipy.optimize import isotonic_regression
from scipy.special import expit

from otcal.transport.rows import Rows, fold_moments, mean

Array = NDArray[np.float64]

RANK_TOLERANCE = 1e-9
"""Relative variance below which a direction carries nothing but float32 rounding."""

FOLDS = 8
"""Parts of a sample for cross-validation."""

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
        Share of the squared relative differences between the two covariances that is put down to
        noise, from 0 to 1.
    """

    source_mean: Array
    target_mean: Array
    support: Array
    core: Array
    covariance: Array
    shrinkage: float

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
    out; there A = 1. In the others the covariances keep their mean and the axes along which they
    differ. How much they differ along each is judged by cross-validation (`_ratios`), since axes
    are those along which these points differ most, noise included. Without a difference beyond
    noise A → 1, a shift only; the result doesn't depend on the coordinates' scales.

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
    folds = [fold_moments(side.then(_with_one), FOLDS) for side in (x, y)]
    whole = [moments.sum(0)[:-1, :-1] for moments in folds]
    support, spread = _support(0.5 * (whole[0] + whole[1]))
    whitening = support / spread
    axes, differences = _differences(*(whitening.T @ moments @ whitening for moments in whole))
    ratios = _ratios(*(_along(support, moments) for moments in folds))
    # Factors of the well-conditioned covariances, scaled afterwards: exact where it is narrow too.
    halves = [axes * np.sqrt(2.0 * expit(sign * ratios)) for sign in (1.0, -1.0)]
    roots = [spread[:, None] * qr(half.T, mode="r")[0].T for half in halves]
    believed, square = np.tanh(0.5 * ratios), float((differences**2).sum())
    return GaussianMap(
        source_mean,
        target_mean,
        support,
        bures(*roots),
        roots[0] @ roots[0].T,
        max(0.0, 1.0 - float((believed**2).sum()) / square) if square else 1.0,
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


def _ratios(first: Array, second: Array) -> Array:
    """Return ln(variance of the source / of the target) along the axes, shape (r,), ascending.

    The axes of all folds but one are held against the fold that is left out, whose variances along
    them are unbiased, heavy tails or not (Lam, Ann. Stat. 44 (2016) 928, does it for one
    covariance). Means over the folds, made monotonic, replace the ratios of the whole sample,
    of which the largest are too large and the smallest too small.

    Parameters
    ----------
    first, second
        Every fold's share of the moments of (x, 1), shape (folds, r + 1, r + 1).
    """
    variances = np.zeros((2, first.shape[1] - 1))
    for k in range(len(first)):
        seen, unseen = [], []
        for moments in (first, second):
            others = moments.sum(0) - moments[k]
            centre = others[-1, :-1] / others[-1, -1]
            seen.append(_about(centre, others) / others[-1, -1])
            unseen.append(_about(centre, moments[k]))
        axes, _ = _differences(*seen)
        variances += [((moments @ axes) * axes).sum(0) for moments in unseen]
    logarithms = np.log(variances + _SMALLEST_EIGENVALUE)
    return np.asarray(isotonic_regression(logarithms[0] - logarithms[1]).x)


def _differences(first: Array, second: Array) -> tuple[Array, Array]:
    """Return axes in which both moments are diagonal, and their relative differences, ascending.

    With the axes V, shape (r, r), and the differences δ, shape (r,), Vᵀ (M₁ + M₂) V = 2 and
    Vᵀ (M₁ − M₂) V = 2 δ; both are 0 for directions in which nothing varies.
    """
    values, vectors = np.linalg.eigh(0.5 * (first + second))
    varies = values > RANK_TOLERANCE * max(float(values.max(initial=0.0)), 1e-300)
    white = vectors * np.where(varies, values, np.inf) ** -0.5
    differences, axes = np.linalg.eigh(white.T @ (0.5 * (first - second)) @ white)
    return white @ axes, differences


def _with_one(x: Array) -> Array:
    """Return (x, 1), whose second moments hold the number of rows and their sum as well."""
    return np.column_stack([x, np.ones(len(x))])


def _about(centre: Array, moments: Array) -> Array:
    """Return Σ (x − c)(x − c)ᵀ, shape (r, r), from the moments of (x, 1)."""
    shift = np.column_stack([np.eye(len(centre)), -centre])
    return np.asarray(shift @ moments @ shift.T)


def _along(basis: Array, moments: Array) -> Array:
    """Return the moments of (x · basis, 1) from those of (x, 1), shape (…, r + 1, r + 1)."""
    extended = block_diag(basis, np.ones((1, 1)))
    return np.asarray(extended.T @ moments @ extended)
