"""Vertical baselines: simulated jets that stay where they are and get weights.

A continuous one, the ratio of the flows' densities q̂_f(z) / q_f(z) of [MTG] (1), and a binned one,
scale factors between the working points of a b-tagging discriminant, as in use today. Weights have
mean one per flavour, so that a weighted sample keeps its composition. None is clipped.

[MTG] = Algren et al. (arXiv:2507.08867).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otcal.samples.flavours import index

Array = NDArray[np.float64]


def density_ratio(log_numerator: Array, log_denominator: Array) -> Array:
    """Return weights exp(difference), normalised to mean one, shape (N,)."""
    difference = log_numerator - log_denominator
    weights = np.exp(difference - difference.max())
    return np.asarray(weights / weights.mean())


def b_score(p: NDArray[Any], charm_share: float) -> Array:
    """Return ln(p_b / (f p_c + (1 − f) p_light)), shape (N,), of p, shape (N, 3)."""
    b, c, light = (p[:, index(name)] for name in ("b", "c", "light"))
    return np.asarray(np.log(b) - np.log(charm_share * c + (1.0 - charm_share) * light))


@dataclass(frozen=True)
class ScaleFactors:
    """Scale factors of one flavour in bins of the b-tagging discriminant.

    Attributes
    ----------
    thresholds
        Working points, rising, shape (B − 1,).
    factors
        Share of the data over share of the simulation in each bin, shape (B,).
    """

    thresholds: Array
    factors: Array

    def weights(self, score: Array) -> Array:
        """Return the weights of simulated jets, shape (N,), normalised to mean one."""
        weights = self.factors[_bins(score, self.thresholds)]
        return np.asarray(weights / weights.mean())


def working_points(score: Array, efficiencies: Sequence[float]) -> Array:
    """Return the thresholds that these shares of jets pass, rising, shape (len(efficiencies),)."""
    return np.quantile(score, 1.0 - np.asarray(efficiencies))


def scale_factors(simulation: Array, target: Array, thresholds: Array) -> ScaleFactors:
    """Measure scale factors with scores of simulated jets, (N,), and of the target's, (M,).

    A bin without simulated jets has nothing to scale and keeps one.
    """
    size = len(thresholds) + 1
    shares = [
        np.bincount(_bins(score, thresholds), minlength=size) / len(score)
        for score in (simulation, target)
    ]
    filled = shares[0] > 0
    factors = np.where(filled, shares[1] / np.where(filled, shares[0], 1.0), 1.0)
    return ScaleFactors(thresholds, factors)


def _bins(score: Array, thresholds: Array) -> NDArray[np.int64]:
    return np.searchsorted(thresholds, score, side="right")
