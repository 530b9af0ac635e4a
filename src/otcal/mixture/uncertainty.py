"""From a fitted mixture to covariance, variations and pulls of its compositions.

Kim, Yang (arXiv:2605.01363), [KY] section V.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from otcal.mixture import feedback
from otcal.mixture.composition import logits
from otcal.mixture.covariance import (
    Channels,
    combined_covariance,
    inverse_hessian,
    plain_channels,
    projected_channels,
)
from otcal.mixture.variations import Variation, compare, eigenvariations, standard_deviations

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Uncertainty:
    """All that `propagate` found; matrices are (n, n) over the free logits, region by region.

    Attributes
    ----------
    pi
        Fitted compositions, shape (R, K).
    truth
        True ones, if known.
    response
        The linearised EM cycle.
    statistical, with_prior
        V0 without and with the prior's precision (KY 38, 39).
    prior
        V_prior.
    recipes
        Channels of `projected` and `plain`.
    recipe
        Which of them makes `variations`.
    combined
        Sum of the precisions of data and prior, a check of the recipes.
    variations
        Shifts along the eigenvectors of V_eff.
    clipping
        JSON-ready: what `ratio_limit` would do.
    """

    pi: Array
    truth: Array | None
    response: feedback.Response
    statistical: Array
    with_prior: Array
    prior: Array
    recipes: dict[str, Channels]
    recipe: str
    combined: Array
    variations: list[Variation]
    clipping: dict[str, Any]

    def summary(self) -> dict[str, Any]:
        """Return the content of feedback.json, JSON-ready; docs/feedback.md lists the keys."""
        covariance = self.recipes[self.recipe].covariance
        content: dict[str, Any] = {
            "logits": {
                "fitted": logits(self.pi).tolist(),
                "truth": None if self.truth is None else logits(self.truth).tolist(),
            },
            "V0": self.statistical.tolist(),
            "V0_with_prior": self.with_prior.tolist(),
            "V_prior": self.prior.tolist(),
            "B": self.response.direct.tolist(),
            "CA": self.response.coupling.tolist(),
            "F": self.response.feedback.tolist(),
            "F_spectral_radius": self.response.spectral_radius,
            "F_eigenvalues": [
                [value.real, value.imag] for value in np.linalg.eigvals(self.response.feedback)
            ],
            **{name: _channels(channels) for name, channels in self.recipes.items()},
            "recipe": self.recipe,
            "combined": {
                "V_eff": self.combined.tolist(),
                "sigma_pi": standard_deviations(self.combined, self.pi).tolist(),
            },
            "sigma_pi": standard_deviations(covariance, self.pi).tolist(),
            "sigma_pi_statistical": standard_deviations(self.statistical, self.pi).tolist(),
            "clipping": self.clipping,
        }
        found = None if self.truth is None else compare(self.pi, self.truth, covariance)
        return content | {
            "pulls": None if found is None else found.pulls.tolist(),
            "distance": None if found is None else found.distance.tolist(),
            "inside_68": None if found is None else found.inside_68.tolist(),
            "total_distance": None if found is None else found.total_distance,
        }


def propagate(
    log_q: Sequence[Array],
    pi: Array,
    enriched: Sequence[int],
    prior_covariance: Array,
    truth: Array | None = None,
    *,
    recipe: str = "projected",
    singular_limit: float | None = None,
    prior_in_hessian: bool = False,
    noise: str = "fit",
    ratio_limit: float = 20.0,
) -> Uncertainty:
    """Propagate the uncertainty of fitted compositions through the EM feedback.

    Parameters
    ----------
    log_q
        Log-densities of the components at each region's events, R arrays (N_r, K).
    pi
        Fitted compositions, shape (R, K).
    enriched
        Index of the flavour in which each region is enriched.
    prior_covariance
        Σ_a of each region, shape (R, K − 1, K − 1).
    truth
        True compositions, if known.
    recipe, singular_limit, prior_in_hessian, noise, ratio_limit
        See `otcal.config.uncertainty.PropagateSpec`.

    Raises
    ------
    ValueError
        When the likelihood has no maximum at `pi` along some direction, or a flavour no region.
    """
    pi = np.asarray(pi, dtype=np.float64)
    response = feedback.linear_response(log_q, pi, enriched)
    prior = block_diag(*prior_covariance)
    statistical = inverse_hessian(response.hessian)
    with_prior = inverse_hessian(response.hessian + np.linalg.inv(prior))
    entering, without_prior = with_prior if prior_in_hessian else statistical, statistical
    if noise == "step":
        entering, without_prior = response.one_step(entering), response.one_step(statistical)
    arguments = (
        response.feedback,
        entering,
        prior,
        response.common_shifts,
        singular_limit,
    )
    recipes = {"projected": projected_channels(*arguments), "plain": plain_channels(*arguments)}
    chosen = recipes[recipe]
    limited = feedback.linear_response(log_q, pi, enriched, ratio_limit)
    shares = [
        feedback.clipped_shares(feedback.responsibilities(rows, row), row, ratio_limit)
        for rows, row in zip(log_q, pi, strict=True)
    ]
    return Uncertainty(
        pi,
        truth,
        response,
        statistical,
        with_prior,
        prior,
        recipes,
        recipe,
        combined_covariance(response.feedback, without_prior, prior),
        eigenvariations(chosen.covariance, chosen.prior_part, pi),
        {
            "ratio_limit": ratio_limit,
            "shares": np.array(shares).tolist(),
            "F_change": float(np.abs(limited.feedback - response.feedback).max()),
        },
    )


def variation_record(variation: Variation) -> dict[str, Any]:
    """Return an entry of variations.json."""
    return {
        "name": variation.name,
        "delta_a": variation.delta_a.tolist(),
        "delta_pi": variation.delta_pi.tolist(),
        "prior_dominated": variation.prior_dominated,
        "prior_share": variation.prior_share,
        "scale": variation.scale,
    }


def _channels(channels: Channels) -> dict[str, Any]:
    """Return JSON-ready channels; an infinite number is written as null."""
    return {
        "G": channels.gain.tolist(),
        "singular_values": _finite(channels.singular_values),
        "u": channels.u.tolist(),
        "v": channels.v.tolist(),
        "alignment": channels.alignment.tolist(),
        "variance_ratio": _finite(channels.variance_ratio),
        "prior_dominated": channels.prior_dominated.tolist(),
        "reasons": list(channels.reasons),
        "common_shift": channels.common_shift.tolist(),
        "V_eff": channels.covariance.tolist(),
        "prior_part": channels.prior_part.tolist(),
    }


def _finite(values: Array) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]
