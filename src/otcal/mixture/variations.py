"""Variations of compositions and densities that stand for an effective covariance.

Kim, Yang (arXiv:2605.01363), [KY] Eqs. (33), (34), (49), (57). A variation shifts the logits by one
standard deviation along an eigenvector; the compositions follow by δπ = J δa (KY 52).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag
from scipy.stats import chi2

from otcal.mixture.composition import jacobian, logits

Array = NDArray[np.float64]

LEAST_SHARE = 0.1
"""A variation leaves at least this share of every fitted fraction."""


@dataclass(frozen=True)
class Variation:
    """One shift of all compositions.

    Attributes
    ----------
    name
        Such as ``eigen1_up``.
    delta_a
        Shift of the free logits, region by region, shape (R (K − 1),).
    delta_pi
        Shift of the fractions, shape (R, K), rows sum to zero.
    scale
        1, or the factor that shortened the shift so that fractions stay fractions.
    prior_share
        Share of the variance along it that the prior put there.
    """

    name: str
    delta_a: Array
    delta_pi: Array
    scale: float
    prior_share: float

    @property
    def prior_dominated(self) -> bool:
        """Whether more than half of its variance is the prior's."""
        return self.prior_share > 0.5


@dataclass(frozen=True)
class Comparison:
    """How far the true compositions are from the fitted ones.

    Attributes
    ----------
    pulls
        (π_true − π_fit) / σ_π, shape (R, K).
    distance
        Mahalanobis distance in each region's logits, shape (R,): 1 is on the ellipse whose
        half-axes are the standard deviations.
    inside_68
        Whether the truth is inside the contour that holds 68.27 % of a Gaussian, shape (R,).
    total_distance
        Mahalanobis distance in all logits together.
    """

    pulls: Array
    distance: Array
    inside_68: NDArray[np.bool_]
    total_distance: float


def eigenvariations(covariance: Array, prior_part: Array, pi: Array) -> list[Variation]:
    """Return up and down shifts along the eigenvectors of V_eff, the largest first.

    Σ δa δaᵀ over the ups is V_eff. δπ = J δa is linear in δa (KY 52); where it would take more than
    1 − `LEAST_SHARE` of a fraction away, the whole shift is shortened.

    Parameters
    ----------
    covariance
        V_eff, shape (n, n).
    prior_part
        What of it is the prior's.
    pi
        Fitted compositions, shape (R, K).
    """
    values, vectors = np.linalg.eigh(covariance)
    result = []
    for number, i in enumerate(np.argsort(-values, kind="stable"), start=1):
        direction = vectors[:, i] * np.sign(vectors[np.abs(vectors[:, i]).argmax(), i])
        share = float(direction @ prior_part @ direction / max(values[i], 1e-300))
        for suffix, sign in (("up", 1.0), ("down", -1.0)):
            delta_a = sign * np.sqrt(max(values[i], 0.0)) * direction
            delta_pi = shift_of_fractions(pi, delta_a)
            scale = largest_scale(pi, delta_pi)
            result.append(
                Variation(
                    f"eigen{number}_{suffix}", scale * delta_a, scale * delta_pi, scale, share
                )
            )
    return result


def shift_of_fractions(pi: Array, delta_a: Array) -> Array:
    """Return δπ = J δa, shape (R, K) (KY 52)."""
    return np.asarray(np.einsum("rkj,rj->rk", jacobian(pi), delta_a.reshape(len(pi), -1)))


def largest_scale(pi: Array, delta_pi: Array, least: float = LEAST_SHARE) -> float:
    """Return the largest s ≤ 1 for which π + s δπ keeps the share `least` of every fraction."""
    loss = -delta_pi / ((1.0 - least) * pi)
    return float(1.0 / max(1.0, loss.max()))


def log_density_shift(
    log_q: Array, shift: Array, flavour: int, ratio_limit: float = np.inf
) -> Array:
    """Return δ log q_f = Σ_h δπ_h (1 − q_h/q_f), shape (N,); KY 49.

    Parameters
    ----------
    log_q
        Log-densities of the components, shape (N, K).
    shift
        δπ of the region enriched in f, shape (K,).
    flavour
        f.
    ratio_limit
        Largest q_h/q_f that is used; under q_f larger ones have a probability below 1/limit.
    """
    log_ratio = np.minimum(log_q - log_q[:, [flavour]], np.log(ratio_limit))
    return np.asarray((1.0 - np.exp(log_ratio)) @ shift)


def reweighting(log_q: Array, shift: Array, flavour: int, ratio_limit: float) -> Array:
    """Return weights exp(δ log q_f), shape (N,), that turn samples of q_f into a variation.

    The cheap cross-check of targets drawn anew (`otcal.mixture.targets`): equal to first order in
    the shift where no ratio is clipped. Parameters as for `log_density_shift`.
    """
    return np.asarray(np.exp(log_density_shift(log_q, shift, flavour, ratio_limit)))


def standard_deviations(covariance: Array, pi: Array) -> Array:
    """Return σ_π = √diag(J V Jᵀ), shape (R, K)."""
    down = block_diag(*jacobian(pi))
    return np.asarray(np.sqrt(np.diag(down @ covariance @ down.T)).reshape(np.shape(pi)))


def compare(pi: Array, truth: Array, covariance: Array) -> Comparison:
    """Compare fitted with true compositions, both of shape (R, K), given V_eff in the logits."""
    shift = logits(truth) - logits(pi)
    regions, free = shift.shape
    blocks = covariance.reshape(regions, free, regions, free)
    squares = np.array([d @ np.linalg.solve(blocks[r, :, r], d) for r, d in enumerate(shift)])
    total = shift.ravel() @ np.linalg.solve(covariance, shift.ravel())
    return Comparison(
        (truth - pi) / standard_deviations(covariance, pi),
        np.sqrt(squares),
        squares <= chi2.ppf(0.6827, free),
        float(np.sqrt(total)),
    )
