"""Conditions of a map: their unit, equal distributions of both samples, and coordinates."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from otcal.runtime.errors import InputError
from otcal.runtime.seeds import derive, numpy_generator
from otcal.transport.coordinates import Coordinates
from otcal.transport.rows import Rows, mean, second_moment, spread

Array = NDArray[np.float64]

LARGEST_RATIO = 20.0
"""Weights of single source points end here: beyond, the source hardly covers the target."""

_FEWEST = 200  # points of a sample that a classifier learns anything from
_MOST = 200_000  # points of a sample that train it
_FOLDS = 2


@dataclass(frozen=True)
class Scale:
    """Centre and spread of the target's conditions, shape (k,): the conditions' unit."""

    centre: Array
    spread: Array

    def __call__(self, conditions: NDArray[np.floating]) -> Array:
        """Return standardised conditions, shape (n, k)."""
        return np.asarray((conditions - self.centre) / self.spread, float)


def scale(conditions: NDArray[np.floating]) -> Scale:
    """Return centre and spread of the target's conditions, shape (n, k).

    Raises
    ------
    InputError
        When a condition is constant: a map cannot depend on it.
    """
    width = spread(conditions)
    for column in np.flatnonzero(width == 0):
        raise InputError(
            "fit_map",
            f"conditions, column {column}",
            "is constant in the target",
            "Leave it out: the map cannot depend on it",
        )
    return Scale(mean(Rows(conditions, lambda x: x)), width)


def slopes(rows: NDArray[np.floating], d: int, scale: Scale) -> Array:
    """Return how the mean of x moves with the standardised conditions, shape (k, d).

    Least squares, with an intercept.

    Parameters
    ----------
    rows
        (x, c), shape (n, d + k).
    d
        Number of features.
    scale
        Unit of the conditions.
    """
    joint = Rows(rows, lambda x: np.concatenate([x[:, :d], scale(x[:, d:])], axis=1))
    centre = mean(joint)
    moments = second_moment(joint.then(lambda x: x - centre))
    # Two proportional conditions have many answers; the smallest one is as good as any.
    return np.asarray(np.linalg.lstsq(moments[d:, d:], moments[d:, :d], rcond=1e-9)[0], float)


def without_line(rows: NDArray[np.floating], d: int, scale: Scale, slope: Array) -> Array:
    """Return x − c̃ B, shape (n, d), for rows (x, c), shape (n, d + k), and B = `slope`."""
    return np.asarray(rows[:, :d] - scale(rows[:, d:]) @ slope, float)


def match(
    source: NDArray[np.floating], target: NDArray[np.floating], seed: int
) -> tuple[NDArray[np.int64], dict[str, float]]:
    """Draw source points whose conditions are distributed as the target's.

    A map T( · | c) moves the source's density *at* c to the target's at c. How often each c occurs
    is no business of it, but the semi-dual sums over c and needs equal shares. Source points are
    drawn in proportion to the density ratio of their conditions, estimated by a boosted classifier
    on the other half of the samples, with as many draws as there are points. Where the classifier
    finds no difference (area under its ROC curve within two standard errors of ½), and where there
    are too few points to ask, every point is kept once.

    Parameters
    ----------
    source, target
        Conditions, shapes (n, k) and (m, k).
    seed
        Seed of halves and draws.

    Returns
    -------
    tuple
        Rows of the source, shape (n,), and JSON-ready figures: ``auc`` of the classifier, and
        ``effective``, the share of the source's points that the drawn ones are worth.
    """
    # Seconds to import, and most maps have no conditions.
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    rows = np.arange(len(source))
    train = [sample[:_MOST] for sample in (source, target)]
    if min(map(len, train)) < _FEWEST:
        return rows, {"auc": 0.5, "effective": 1.0}
    label = np.repeat([0, 1], [len(sample) for sample in train])
    classifier = HistGradientBoostingClassifier(
        max_iter=100, max_leaf_nodes=8, early_stopping=True, random_state=derive(seed, "match")
    )
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=derive(seed, "halves"))
    points = np.concatenate(train)
    chance = cross_val_predict(classifier, points, label, cv=folds, method="predict_proba")[:, 1]
    auc = float(roc_auc_score(label, chance))
    error = np.sqrt(sum(1.0 / (12.0 * len(sample)) for sample in train))
    if auc < 0.5 + 2.0 * error:
        return rows, {"auc": auc, "effective": 1.0}
    if len(train[0]) == len(source):
        chance = chance[: len(source)]
    else:
        chance = classifier.fit(points, label).predict_proba(source)[:, 1]
    odds = chance / np.maximum(1.0 - chance, 1e-12) * len(train[0]) / len(train[1])
    weights = np.minimum(odds, LARGEST_RATIO)
    edges = np.cumsum(weights) / weights.sum()
    first = numpy_generator(seed, "draws").uniform()
    drawn = np.searchsorted(edges, (rows + first) / len(rows)).clip(max=len(rows) - 1)
    effective = float(weights.sum() ** 2 / (len(weights) * (weights**2).sum()))
    return drawn, {"auc": auc, "effective": effective}


def extend(coordinates: Coordinates, scale: Scale, source: Array, target: Array) -> Coordinates:
    """Return coordinates of rows (x, c) from those of x without its part that is linear in c.

    u is that of x − c̃ B₁, v that of y − c̃ B₂, with the standardised conditions c̃ behind both: for
    every c, another shift of the same coordinates, and convexity in u is convexity in x.

    Parameters
    ----------
    coordinates
        Of the samples minus their linear parts.
    scale
        Unit of the conditions.
    source, target
        B₁ and B₂, shape (k, d).
    """
    k = len(scale.centre)
    one, centre, width, first, second = (
        torch.from_numpy(array.astype(np.float32))
        for array in (np.eye(k), scale.centre, scale.spread, source, target)
    )

    def inward(matrix: Tensor, slope: Tensor) -> Tensor:
        below = torch.cat([-slope @ matrix, one], dim=1) / width[:, None]
        return torch.cat([torch.cat([matrix, matrix.new_zeros(len(matrix), k)], 1), below])

    def outward(matrix: Tensor, slope: Tensor) -> Tensor:
        below = torch.cat([slope, one * width], dim=1)
        return torch.cat([torch.cat([matrix, matrix.new_zeros(len(matrix), k)], 1), below])

    outside = coordinates.outside
    if outside is not None:
        padded = outside.new_zeros(len(outside) + k, len(outside) + k)
        padded[: len(outside), : len(outside)] = outside
        outside = padded
    return replace(
        coordinates,
        source_mean=torch.cat([coordinates.source_mean, centre]),
        target_mean=torch.cat([coordinates.target_mean, centre]),
        source_in=inward(coordinates.source_in, first),
        target_in=inward(coordinates.target_in, second),
        source_out=outward(coordinates.source_out, first),
        target_out=outward(coordinates.target_out, second),
        spread=torch.cat([coordinates.spread, torch.ones(k)]),
        outside=outside,
        conditions=k,
    )
