"""The best of several starts, and how far they agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from otcal.mixture.composition import jacobian
from otcal.mixture.conditioning import condition_number, perturbation_bound

COMMON = ("regions", "enriched", "flavours", "nominal", "truth", "prior", "events")
"""What all starts of a fit have in common."""

REPORTED = ("pi", "log_likelihood", "objective", "held_out", "iterations", "converged")


def best(fits: Sequence[dict[str, Any]]) -> int:
    """Return the fit of the highest objective, among those that converged if any did."""
    finished = [i for i, fit in enumerate(fits) if fit["converged"]]
    return max(finished or range(len(fits)), key=lambda i: float(fits[i]["objective"]))


def summarise(names: Sequence[str], fits: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the content of extraction.json: the best fit, all starts, and the conditioning.

    ``spread`` is the range of each fraction over the starts. ``bound`` (Kim, Yang,
    arXiv:2605.01363, equation 32) takes for ‖ΔΠ‖ the norm of the matrix of the prior's standard
    deviations, which no matrix of errors of that size exceeds, and exact regional densities.

    Parameters
    ----------
    names
        Names of the starts.
    fits
        Contents of their composition.json.
    """
    chosen = fits[best(fits)]
    pi = np.array(chosen["pi"])
    down = jacobian(pi)
    covariance = np.array(chosen["prior"]["covariance"])
    variance = np.einsum("rki,rij,rkj->rk", down, covariance, down)
    deviations = np.sqrt(variance)
    return {
        **{key: value for key, value in chosen.items() if key != "provenance"},
        "starts": [
            {"name": name, **{key: fit[key] for key in REPORTED}}
            for name, fit in zip(names, fits, strict=True)
        ],
        "chosen": names[best(fits)],
        "spread": np.ptp([fit["pi"] for fit in fits], axis=0).tolist(),
        "kappa": condition_number(pi),
        "bound": {**asdict(perturbation_bound(pi, deviations)), "delta_pi": deviations.tolist()},
    }
