"""How well the compositions of the regions determine the components: Kim, Yang, section IV.

[KY] = Kim, Yang (arXiv:2605.01363). With P = Π Q for the densities of regions and flavours (KY 24),
errors of Π and P reach Q through Π⁻¹. All norms are spectral.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Bound:
    """The bound of KY 32 with what enters it.

    Attributes
    ----------
    kappa
        Condition number of Π.
    composition_error
        ‖ΔΠ‖/‖Π‖.
    density_error
        ‖ΔP(x)‖/‖P(x)‖.
    amplification
        κ / (1 − κ ‖ΔΠ‖/‖Π‖), the factor on the sum of both errors; None where KY 30 fails, so that
        there is no bound.
    value
        Bound of ‖ΔQ(x)‖/‖Q(x)‖, None as above.
    """

    kappa: float
    composition_error: float
    density_error: float
    amplification: float | None
    value: float | None


def condition_number(pi: Array) -> float:
    """Return κ(Π) = ‖Π⁻¹‖ ‖Π‖ (KY 27); infinite when Π, shape (K, K), has no inverse."""
    singular = np.linalg.svd(np.asarray(pi, dtype=np.float64), compute_uv=False)
    if singular[-1] <= singular[0] * np.finfo(np.float64).eps * len(singular):
        return float("inf")
    return float(singular[0] / singular[-1])


def perturbation_bound(pi: Array, delta_pi: Array, density_error: float = 0.0) -> Bound:
    """Return the bound of the components' relative error (KY 32).

    Parameters
    ----------
    pi
        Compositions Π, shape (K, K).
    delta_pi
        Their errors ΔΠ, shape (K, K).
    density_error
        Relative error ‖ΔP(x)‖/‖P(x)‖ of the regions' densities.
    """
    kappa = condition_number(pi)
    norm = float(np.linalg.norm(pi, 2))
    composition_error = float(np.linalg.norm(delta_pi, 2)) / norm
    room = 1.0 - kappa * composition_error
    if not room > 0.0:
        return Bound(kappa, composition_error, density_error, None, None)
    amplification = kappa / room
    value = amplification * (density_error + composition_error)
    return Bound(kappa, composition_error, density_error, amplification, value)


def enriched_proxy(log_q: Array, delta_pi: Array, enriched: Sequence[int]) -> Array:
    """Return Δ log q_f(x) ≃ Σ_{h≠f} Δπ_{r_f,h} (1 − q_h(x)/q_f(x)) (KY 33).

    Parameters
    ----------
    log_q
        Log-densities of the components, shape (N, K).
    delta_pi
        Shifts of the compositions, shape (K, K), row = region.
    enriched
        Index of the flavour that each region is enriched in, every flavour once.

    Returns
    -------
    NDArray
        Shape (N, K).
    """
    result = np.empty_like(log_q, dtype=np.float64)
    for region, flavour in enumerate(enriched):
        # The term h = f vanishes: q_f/q_f = 1.
        ratio = np.exp(log_q - log_q[:, flavour : flavour + 1])
        result[:, flavour] = (1.0 - ratio) @ delta_pi[region]
    return result
