"""Effective covariance of the fitted compositions: channels of the feedback, and what data say.

Kim, Yang (arXiv:2605.01363), [KY] Eqs. (55)–(61). Two recipes: `plain` is the paper's; `projected`,
the default, takes out the shifts common to all regions before anything is inverted, because
(I − F)⁻¹ does not exist on them (docs/feedback.md).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

COMMON_SHIFT = "common shift"
NOT_CONTRACTIVE = "not contractive"
AMPLIFIED = "amplified"


@dataclass(frozen=True)
class Channels:
    """Singular channels of G = (I − F)⁻¹ in n free logits, and the covariance made from them.

    Attributes
    ----------
    gain
        G (KY 55); in the projected recipe the inverse on the complement of the common shifts.
    singular_values
        Amplifications σ_i, descending, shape (n,); infinite for a common shift.
    u, v
        Output and input directions as columns, G v_i = σ_i u_i; orthonormal in the recipe's metric.
    variance_ratio
        uᵀ G V0 Gᵀ u over the prior's variance along u, shape (n,); infinite for a common shift.
    reasons
        Why the prior takes a channel: a constant of this module, or empty for a stable one.
    common_shift
        Whether a channel is a shift common to all regions, shape (n,).
    covariance
        V_eff (KY 61), symmetric positive semi-definite, shape (n, n).
    prior_part
        Its second term, P_pr V_prior P_pr.
    metric
        The scalar product in which u and v are orthonormal, shape (n, n).
    """

    gain: Array
    singular_values: Array
    u: Array
    v: Array
    variance_ratio: Array
    reasons: tuple[str, ...]
    common_shift: NDArray[np.bool_]
    covariance: Array
    prior_part: Array
    metric: Array

    @property
    def prior_dominated(self) -> NDArray[np.bool_]:
        """Which channels the prior takes, shape (n,)."""
        return np.array([reason != "" for reason in self.reasons])

    @property
    def alignment(self) -> Array:
        """|u_i · v_i| in the metric, shape (n,)."""
        return np.abs(np.einsum("ki,kl,li->i", self.u, self.metric, self.v))


def plain_channels(
    feedback: Array,
    statistical: Array,
    prior: Array,
    common_shifts: Array,
    singular_limit: float | None = None,
) -> Channels:
    """Return the paper's channels: singular vectors orthonormal in the free logits themselves.

    Whatever the common shifts' feedback misses from 1, by rounding or by the distance from the
    likelihood's maximum, is inverted. They are recognised (more than half of u in their span), not
    treated apart. Parameters as for `projected_channels`.
    """
    n = len(feedback)
    result = _channels(feedback, statistical, prior, np.empty((n, 0)), singular_limit)
    span = np.linalg.qr(common_shifts)[0]
    overlap = ((span.T @ result.u) ** 2).sum(axis=0)
    return _oriented(replace(result, common_shift=overlap > 0.5))


def projected_channels(
    feedback: Array,
    statistical: Array,
    prior: Array,
    common_shifts: Array,
    singular_limit: float | None = None,
) -> Channels:
    """Return the channels of the feedback that is left when the prior holds the common shifts.

    Lengths and right angles are the prior's: x·y = xᵀ V_prior⁻¹ y. With Q the orthogonal projector
    onto the complement of the common shifts, G inverts Q (I − F) Q there and is zero on them. At
    the likelihood's maximum that is the operator that F induces on shifts modulo common ones.

    Parameters
    ----------
    feedback
        F (KY 54), shape (n, n).
    statistical
        Covariance that enters the feedback: V0 (KY 38 or 39), or what one EM step makes of it.
    prior
        V_prior, positive definite.
    common_shifts
        Vectors that span the common shifts, as columns, shape (n, K − 1).
    singular_limit
        Largest amplification of a stable channel. None: a channel is stable while its propagated
        variance stays below the prior's. Channels along which the feedback does not contract are
        never stable.
    """
    root = np.linalg.cholesky(prior)
    inverse = np.linalg.inv(root)
    common = np.linalg.qr(inverse @ common_shifts)[0]
    # Principal axes of the prior within the common shifts, the widest first.
    common = common @ np.linalg.svd(root @ common)[2].T
    white = _channels(
        inverse @ feedback @ root,
        inverse @ statistical @ inverse.T,
        np.eye(len(prior)),
        common,
        singular_limit,
    )
    return _oriented(
        replace(
            white,
            gain=root @ white.gain @ inverse,
            u=root @ white.u,
            v=root @ white.v,
            covariance=_symmetric(root @ white.covariance @ root.T),
            prior_part=_symmetric(root @ white.prior_part @ root.T),
            metric=_symmetric(inverse.T @ inverse),
        )
    )


def combined_covariance(feedback: Array, statistical: Array, prior: Array) -> Array:
    """Return [(I − F)ᵀ V0⁻¹ (I − F) + V_prior⁻¹]⁻¹, a check that needs no choice of channels.

    The data's precision on the effective shift (the inverse of KY 56, which exists where (I − F)⁻¹
    does not) and the prior's, added up. `statistical` must not have the prior in it already.
    """
    loop = np.eye(len(feedback)) - feedback
    precision = loop.T @ np.linalg.solve(statistical, loop)
    return _symmetric(np.linalg.inv(_symmetric(precision) + np.linalg.inv(prior)))


def inverse_hessian(hessian: Array) -> Array:
    """Return V0 (KY 38, 39).

    Raises
    ------
    ValueError
        When the Hessian is not positive definite, so that there is no covariance.
    """
    smallest = float(np.linalg.eigvalsh(hessian).min())
    if smallest <= 0:
        raise ValueError(f"the Hessian is not positive definite (eigenvalue {smallest:.3g})")
    return _symmetric(np.linalg.inv(hessian))


def _channels(
    feedback: Array, statistical: Array, prior: Array, common: Array, limit: float | None
) -> Channels:
    """Decompose G on the complement of orthonormal columns `common`, in Euclidean geometry."""
    n, shifts = common.shape
    rest = np.linalg.svd(common, full_matrices=True)[0][:, shifts:] if shifts else np.eye(n)
    reduced = rest.T @ feedback @ rest
    left, values, right = np.linalg.svd(np.eye(n - shifts) - reduced)
    # Smallest first. Exactly zero happens in floating point too; 1e-300 keeps its inverse finite.
    gains = 1.0 / np.maximum(values[::-1], 1e-300)
    u, v = rest @ right[::-1].T, rest @ left[:, ::-1]
    # In the basis of the channels: G V0 Gᵀ itself would leak rounding from amplified channels into
    # stable ones.
    half = gains[:, None] * v.T
    propagated = half @ statistical @ half.T
    ratio = np.diag(propagated) / np.einsum("ki,kl,li->i", u, prior, u)
    excess = ratio > 1.0 if limit is None else gains > limit
    stuck = _not_contractive(reduced, rest.T @ u)
    reasons = [
        NOT_CONTRACTIVE if bad else AMPLIFIED if large else ""
        for bad, large in zip(stuck, excess, strict=True)
    ]
    keep = np.array([reason == "" for reason in reasons], dtype=bool)
    stable = u[:, keep] @ propagated[np.ix_(keep, keep)] @ u[:, keep].T
    taken = np.hstack([common, u[:, ~keep]])
    prior_part = _symmetric(taken @ (taken.T @ prior @ taken) @ taken.T)
    unbounded = np.full(shifts, np.inf)
    return Channels(
        gain=(u * gains) @ v.T,
        singular_values=np.concatenate([unbounded, gains]),
        u=np.hstack([common, u]),
        v=np.hstack([common, v]),
        variance_ratio=np.concatenate([unbounded, ratio]),
        reasons=(*[COMMON_SHIFT] * shifts, *reasons),
        common_shift=np.arange(n) < shifts,
        covariance=_symmetric(stable) + prior_part,
        prior_part=prior_part,
        metric=np.eye(n),
    )


def _not_contractive(feedback: Array, u: Array) -> NDArray[np.bool_]:
    """Tell which channels lie along eigenvectors of the feedback with |λ| ≥ 1.

    As many channels as there are such eigenvalues: those with the largest part in the invariant
    subspace that the eigenvectors span.
    """
    values, vectors = np.linalg.eig(feedback)
    chosen = vectors[:, np.abs(values) >= 1.0]
    result = np.zeros(len(feedback), dtype=bool)
    if chosen.shape[1]:
        basis = np.linalg.svd(np.hstack([chosen.real, chosen.imag]))[0][:, : chosen.shape[1]]
        overlap = ((basis.T @ u) ** 2).sum(axis=0)
        result[np.argsort(-overlap, kind="stable")[: chosen.shape[1]]] = True
    return result


def _oriented(channels: Channels) -> Channels:
    """Make the largest component of every output direction positive."""
    largest = np.abs(channels.u).argmax(axis=0)[None]
    signs = np.sign(np.take_along_axis(channels.u, largest, axis=0))
    return replace(channels, u=channels.u * signs, v=channels.v * signs)


def _symmetric(matrix: NDArray[np.floating[Any]]) -> Array:
    return np.asarray(0.5 * (matrix + matrix.T))
