"""Averages over the rows of a large sample, piece by piece: it is never copied as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from otcal.runtime.scratch import PIECE

Array = NDArray[np.float64]


def pieces(sample: NDArray[np.floating]) -> Iterator[NDArray[np.floating]]:
    """Yield views of at most `PIECE` rows."""
    for start in range(0, len(sample), PIECE):
        yield sample[start : start + PIECE]


@dataclass(frozen=True)
class Rows:
    """The rows of a sample after a transform that acts row by row.

    Attributes
    ----------
    sample
        Shape (n, d), of any floating type.
    transform
        What is done to a piece of the sample, in double precision.
    """

    sample: NDArray[np.floating]
    transform: Callable[[Array], Array]

    def then(self, transform: Callable[[Array], Array]) -> Rows:
        """Return the rows after one more transform."""
        first = self.transform
        return Rows(self.sample, lambda piece: transform(first(piece)))

    def average(self, total: Callable[[Array], Array]) -> Array:
        """Return Σ / n, where `total` returns the sum over the rows of a piece."""
        parts = (total(self.transform(np.asarray(p, float))) for p in pieces(self.sample))
        return np.asarray(sum(parts)) / len(self.sample)


def mean(rows: Rows) -> Array:
    """Return the mean, shape (d,)."""
    return rows.average(lambda x: x.sum(0))


def second_moment(rows: Rows) -> Array:
    """Return E[x xᵀ], the covariance of centred rows, shape (d, d)."""
    return rows.average(lambda x: x.T @ x)


def fold_moments(rows: Rows, folds: int) -> Array:
    """Return the share of every fold in E[x xᵀ], shape (folds, d, d); their sum is E[x xᵀ].

    Rows are dealt to the folds in turn, so that their order makes no difference. `folds` divides
    `PIECE`: which row belongs to which doesn't depend on the pieces.
    """
    assert PIECE % folds == 0
    return rows.average(lambda x: np.stack([x[k::folds].T @ x[k::folds] for k in range(folds)]))


def spread(sample: NDArray[np.floating]) -> Array:
    """Return the standard deviation of each feature, shape (d,)."""
    rows = Rows(sample, lambda x: x)
    centre = mean(rows)
    return np.sqrt(rows.average(lambda x: ((x - centre) ** 2).sum(0)))
