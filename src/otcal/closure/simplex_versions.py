"""Make all versions of a flavour's simulated jets: calibrated by maps, or weighted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from otcal.closure.simplex_jets import CALIBRATED, RAW, FlavourJets
from otcal.closure.vertical import ScaleFactors, b_score, density_ratio
from otcal.mixture.variations import reweighting
from otcal.transport.simplex_maps import Calibrated

Array = NDArray[np.float64]
Map = Callable[[Array], Calibrated]
LogDensities = Callable[[Array], Array]
"""Function of probabilities (N, K) to the log-densities of all flavours in ILR space, (N, K)."""

LEAKS = (0.01, 0.1)
"""Leakages whose exceedance is reported."""


@dataclass(frozen=True)
class Densities:
    """Log-densities of the simulation and of the extraction."""

    simulation: LogDensities
    data: LogDensities


def make_versions(
    p: Array,
    flavour: int,
    maps: Mapping[str, Map],
    variations: Mapping[str, Map],
    densities: Densities,
    factors: ScaleFactors,
    charm_share: float,
) -> tuple[FlavourJets, dict[str, dict[str, float]]]:
    """Calibrate and weight the jets of a flavour.

    Parameters
    ----------
    p
        Probabilities, shape (N, K).
    flavour
        Index of the flavour.
    maps
        Maps by the name of the sample that they make, `calibrated` among them.
    variations
        Maps by variation.
    densities, factors
        For the weights `reweighted` and `binned_sf`.
    charm_share
        f of the discriminant that the scale factors are binned in.

    Returns
    -------
    jets
        All versions; no shortcut yet, see `add_shortcut`.
    leakage
        `leakage` of every map's output by sample.
    """
    moved = {RAW: p}
    leaks = {}
    for name, transport in maps.items():
        result = transport(p)
        moved[name] = result.p
        leaks[name] = leakage(result.leakage)
    weights = {
        "reweighted": density_ratio(
            densities.data(p)[:, flavour], densities.simulation(p)[:, flavour]
        ),
        "binned_sf": factors.weights(b_score(p, charm_share)),
    }
    varied = {name: transport(p).p for name, transport in variations.items()}
    return FlavourJets(moved, weights, varied), leaks


def add_shortcut(
    jets: FlavourJets,
    flavour: int,
    shifts: Mapping[str, Array],
    density: LogDensities,
    ratio_limit: float,
) -> None:
    """Add weights exp(δ log q̂_f) that turn calibrated jets into those of each variation.

    Parameters
    ----------
    jets
        Jets of the flavour.
    flavour
        Its index.
    shifts
        δπ of the region enriched in the flavour by variation, shapes (K,).
    density
        Log-densities of the extraction.
    ratio_limit
        Largest density ratio, see `otcal.mixture.variations.reweighting`.
    """
    log_q = density(jets.moved[CALIBRATED])
    for name, shift in shifts.items():
        weights = reweighting(log_q, shift, flavour, ratio_limit)
        jets.shortcut[name] = weights / weights.mean()


def leakage(values: Array) -> dict[str, float]:
    """Summarise |Σ p − 1| of a map's output: mean, quantiles, maximum, shares above limits."""
    return {
        "mean": float(values.mean()),
        "q50": float(np.quantile(values, 0.5)),
        "q95": float(np.quantile(values, 0.95)),
        "max": float(values.max()),
        **{f"above_{limit:g}": float((values > limit).mean()) for limit in LEAKS},
    }
