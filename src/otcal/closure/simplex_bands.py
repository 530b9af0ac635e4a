"""Bands of the composition's uncertainty around calibrated histograms.

The maps of the up and the down variation along an eigenvector of V_eff give a shift of every bin,
half their difference. Shifts along different eigenvectors are independent and are added in
quadrature; the shift along one of them moves all bins together, and in χ² it does so.

A shift is a small difference of two histograms. It is measured with all simulated jets of each
flavour and scaled to those that a region has: otherwise jets that happen to cross an edge would
make a band as wide as the statistical error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from otcal.closure.simplex_jets import CALIBRATED, FlavourJets, log_odds
from otcal.config.simplex_closure import SimplexClosureConfig

Array = NDArray[np.float64]
Pairs = Sequence[tuple[str, str]]
"""Names of the up and the down variation along each eigenvector."""


@dataclass(frozen=True)
class Band:
    """Shifts of one discriminant at one κ.

    Attributes
    ----------
    maps
        Shift of the share of each flavour in each bin along each eigenvector, shape (K, E, B).
    weights
        The same with weighted instead of moved jets, the cross-check.
    """

    maps: Array
    weights: Array

    def shifts(self, counts: Array) -> Array:
        """Return shifts of a mixture with these numbers of jets, (K,), shape (E, B)."""
        return np.asarray(np.einsum("k,keb->eb", counts, self.maps))

    def weight_shifts(self, counts: Array) -> Array:
        """Return what `shifts` does, from weights."""
        return np.asarray(np.einsum("k,keb->eb", counts, self.weights))


Bands = dict[tuple[str, float], Band]


def make_bands(
    jets: Sequence[FlavourJets],
    pairs: Pairs,
    config: SimplexClosureConfig,
    advance: Callable[[], object] = lambda: None,
) -> Bands:
    """Return the bands of all discriminants and κ.

    Parameters
    ----------
    jets
        Jets of each flavour with `varied` and `shortcut`.
    pairs
        Names of the variations.
    config
        Discriminants, κ and bins.
    advance
        Called after each band.
    """
    edges = np.linspace(0.0, 1.0, config.bins + 1)
    bands: Bands = {}
    for name in config.discriminants:
        for kappa in config.kappas:
            maps, weights = (np.zeros((len(jets), len(pairs), config.bins)) for _ in range(2))
            for k, flavour in enumerate(jets):
                nominal = expit(log_odds(name, flavour.moved[CALIBRATED], kappa))
                for e, pair in enumerate(pairs):
                    up, down = (
                        np.histogram(expit(log_odds(name, flavour.varied[v], kappa)), edges)[0]
                        for v in pair
                    )
                    maps[k, e] = 0.5 * (up - down) / len(nominal)
                    difference = flavour.shortcut[pair[0]] - flavour.shortcut[pair[1]]
                    count, _ = np.histogram(nominal, edges, weights=difference)
                    weights[k, e] = 0.5 * count / len(nominal)
            bands[name, kappa] = Band(maps, weights)
            advance()
    return bands
