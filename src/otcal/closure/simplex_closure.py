"""Closure of calibrated probabilities in discriminants that no map was fitted to.

[KY] = Kim, Yang (arXiv:2605.01363), section VIII.3 and Eq. (62). In each region, simulated jets of
the region's composition are compared with its data: histograms with the band of the composition's
uncertainty, Wasserstein and Kolmogorov–Smirnov distances, χ². The bands are those of
`otcal.closure.simplex_bands`. χ² has Poisson variances; as the composition is the same by
construction, samples of one origin have a little less than its mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import wasserstein_distance

from otcal.closure.metrics import ks_distance
from otcal.closure.simplex_bands import Band, Bands
from otcal.closure.simplex_floor import floor
from otcal.closure.simplex_jets import CALIBRATED, DATA, RAW, Sample, log_odds
from otcal.config.simplex_closure import SimplexClosureConfig

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Region:
    """A region: data, and simulated jets with its composition.

    Attributes
    ----------
    name
        Name of the region.
    samples
        Jets by the sample's name; `simulation`, `calibrated` and `data` among them.
    counts
        Simulated jets of each flavour, shape (K,).
    strata
        Flavours of the data jets, shape (N,); None where they are not known.
    """

    name: str
    samples: dict[str, Sample]
    counts: NDArray[Any]
    strata: NDArray[Any] | None = None


def compare(
    region: Region, bands: Bands, config: SimplexClosureConfig, seed: int
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
            band = bands[name, kappa]
            tables, rows = _Comparison(region, band, name, kappa, config, seed).tables()
            histograms += [pd.DataFrame({**key, **columns}) for columns in tables]
            metrics += [{**key, **row} for row in rows]
    return pd.concat(histograms, ignore_index=True), pd.DataFrame(metrics)


def chi_squared(difference: Array, variance: Array, shifts: Array) -> float:
    """Return dᵀ (diag v + Σ_e δ_e δ_eᵀ)⁻¹ d for bins (B,) and fully correlated shifts (E, B).

    A bin that both samples leave empty has no variance and no difference, and adds nothing.
    """
    covariance = np.diag(np.where(variance > 0, variance, 1.0)) + shifts.T @ shifts
    return float(difference @ np.linalg.solve(covariance, difference))


class _Comparison:
    """One discriminant at one κ in one region."""

    def __init__(
        self,
        region: Region,
        band: Band,
        name: str,
        kappa: float,
        config: SimplexClosureConfig,
        seed: int,
    ) -> None:
        self.region = region
        self.edges = np.linspace(0.0, 1.0, config.bins + 1)
        self.size = region.samples[DATA].total()
        self.odds = {key: log_odds(name, one.p, kappa) for key, one in region.samples.items()}
        self.floor = floor(self.odds[DATA], config.halvings, seed, region.strata)
        self.counts = {
            key: self._histogram(self.odds[key], sample) for key, sample in region.samples.items()
        }
        counts = region.counts * (self.size / region.counts.sum())
        self.shifts, self.shortcut = band.shifts(counts), band.weight_shifts(counts)
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

    def _histogram(self, odds: Array, sample: Sample) -> tuple[Array, Array]:
        """Return counts and variances per bin, scaled to the number of data jets."""
        values = expit(odds)
        scale = self.size / sample.total()
        squares = None if sample.weights is None else sample.weights**2
        count, _ = np.histogram(values, self.edges, weights=sample.weights)
        variance, _ = np.histogram(values, self.edges, weights=squares)
        return scale * count, scale**2 * variance
