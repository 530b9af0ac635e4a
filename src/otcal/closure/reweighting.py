"""The vertical baseline: source jets weighted by a density ratio.

[MTG] (Algren et al., arXiv:2507.08867) Eqs. (1) and (5); the ratio is a classifier's (Cranmer,
Pavez, Louppe, arXiv:1506.02169). With balanced training samples D_L's logit estimates ln s(z),
s = p_target/p_source. A network that is overconfident on jets it has not seen has the right order
but the wrong ratio, so the logit is first calibrated by a straight line (slope and offset, Platt's
scaling) on the fold that stopped the fits; weights are made on the fold that nothing has seen. No
weight is clipped: that would hide the dilution that this baseline is here to show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from otcal.closure.scores import Scores

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """ln s = slope · logit + offset."""

    slope: float
    offset: float

    def __call__(self, logit: NDArray[Any]) -> Array:
        """Return ln s, shape (N,), of logits of shape (N,)."""
        return self.slope * np.asarray(logit, dtype=np.float64) + self.offset


IDENTITY = Calibration(1.0, 0.0)


@dataclass(frozen=True)
class Dilution:
    """What weights leave of a sample's statistical power."""

    rho: float
    """ρ of `dilution`."""
    stat: float
    """Its statistical uncertainty, to first order in the weights' fluctuations."""


def calibrate(source: NDArray[Any], target: NDArray[Any]) -> Calibration:
    """Fit the line that makes a logit an unbiased ln s, on logits of shapes (N,) and (M,)."""
    logits = np.concatenate([source, target]).astype(np.float64)
    scale = logits.std() or 1.0
    truth = np.repeat([0, 1], [len(source), len(target)])
    # A nearly free fit: the penalty only keeps the slope finite where the samples are disjoint.
    model = LogisticRegression(C=1e4, class_weight="balanced").fit(logits[:, None] / scale, truth)
    return Calibration(float(model.coef_[0, 0] / scale), float(model.intercept_[0]))


def dilution(weights: Array) -> Dilution:
    """Return ρ = (Σ s)² / (N Σ s²), [MTG] Eq. (5), for weights of shape (N,).

    One for equal weights; the weighted sample has the power of ρN jets. For samples that hardly
    overlap it is an upper estimate, because the largest weights have not been drawn.
    """
    mean, square = weights.mean(), (weights**2).mean()
    rho = float(mean**2 / square)
    influence = rho * (2.0 * weights / mean - weights**2 / square - 1.0)
    return Dilution(rho, float(influence.std() / np.sqrt(len(weights))))


def density_ratio(logit: NDArray[Any], calibration: Calibration) -> Array:
    """Return weights s / mean(s), shape (N,), of the source jets with these logits."""
    log_ratio = calibration(logit)
    weights = np.exp(log_ratio - log_ratio.max())
    return np.asarray(weights / weights.mean())


def reliability(
    source: NDArray[Any], target: NDArray[Any], calibration: Calibration, bins: int = 10
) -> dict[str, float]:
    """Say how well a calibrated logit is a log density ratio on other jets.

    Returns
    -------
    dict
        `loss`: cross-entropy per jet at equal sample sizes (ln 2 when nothing is told apart).
        `error`: expected calibration error, the mean over quantile bins of |predicted − true| share
        of target. `mean_weight`: mean of s over the source, 1 for the true ratio.
    """
    log_ratio = calibration(np.concatenate([source, target]))
    truth = np.repeat([0.0, 1.0], [len(source), len(target)])
    balance = np.repeat([0.5 / len(source), 0.5 / len(target)], [len(source), len(target)])
    probability = 0.5 * (1.0 + np.tanh(0.5 * log_ratio))
    edges = np.quantile(probability, np.linspace(0.0, 1.0, bins + 1)[1:-1])
    where = np.digitize(probability, edges)
    gap = np.bincount(where, balance * (probability - truth), minlength=bins)
    return {
        "loss": float(log_loss(truth, probability, sample_weight=balance)),
        "error": float(np.abs(gap).sum()),
        "mean_weight": float(np.exp(log_ratio[: len(source)]).mean()),
    }


def reweight(scores: Scores) -> tuple[Array, dict[str, Any]]:
    """Weight the source jets of the test fold by the density ratio of the mean logit over fits.

    Returns
    -------
    weights
        Mean 1, shape (N,), in the order of ``scores.ids("source")``.
    summary
        JSON-ready: rho, rho_stat, rho_std (over fits, each calibrated on its own), rho_raw (logit
        taken as it is), effective_jets, jets, max_weight, calibration.
    """
    held_out = {name: scores.of(name, "validation") for name in ("source", "target")}
    test = {name: scores.of(name) for name in ("source", "target")}
    mean = {name: values.mean(axis=0, dtype=np.float64) for name, values in test.items()}
    line = calibrate(*(values.mean(axis=0, dtype=np.float64) for values in held_out.values()))
    weights = density_ratio(mean["source"], line)
    result = dilution(weights)
    per_fit = [
        dilution(density_ratio(logit, calibrate(*one))).rho
        for logit, *one in zip(test["source"], *held_out.values(), strict=True)
    ]
    raw = reliability(mean["source"], mean["target"], IDENTITY)
    calibrated = reliability(mean["source"], mean["target"], line)
    summary = {
        "rho": result.rho,
        "rho_stat": result.stat,
        "rho_std": float(np.std(per_fit, ddof=1)) if len(per_fit) > 1 else 0.0,
        "rho_raw": dilution(density_ratio(mean["source"], IDENTITY)).rho,
        "jets": len(weights),
        "effective_jets": result.rho * len(weights),
        "max_weight": float(weights.max()),
        "calibration": {
            "slope": line.slope,
            "offset": line.offset,
            **{f"{name}_raw": value for name, value in raw.items()},
            **calibrated,
        },
    }
    return weights, summary
