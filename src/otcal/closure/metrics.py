"""Two-sample figures of merit in one dimension, for jets with or without weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Auc:
    """Area under the ROC curve of several fits of one discriminator on the same jets."""

    per_fit: NDArray[np.float64]
    """P(score of target > score of other), one per fit, never folded to above 0.5."""
    stat: float
    """Statistical uncertainty of the mean over fits."""

    @property
    def mean(self) -> float:
        """Mean over the fits."""
        return float(self.per_fit.mean())

    @property
    def std(self) -> float:
        """Sample standard deviation over the fits, 0 for a single one."""
        return float(self.per_fit.std(ddof=1)) if len(self.per_fit) > 1 else 0.0


def auc(other: Array, target: Array, weights: Array | None = None) -> Auc:
    """Return the AUC of target against another sample, with DeLong's uncertainty.

    The area is the mean of the placements V(x) = P(other < x) + P(other = x)/2 over the target, and
    its variance the sum of both samples' variances of mean placement (DeLong, DeLong,
    Clarke-Pearson, Biometrics 44 (1988) 837). Placements averaged over fits give the uncertainty of
    the mean AUC with the correlation between fits on the same jets. Weights enter as
    Σ w² (V − AUC)² / (Σ w)².

    Parameters
    ----------
    other, target
        Scores, shapes (K, N) and (K, M) for K fits, or (N,) and (M,).
    weights
        Weights of `other`, shape (N,); None for 1.

    Raises
    ------
    ValueError
        When a sample has fewer than two jets, or a score is not finite.
    """
    other, target = np.atleast_2d(other), np.atleast_2d(target)
    n, m = other.shape[1], target.shape[1]
    if min(n, m) < 2:
        raise ValueError(f"an AUC needs two jets of each sample, not {n} and {m}")
    if not (np.isfinite(other).all() and np.isfinite(target).all()):
        raise ValueError("scores are not finite")
    w = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
    of_target = np.stack([_placement(x, y, w) for x, y in zip(target, other, strict=True)])
    ones = np.ones(m)
    of_other = 1.0 - np.stack([_placement(y, x, ones) for x, y in zip(target, other, strict=True)])
    per_fit = of_target.mean(axis=1)
    variance = _variance(of_target.mean(axis=0), ones) + _variance(of_other.mean(axis=0), w)
    return Auc(per_fit, math.sqrt(variance))


def roc(other: Array, target: Array, grid: Array) -> NDArray[np.float64]:
    """Return the share of target above threshold at given shares of `other` above it.

    Parameters
    ----------
    other, target
        Scores, shapes (N,) and (M,).
    grid
        False-positive rates, shape (G,).

    Returns
    -------
    NDArray
        True-positive rates, shape (G,).
    """
    from sklearn.metrics import roc_curve  # seconds to import, and areas do not need it

    truth = np.concatenate([np.zeros(len(other)), np.ones(len(target))])
    fpr, tpr, _ = roc_curve(truth, np.concatenate([other, target]))
    return np.interp(grid, fpr, tpr)


def ks_distance(
    x: Array, y: Array, weights_x: Array | None = None, weights_y: Array | None = None
) -> float:
    """Return the Kolmogorov–Smirnov distance max |F_x − F_y| of two weighted samples, (N,), (M,).

    `scipy.stats.ks_2samp` knows no weights.
    """
    values = np.concatenate([x, y])
    order = np.argsort(values, kind="stable")
    steps = np.concatenate(
        [_shares(len(x), weights_x), -_shares(len(y), weights_y)],
    )[order]
    difference = np.cumsum(steps)
    values = values[order]
    # Ties count only once all of them are summed.
    last = np.append(values[1:] != values[:-1], True)
    return float(np.abs(difference[last]).max())


def ks_noise(jets_x: float, jets_y: float) -> float:
    """Return the mean KS distance of two samples of (effective) sizes from one distribution.

    The mean of Kolmogorov's distribution, √(π/2) ln 2, over √(nm/(n+m)).
    """
    return math.sqrt(math.pi / 2.0) * math.log(2.0) * math.sqrt(1.0 / jets_x + 1.0 / jets_y)


def _placement(x: Array, reference: Array, weights: Array) -> NDArray[np.float64]:
    """Return P(reference < x) + P(reference = x)/2 for each of `x` under the weights."""
    order = np.argsort(reference, kind="stable")
    total = np.concatenate([[0.0], np.cumsum(weights[order])])
    reference = reference[order]
    below = total[np.searchsorted(reference, x, side="left")]
    not_above = total[np.searchsorted(reference, x, side="right")]
    return np.asarray((below + not_above) / (2.0 * total[-1]))


def _variance(placement: Array, weights: Array) -> float:
    """Return the variance of the weighted mean of the placements."""
    n = len(placement)
    shares = weights / weights.sum()
    spread = placement - (shares * placement).sum()
    return float((shares**2 * spread**2).sum() * n / (n - 1))


def _shares(count: int, weights: Array | None) -> NDArray[np.float64]:
    if weights is None:
        return np.full(count, 1.0 / count)
    return np.asarray(weights, dtype=np.float64) / np.sum(weights)
