"""Closure of calibrated probabilities in discriminants that no map was fitted to.

[KY] = Kim, Yang (arXiv:2605.01363), section VIII.3 and Eq. (62). In each region, simulated jets of
the region's composition are compared with its data: histograms with the band of the composition's
uncertainty, Wasserstein and Kolmogorov–Smirnov distances, χ².

*Band.* The maps of the up and the down variation along an eigenvector of V_eff give a shift of
every bin, half their difference. Shifts along different eigenvectors are independent and are added
in quadrature; the shift along one of them moves all bins together, and in χ² it does so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import wasserstein_distance

from otcal.closure.metrics import ks_distance
from otcal.closure.simplex_jets import Sample
from otcal.config.simplex_closure import SimplexClosureConfig
from otcal.runtime.seeds import numpy_generator
from otcal.simplex import DISCRIMINANTS

Array = NDArray[np.float64]
Pair = tuple[Sample, Sample]

RAW, CALIBRATED, DATA = "simulation", "calibrated", "data"


@dataclass(frozen=True)
class Region:
    """A region: data, and simulated jets with its composition.

    Attributes
    ----------
    name
        Name of the region.
    samples
        Jets by the sample's name; `simulation`, `calibrated` and `data` among them.
    pairs
        Calibrated jets of the up and the down variation along each eigenvector.
    shortcut
        The same from the nominally calibrated jets, weighted instead of moved.
    """

    name: str
    samples: dict[str, Sample]
    pairs: Sequence[Pair] = ()
    shortcut: Sequence[Pair] = ()


@dataclass(frozen=True)
class Floor:
    """Mean distances of two random halves of the data."""

    w1: float
    w1_logit: float
    ks: float
    jets: int

    def scale(self, other: float) -> float:
        """Return the factor to the distance of a sample of size `other` to all of the data.

        Distances of two samples of one origin go with √(1/n + 1/m).
        """
        return float(np.sqrt((1.0 / other + 1.0 / self.jets) / (4.0 / self.jets)))


def log_odds(name: str, p: NDArray[Any], kappa: float) -> Array:
    """Return ln(D / (1 − D)) of a discriminant of KY (62), shape (N,), without rounding near 1."""
    ratio = DISCRIMINANTS[name]
    weighted = np.asarray(p, dtype=np.float64) * np.array([1.0, kappa, 1.0])
    signal, background = (
        np.log(weighted[:, list(part)].sum(axis=1)) for part in (ratio.signal, ratio.background)
    )
    return np.asarray(signal - background)


def compare(
    region: Region, config: SimplexClosureConfig, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return histograms and figures of merit of all discriminants and κ in a region.

    Histograms have the columns region, discriminant, kappa, sample, low, high, count, variance (all
    samples are scaled to the number of data jets), up, down (edges of the band of `calibrated`),
    up_reweighted, down_reweighted (the band from weights instead of maps).

    Figures of merit, one row per sample but the data: region, discriminant, kappa, sample; w1, ks,
    chi2 (with the band where there is one), ndf; w1_floor, ks_floor (`floor`, for the sizes of the
    two samples); in_band (share of the bins in which the sample agrees with the data within
    statistics and band), n_bins; effective_size, jets; chi2_stat (without the band), w1_logit,
    w1_logit_floor (of ln D/(1 − D)), w1_ratio (to that of the simulation).
    """
    histograms, metrics = [], []
    for name in config.discriminants:
        for kappa in config.kappas:
            key = {"region": region.name, "discriminant": name, "kappa": kappa}
            tables, rows = _Comparison(region, name, kappa, config, seed).tables()
            histograms += [pd.DataFrame({**key, **columns}) for columns in tables]
            metrics += [{**key, **row} for row in rows]
    return pd.concat(histograms, ignore_index=True), pd.DataFrame(metrics)


def floor(values: Array, halvings: int, seed: int) -> Floor:
    """Measure distances between random halves of a sample of log-odds, shape (N,)."""
    ordered = np.sort(values)
    half = len(ordered) // 2
    rng = numpy_generator(seed, "halves")
    w1, w1_logit, ks = [], [], []
    for _ in range(halvings):
        # Halves of equal size: sorted values are compared one by one (an odd jet sits out).
        chosen = np.zeros(len(ordered), dtype=bool)
        turn = rng.permutation(len(ordered))
        chosen[turn[:half]] = True
        rest = ~chosen
        rest[turn[2 * half :]] = False
        first, second = ordered[chosen], ordered[rest]
        w1_logit.append(np.abs(first - second).mean())
        w1.append(np.abs(expit(first) - expit(second)).mean())
        ks.append(ks_distance(first, second))
    return Floor(float(np.mean(w1)), float(np.mean(w1_logit)), float(np.mean(ks)), len(values))


def half_differences(up: Array, down: Array) -> Array:
    """Return the shifts of all bins, shape (E, bins), from counts of the same shape."""
    return 0.5 * (up - down)


def chi_squared(difference: Array, variance: Array, shifts: Array) -> float:
    """Return dᵀ (diag v + Σ_e δ_e δ_eᵀ)⁻¹ d for bins (B,) and fully correlated shifts (E, B).

    A bin that both samples leave empty has no variance and no difference, and adds nothing.
    """
    covariance = np.diag(np.where(variance > 0, variance, 1.0)) + shifts.T @ shifts
    return float(difference @ np.linalg.solve(covariance, difference))


class _Comparison:
    """One discriminant at one κ in one region."""

    def __init__(
        self, region: Region, name: str, kappa: float, config: SimplexClosureConfig, seed: int
    ) -> None:
        self.region, self.name, self.kappa, self.config = region, name, kappa, config
        self.edges = np.linspace(0.0, 1.0, config.bins + 1)
        self.size = region.samples[DATA].total()
        self.odds = {key: self._odds(sample) for key, sample in region.samples.items()}
        self.floor = floor(self.odds[DATA], config.halvings, seed)
        self.counts = {
            key: self._histogram(self.odds[key], sample) for key, sample in region.samples.items()
        }
        self.shifts = self._shifts(region.pairs)
        self.shortcut = self._shifts(region.shortcut)
        jets = self.counts[RAW][0] + self.counts[DATA][0]
        self.used = jets >= 2.0 * config.min_count

    def tables(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        parts = []
        for key, (count, variance) in self.counts.items():
            part: dict[str, Any] = {"sample": key, "low": self.edges[:-1], "high": self.edges[1:]}
            part |= {"count": count, "variance": variance}
            for suffix, shifts in (("", self.shifts), ("_reweighted", self.shortcut)):
                known = key == CALIBRATED and len(shifts)
                width = np.sqrt((shifts**2).sum(axis=0)) if known else np.nan
                part[f"up{suffix}"], part[f"down{suffix}"] = count + width, count - width
            parts.append(part)
        return parts, [self._metrics(key) for key in self.region.samples if key != DATA]

    def _metrics(self, key: str) -> dict[str, Any]:
        sample, data = self.region.samples[key], self.odds[DATA]
        size = sample.effective_size()
        scale = self.floor.scale(size)
        used = self.used
        difference = (self.counts[key][0] - self.counts[DATA][0])[used]
        variance = (self.counts[key][1] + self.counts[DATA][1])[used]
        shifts = (self.shifts if key == CALIBRATED else self.shifts[:0])[:, used]
        width = np.sqrt(variance + (shifts**2).sum(axis=0))
        w1, raw = self._w1(key), self._w1(RAW)
        return {
            "sample": key,
            "w1": w1,
            "ks": ks_distance(self.odds[key], data, sample.weights),
            "chi2": chi_squared(difference, variance, shifts),
            "ndf": max(int(used.sum()) - 1, 1),
            "w1_floor": self.floor.w1 * scale,
            "ks_floor": self.floor.ks * scale,
            "in_band": float((np.abs(difference) <= width).mean()) if used.any() else np.nan,
            "n_bins": int(used.sum()),
            "effective_size": size,
            "jets": len(sample.p),
            "chi2_stat": chi_squared(difference, variance, shifts[:0]),
            "w1_logit": wasserstein_distance(self.odds[key], data, sample.weights),
            "w1_logit_floor": self.floor.w1_logit * scale,
            "w1_ratio": w1 / raw,
        }

    def _w1(self, key: str) -> float:
        values, data = expit(self.odds[key]), expit(self.odds[DATA])
        return float(wasserstein_distance(values, data, self.region.samples[key].weights))

    def _odds(self, sample: Sample) -> Array:
        return log_odds(self.name, sample.p, self.kappa)

    def _histogram(self, odds: Array, sample: Sample) -> tuple[Array, Array]:
        """Return counts and variances per bin, scaled to the number of data jets."""
        values = expit(odds)
        scale = self.size / sample.total()
        squares = None if sample.weights is None else sample.weights**2
        count, _ = np.histogram(values, self.edges, weights=sample.weights)
        variance, _ = np.histogram(values, self.edges, weights=squares)
        return scale * count, scale**2 * variance

    def _shifts(self, pairs: Sequence[Pair]) -> Array:
        if not pairs:
            return np.zeros((0, self.config.bins))
        up, down = (
            np.stack([self._histogram(self._odds(pair[i]), pair[i])[0] for pair in pairs])
            for i in (0, 1)
        )
        return half_differences(up, down)
