"""Linear response of one EM cycle around a fitted mixture.

Kim, Yang (arXiv:2605.01363), [KY] section V; docs/feedback.md derives what is used here and not
in the paper. Everything needs the component densities only at the fitted events. They enter as
responsibilities γ, and the density ratios q_h/q_j of the proxy (KY 49) only times γ_j, which is
bounded: γ_j q_h/q_j = γ_h π_j/π_h.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from otcal.mixture.composition import inverse_jacobian, jacobian

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Response:
    """One EM cycle to first order in the free logits of all regions, n = R (K − 1) of them.

    Vectors of logits are region by region; matrices have shape (n, n).

    Attributes
    ----------
    direct
        M B J: new logits for fixed densities (KY 47).
    coupling
        M C A J: what the densities' response to the compositions adds (KY 48–50).
    hessian
        ∂²L_mix/∂a∂aᵀ of the negative log-likelihood (KY 37), without prior.
    information
        N_r (diag π − π πᵀ) of each region: the Hessian if every event's flavour were known.
    common_shifts
        Columns M c, c a shift δπ common to all regions, that span them, shape (n, K − 1).
    """

    direct: Array
    coupling: Array
    hessian: Array
    information: Array
    common_shifts: Array

    @property
    def feedback(self) -> Array:
        """F = M (B + C A) J (KY 54)."""
        return self.direct + self.coupling

    def one_step(self, covariance: Array) -> Array:
        """Return (I − MBJ) V (I − MBJ)ᵀ: what one EM step makes of a fit's noise V."""
        step = np.eye(len(self.direct)) - self.direct
        return np.asarray(step @ covariance @ step.T)

    @property
    def spectral_radius(self) -> float:
        """ρ(F), below 1 where repeated feedback converges (KY 55)."""
        return float(np.abs(np.linalg.eigvals(self.feedback)).max())


def linear_response(
    log_q: Sequence[Array],
    pi: Array,
    enriched: Sequence[int],
    ratio_limit: float = np.inf,
) -> Response:
    """Linearise an EM cycle around compositions and densities.

    Parameters
    ----------
    log_q
        Log-densities of the components at each region's events, R arrays (N_r, K).
    pi
        Compositions, shape (R, K), no fraction zero.
    enriched
        Index of the flavour in which each region is enriched.
    ratio_limit
        Largest q_h/q_j of the proxy; infinite is the proxy itself.
    """
    pi = np.asarray(pi, dtype=np.float64)
    regions, flavours = pi.shape
    home = enriched_regions(pi, enriched)
    down, up = jacobian(pi), inverse_jacobian(pi)
    direct, hessian, information = [], [], []
    coupling = np.zeros((regions, flavours - 1, regions, flavours - 1))
    for r, rows in enumerate(log_q):
        gamma = responsibilities(rows, pi[r])
        direct.append(up[r] @ direct_response(gamma, pi[r]) @ down[r])
        density = up[r] @ density_response(gamma, pi[r], ratio_limit).reshape(flavours, -1)
        for j, block in enumerate(density.reshape(-1, flavours, flavours).swapaxes(0, 1)):
            coupling[r, :, home[j]] += block @ down[home[j]]
        information.append(len(gamma) * down[r][:-1])
        hessian.append(information[r] - missing_information(gamma))
    n = regions * (flavours - 1)
    sum_to_zero = np.eye(flavours)[:, :-1] - np.eye(flavours)[:, -1:]
    return Response(
        block_diag(*direct),
        coupling.reshape(n, n),
        block_diag(*hessian),
        block_diag(*information),
        (up @ sum_to_zero).reshape(n, flavours - 1),
    )


def enriched_regions(pi: Array, enriched: Sequence[int]) -> list[int]:
    """Return r_j, the region enriched in flavour j; the purest where there are several.

    Raises
    ------
    ValueError
        When a flavour has none: its density's response (KY 49) is then not defined.
    """
    result = []
    for flavour in range(np.shape(pi)[1]):
        regions = [r for r, signal in enumerate(enriched) if signal == flavour]
        if not regions:
            raise ValueError(f"no region is enriched in flavour {flavour}")
        result.append(max(regions, key=lambda r: pi[r][flavour]))
    return result


def responsibilities(log_q: Array, pi: Array) -> Array:
    """Return γ_ik = π_k q_k(x_i) / Σ_j π_j q_j(x_i), shape (N, K), of one region; KY 36."""
    joint = np.asarray(log_q, dtype=np.float64) + np.log(pi)
    weights = np.exp(joint - joint.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def direct_response(gamma: Array, pi: Array) -> Array:
    """Return B_km = mean_i q_m/p (δ_km − γ_ik), shape (K, K); KY 47 with q_m/p = γ_m/π_m."""
    return np.asarray((np.diag(gamma.mean(axis=0)) - gamma.T @ gamma / len(gamma)) / pi)


def density_response(gamma: Array, pi: Array, ratio_limit: float = np.inf) -> Array:
    """Return C·A of one region, shape (K, K, K); KY 48–50.

    Element [k, j, h] multiplies δπ_h of the region enriched in j and is the mean over events of
    γ_k (δ_kj − γ_j) (1 − q_h/q_j): the proxy (KY 49) depends on the event.
    """
    events, flavours = gamma.shape
    ratio = _weighted_ratio(gamma, pi, ratio_limit)
    proxy = gamma[:, :, None] - ratio  # γ_j (1 − q_h/q_j), and γ_k (δ_kj − γ_j) = γ_j (δ_kj − γ_k)
    own = np.eye(flavours)[:, :, None] * proxy.sum(axis=0)
    mixed = np.tensordot(gamma, proxy, axes=(0, 0))
    return np.asarray((own - mixed) / events)


def missing_information(gamma: Array) -> Array:
    """Return Σ_i (diag γ_i − γ_i γ_iᵀ) in the free logits, shape (K − 1, K − 1)."""
    free = gamma[:, :-1]
    return np.asarray(np.diag(free.sum(axis=0)) - free.T @ free)


def clipped_shares(gamma: Array, pi: Array, ratio_limit: float) -> Array:
    """Return the share of events with q_h/q_j above the limit, shape (K, K) over [j, h]."""
    above = _weighted_ratio(gamma, pi, np.inf) > ratio_limit * gamma[:, :, None]
    return np.asarray(above.mean(axis=0))


def _weighted_ratio(gamma: Array, pi: Array, limit: float) -> Array:
    """Return γ_j min(q_h/q_j, limit), shape (N, K, K) over [i, j, h]."""
    weighted = gamma[:, None, :] * (pi[:, None] / pi)
    if np.isinf(limit):
        return np.asarray(weighted)
    return np.minimum(weighted, limit * gamma[:, :, None])
