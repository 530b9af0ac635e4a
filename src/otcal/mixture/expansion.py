"""Compositions along the directions in which the likelihood does not change.

The densities of the regions, P = Π Q, stay as they are when Q becomes M Q and Π becomes Π M⁻¹, for
any matrix M whose rows sum to one, as long as no density becomes negative: K (K − 1) directions,
as many as there are free logits when R = K. There the prior alone decides. EM gets there, but only
at the prior's share of the information per iteration, one per cent: after hundreds of iterations,
and before them the result depends on the start.

Parameter expansion (Liu, Rubin, Wu, Biometrika 85 (1998) 755) makes M a parameter of the M-step:
it maximises the same objective, and the densities are then fitted to the responsibilities of
Π M⁻¹ and M Q. Where M Q would be negative it is cut off at zero and normalised again, which costs
likelihood: that is how the data object to compositions that they exclude.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from otcal.mixture.composition import Prior, compositions, jacobian, logits

Array = NDArray[np.float64]

TOLERANCE = 0.02
"""Gradient of the log-likelihood, per standard deviation of the prior, that counts as zero."""
EVALUATIONS = 40
"""Evaluations of the objective at most: the next iteration goes on where this one ends."""
FARTHEST = 10.0
"""Standard deviations of the prior beyond which no composition is tried: far out they saturate, and
their matrix is singular in double precision."""


@dataclass(frozen=True)
class Expanded:
    """What the expansion leads to.

    Attributes
    ----------
    logits
        Free logits of Π M⁻¹, shape (R, K − 1).
    gamma
        Responsibilities of Π M⁻¹ and M Q, shape (N, K).
    gain
        Growth of the penalised log-likelihood.
    cut
        Integral of the negative part of each row of M Q that was cut off, shape (K,).
    """

    logits: Array
    gamma: Array
    gain: float
    cut: Array


def expand(
    log_q: Array, log_p: Array, region: NDArray[np.int64], pi: Array, prior: Prior
) -> Expanded:
    """Maximise the penalised likelihood over M.

    Parameters
    ----------
    log_q
        Log-densities of the components at the events, shape (N, K).
    log_p
        Log-density of each event in its region, log Σ_k π_rk q_k, shape (N,).
    region
        Number of each event's region, shape (N,).
    pi
        Compositions Π, shape (K, K), invertible.
    prior
        Prior of the compositions.
    """
    problem = _Problem(log_q, log_p, region, pi, prior)
    start = problem.whiten(logits(pi)).clip(-FARTHEST, FARTHEST)
    # The prior's centre is the solution wherever the data allow it.
    best = min((start, np.zeros_like(start)), key=lambda t: problem.negative(t)[0])
    found = minimize(
        problem.negative,
        best,
        jac=True,
        method="L-BFGS-B",
        bounds=[(-FARTHEST, FARTHEST)] * best.size,
        options={"gtol": TOLERANCE, "ftol": 0.0, "maxfun": EVALUATIONS},
    )
    value, result = min(
        ((problem.negative(t)[0], t) for t in (found.x, best)), key=lambda pair: pair[0]
    )
    a = problem.colour(result)
    weights, cut = problem.densities(a)
    joint = compositions(a)[region] * weights
    gain = problem.negative(start)[0] - value
    return Expanded(a, joint / joint.sum(axis=1, keepdims=True), float(gain), cut)


class _Problem:
    """The objective as a function of the new logits in units of the prior's deviations."""

    def __init__(
        self, log_q: Array, log_p: Array, region: NDArray[np.int64], pi: Array, prior: Prior
    ) -> None:
        self.pi, self.prior, self.region = pi, prior, region
        self.roots = np.linalg.cholesky(prior.covariance)
        # Densities in units of the event's own: no underflow, and at most 1/π.
        self.ratio = np.exp(log_q - log_p[:, None])
        shares = np.bincount(region, minlength=len(pi)) / len(region)
        self.pooled = self.ratio @ (shares @ pi)

    def whiten(self, a: Array) -> Array:
        shift = (a - self.prior.mean)[..., None]
        return np.asarray(np.linalg.solve(self.roots, shift)).ravel()

    def colour(self, t: Array) -> Array:
        shift = np.einsum("rij,rj->ri", self.roots, t.reshape(self.prior.mean.shape))
        return np.asarray(self.prior.mean + shift)

    def densities(self, a: Array) -> tuple[Array, Array]:
        """Return M Q over the event's own density, cut off at zero, and what was cut off.

        Integrals are taken over the events themselves, which are a sample of the pooled density.
        """
        raw = self._transformed(a)
        positive = np.maximum(raw, 0.0)
        cut = ((positive - raw) / self.pooled[:, None]).mean(axis=0)
        return positive / (1.0 + cut), cut

    def negative(self, t: Array) -> tuple[float, Array]:
        """Return the negative objective and its gradient in t."""
        a = self.colour(t)
        pi = compositions(a)
        down = jacobian(pi)
        raw = self._transformed(a)
        inside = raw > 0.0
        positive = np.where(inside, raw, 0.0)
        norm = 1.0 + ((positive - raw) / self.pooled[:, None]).mean(axis=0)
        weights = positive / norm
        joint = (pi[self.region] * weights).sum(axis=1)
        value = np.log(joint).sum() - 0.5 * t @ t
        # ∂(M Q) = −Π'⁻¹ ∂Π' (M Q): its sensitivity is gathered first, then taken along J.
        per_event = pi[self.region] / joint[:, None]
        to_norm = (per_event * weights).sum(axis=0) / norm
        to_raw = np.where(
            inside, per_event / norm, to_norm / self.pooled[:, None] / len(self.region)
        )
        to_pi = -np.linalg.inv(pi).T @ (to_raw.T @ raw)
        per_weight = weights / joint[:, None]
        for r in range(len(pi)):
            to_pi[r] += per_weight[self.region == r].sum(axis=0)
        gradient = np.einsum("rk,rkj,rji->ri", to_pi, down, self.roots).ravel() - t
        return -float(value), -gradient

    def _transformed(self, a: Array) -> Array:
        return np.asarray(self.ratio @ (np.linalg.solve(compositions(a), self.pi)).T)
