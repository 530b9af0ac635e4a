"""Compositions of regions: free logits, their Jacobians, the prior, and the M-step in them.

Kim, Yang (arXiv:2605.01363), [KY]. A composition is a row of K fractions that sum to one; its free
logits are a_j = log(π_j / π_K), j = 1 … K − 1, with the last flavour K as reference (KY 19).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

GRADIENT_TOLERANCE = 1e-13
"""Newton's method ends at this gradient per event, or after `LARGEST_STEPS`."""
LARGEST_STEPS = 60


def logits(pi: Array) -> Array:
    """Return free logits, shape (..., K − 1), of compositions, shape (..., K); KY 19."""
    pi = np.asarray(pi, dtype=np.float64)
    return np.asarray(np.log(pi[..., :-1]) - np.log(pi[..., -1:]))


def compositions(a: Array) -> Array:
    """Return compositions, shape (..., K), of free logits, shape (..., K − 1); KY 20."""
    full = np.concatenate([a, np.zeros((*np.shape(a)[:-1], 1))], axis=-1)
    weights = np.exp(full - full.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def jacobian(pi: Array) -> Array:
    """Return J = ∂π/∂a, shape (..., K, K − 1): π_k (δ_kj − π_j); KY 51."""
    pi = np.asarray(pi, dtype=np.float64)
    identity = np.eye(pi.shape[-1])[:, :-1]
    return pi[..., :, None] * (identity - pi[..., None, :-1])


def inverse_jacobian(pi: Array) -> Array:
    """Return M, shape (..., K − 1, K): [M δπ]_j = δπ_j/π_j − δπ_K/π_K; KY 53.

    M J is the identity, and J M is it on shifts whose components sum to zero.
    """
    pi = np.asarray(pi, dtype=np.float64)
    identity = np.eye(pi.shape[-1])[:-1]
    last = np.zeros(pi.shape[-1])
    last[-1] = 1.0
    return (identity - last) / pi[..., None, :]


@dataclass(frozen=True)
class Prior:
    """A Gaussian in the free logits of every region (KY 21).

    Attributes
    ----------
    mean
        Logits a⁰ of the nominal compositions, shape (R, K − 1).
    covariance
        Σ_a of each region, shape (R, K − 1, K − 1).
    """

    mean: Array
    covariance: Array

    @staticmethod
    def around(nominal: Array, enriched: Sequence[int], width: float) -> Prior:
        """Return the prior around nominal compositions.

        In a region enriched in flavour f the K − 1 log-ratios y_h = log(π_h/π_f), h ≠ f, get
        independent Gaussians of the same width (KY section VII). With y_f = 0 the free logits are
        a_j = y_j − y_K: for f = K they are those log-ratios, for any other f the width of y_K is
        common to all of them and Σ_a = width² (1 + δ_jl [j ≠ f]).

        Parameters
        ----------
        nominal
            Compositions, shape (R, K).
        enriched
            Index of the signal flavour of each region.
        width
            Standard deviation of each log-ratio of background to signal.
        """
        nominal = np.asarray(nominal, dtype=np.float64)
        flavours = nominal.shape[1]
        covariance = np.empty((len(nominal), flavours - 1, flavours - 1))
        for r, signal in enumerate(enriched):
            independent = np.eye(flavours)
            independent[signal, signal] = 0.0
            difference = np.eye(flavours)[:-1] - np.eye(flavours)[-1]
            covariance[r] = width**2 * difference @ independent @ difference.T
        return Prior(logits(nominal), covariance)

    @property
    def precision(self) -> Array:
        """Σ_a⁻¹ of each region, shape (R, K − 1, K − 1)."""
        return np.asarray(np.linalg.inv(self.covariance))

    def log_density(self, a: Array) -> float:
        """Return log p(a) without its constant (KY 21), a of shape (R, K − 1)."""
        shift = a - self.mean
        return float(-0.5 * np.einsum("ri,rij,rj->", shift, self.precision, shift))


def most_probable(counts: Array, prior: Prior, start: Array) -> Array:
    """Maximise the composition's part of the M-step objective (KY 23).

    Region by region Σ_k n_k log π_k(a) − ½ (a − a⁰)ᵀ Σ⁻¹ (a − a⁰), n_k = Σ_i γ_ik, is strictly
    concave: Newton's method with step halving finds its only maximum from anywhere.

    Parameters
    ----------
    counts
        Responsibilities summed over each region's events, shape (R, K).
    prior
        Prior of all regions.
    start
        Logits to start from, shape (R, K − 1).

    Returns
    -------
    NDArray
        Logits, shape (R, K − 1); the gradient is zero to rounding.
    """
    rows = zip(counts, prior.mean, prior.precision, start, strict=True)
    return np.stack([_newton(*row) for row in rows])


def perturbed(nominal: Array, size: float, generator: np.random.Generator) -> Array:
    """Draw compositions of which no component is off by more than a relative `size`.

    Every component but the largest is scaled by a uniform factor in [1 − size, 1 + size] and the
    largest takes up the rest; draws that change it by more than `size` are drawn again.

    Parameters
    ----------
    nominal
        Compositions, shape (R, K).
    size
        Largest relative change, 0 to 1.
    generator
        Source of randomness.
    """
    return np.stack([_perturbed(row, size, generator) for row in np.asarray(nominal, dtype=float)])


def _newton(counts: Array, mean: Array, precision: Array, a: Array) -> Array:
    total = float(counts.sum())

    def objective(a: Array) -> float:
        shift = a - mean
        log_pi = np.append(a, 0.0) - np.logaddexp.reduce(np.append(a, 0.0))
        return float(counts @ log_pi - 0.5 * shift @ precision @ shift)

    value = objective(a)
    for _ in range(LARGEST_STEPS):
        pi = compositions(a)[:-1]
        gradient = counts[:-1] - total * pi - precision @ (a - mean)
        if np.abs(gradient).max() <= GRADIENT_TOLERANCE * (1.0 + total):
            break
        step = np.linalg.solve(total * (np.diag(pi) - np.outer(pi, pi)) + precision, gradient)
        size, slack = 1.0, 1e-13 * abs(value)  # next to the maximum differences are rounding
        while size > 1e-9 and objective(a + size * step) < value - slack:
            size /= 2.0
        a = a + size * step
        value = objective(a)
    return a


def _perturbed(nominal: Array, size: float, generator: np.random.Generator) -> Array:
    signal = int(np.argmax(nominal))
    while True:
        result = nominal * (1.0 + size * generator.uniform(-1.0, 1.0, len(nominal)))
        result[signal] += 1.0 - result.sum()
        if abs(result[signal] - nominal[signal]) <= size * nominal[signal]:
            return result
