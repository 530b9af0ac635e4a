"""What finite samples alone make of a distance: random halves of the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from otcal.closure.metrics import ks_distance
from otcal.runtime.seeds import numpy_generator

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Floor:
    """Mean distances of two random halves of the data.

    Attributes
    ----------
    w1, w1_logit, ks
        Distances of D, of ln D/(1 − D), and of Kolmogorov and Smirnov.
    jets
        Jets of the whole sample.
    """

    w1: float
    w1_logit: float
    ks: float
    jets: int

    def scale(self, other: float) -> float:
        """Return the factor to the distance of a sample of size `other` to all of the data.

        Distances of two samples of one origin go with √(1/n + 1/m).
        """
        return float(np.sqrt((1.0 / other + 1.0 / self.jets) / (4.0 / self.jets)))


def floor(values: Array, halvings: int, seed: int, strata: NDArray[Any] | None = None) -> Floor:
    """Measure distances between random halves of a sample of log-odds.

    Parameters
    ----------
    values
        ln D/(1 − D), shape (N,).
    halvings
        Number of random divisions.
    seed
        Their seed.
    strata
        Flavours, shape (N,). Simulation is mixed in the numbers in which a region has been mixed,
        so that its distance to the data has no share from fluctuations of the composition; then
        the halves must not have one either. None where flavours are not known.
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    labels = np.zeros(len(values), dtype=np.int64) if strata is None else np.asarray(strata)[order]
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    rng = numpy_generator(seed, "halves")
    distances = []
    for _ in range(halvings):
        side = np.full(len(ordered), -1, dtype=np.int8)  # of an odd number of jets one sits out
        for group in groups:
            turn = rng.permutation(group)
            half = len(turn) // 2
            side[turn[:half]], side[turn[half : 2 * half]] = 0, 1
        # Halves of equal size: their sorted values are compared one by one.
        first, second = ordered[side == 0], ordered[side == 1]
        w1_of_d = np.abs(expit(first) - expit(second)).mean()
        distances.append((w1_of_d, np.abs(first - second).mean(), ks_distance(first, second)))
    w1, w1_logit, ks = np.mean(distances, axis=0).tolist()
    return Floor(w1, w1_logit, ks, len(values))
