"""Transform of a feature to a standard normal distribution by its quantiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

_EDGE = 1e-7
"""Probability below which the normal quantile is cut; as in scikit-learn."""

LIMIT = float(ndtri(1 - (_EDGE - np.spacing(1))))
"""Largest transformed value, about 5.2."""


@dataclass(frozen=True)
class QuantileNormal:
    """Monotone map of one feature to a standard normal.

    The same function as scikit-learn's `QuantileTransformer(output_distribution="normal")`, of
    which Algren et al. (arXiv:2507.08867, Appendix C) make use, without its estimator object: the
    quantiles alone are kept, so that a transform can be stored as JSON.
    """

    quantiles: NDArray[np.float64]
    """Quantiles at equally spaced probabilities from 0 to 1, not falling, shape (Q,)."""

    @classmethod
    def fit(cls, values: NDArray[np.float32], count: int) -> QuantileNormal:
        """Take `count` quantiles of `values`, shape (N,)."""
        probabilities = np.linspace(0, 1, count)
        quantiles = np.quantile(values.astype(np.float64), probabilities)
        # Interpolation between equal values may round downwards.
        return cls(np.maximum.accumulate(quantiles))

    def __call__(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Transform `values`, of any shape; beyond the fitted range they are cut at `LIMIT`."""
        x = values.astype(np.float64)
        q = self.quantiles
        probabilities = np.linspace(0, 1, len(q))
        # Where quantiles repeat, the mean of both directions is the middle of the step.
        upwards = np.interp(x, q, probabilities)
        downwards = -np.interp(-x, -q[::-1], -probabilities[::-1])
        p = 0.5 * (upwards + downwards)
        p[x + _EDGE > q[-1]] = 1.0
        p[x - _EDGE < q[0]] = 0.0
        return np.clip(ndtri(p), -LIMIT, LIMIT).astype(np.float32)
