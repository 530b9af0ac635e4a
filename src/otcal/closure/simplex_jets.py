"""Jets of the closure test: samples, versions of simulated jets, compositions of regions.

[KY] = Kim, Yang (arXiv:2605.01363).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otcal.runtime.errors import InputError
from otcal.runtime.seeds import derive
from otcal.samples import splits
from otcal.samples.scores import Scores
from otcal.simplex import DISCRIMINANTS

Array = NDArray[np.float64]
Counts = NDArray[np.int64]

RAW, CALIBRATED, DATA = "simulation", "calibrated", "data"


@dataclass(frozen=True)
class Sample:
    """Jets with probabilities, shape (N, K), and weights, shape (N,); None means 1."""

    p: Array
    weights: Array | None = None

    def total(self) -> float:
        """Return Σ w."""
        return float(len(self.p) if self.weights is None else self.weights.sum())

    def effective_size(self) -> float:
        """Return (Σ w)² / Σ w²: the number of jets when the weights are equal."""
        if self.weights is None:
            return float(len(self.p))
        return float(self.weights.sum() ** 2 / (self.weights**2).sum())


@dataclass
class FlavourJets:
    """A flavour's simulated jets in several versions, row by row the same N jets.

    Attributes
    ----------
    moved
        Probabilities by sample, shapes (N, K); `simulation` and `calibrated` among them.
    weights
        Weights of the raw jets by sample, shapes (N,).
    varied
        Probabilities by variation of the calibration.
    shortcut
        Weights of the calibrated jets by variation, mean one.
    """

    moved: dict[str, Array]
    weights: dict[str, Array] = field(default_factory=dict)
    varied: dict[str, Array] = field(default_factory=dict)
    shortcut: dict[str, Array] = field(default_factory=dict)


def log_odds(name: str, p: NDArray[Any], kappa: float) -> Array:
    """Return ln(D / (1 − D)) of a discriminant of KY (62), shape (N,), without rounding near 1."""
    ratio = DISCRIMINANTS[name]
    weighted = np.asarray(p, dtype=np.float64) * np.array([1.0, kappa, 1.0])
    signal, background = (
        np.log(weighted[:, list(part)].sum(axis=1)) for part in (ratio.signal, ratio.background)
    )
    return np.asarray(signal - background)


def region_counts(
    path: str | Path, data: Scores, flavours: Sequence[str], fractions: Mapping[str, Any] | None
) -> Array:
    """Return how many jets of each flavour a region has, shape (K,).

    They are counted by label; a region of real data has no labels and takes the fitted fractions.

    Parameters
    ----------
    path
        File of the region, for messages.
    data
        Its jets.
    flavours
        Names, in the order of the labels.
    fractions
        Fitted fraction of each flavour by its name, None for a region that is not in the fit.
    """
    if (data.labels >= 0).all() and len(data):
        return np.bincount(data.labels, minlength=len(flavours)).astype(np.float64)
    if fractions is None:
        raise InputError(
            path,
            "label",
            "is not known for all jets, and the region is not in the fit",
            "Leave the region out, or label its jets",
        )
    return len(data) * np.array([fractions[name] for name in flavours])


def compose(wanted: Array, available: Counts) -> Counts:
    """Return the largest numbers of jets in the wanted proportion, at most as many as wanted.

    Parameters
    ----------
    wanted, available
        Jets of each flavour, shapes (K,).
    """
    present = wanted > 0
    scale = min(1.0, float((available[present] / wanted[present]).min()))
    ideal = scale * wanted
    counts = np.floor(ideal + 1e-9).astype(np.int64)
    # What rounding down has lost goes to the largest remainders.
    missing = round(float(ideal.sum())) - int(counts.sum())
    largest = np.argsort(counts - ideal, kind="stable")[: max(missing, 0)]
    counts[largest] += 1
    return np.minimum(counts, available)


def order(ids: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return the positions of jets in the order of a hash of their ids, shape (N,)."""
    return np.argsort(splits.uniform(ids, derive(seed, "closure") % 2**20 + 1000), kind="stable")
