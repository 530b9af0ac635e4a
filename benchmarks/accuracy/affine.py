"""The Gaussian map of POT."""

from __future__ import annotations

import numpy as np
import ot

from accuracy.clock import Clock, Fit, Points


def linear(source: Points, target: Points, clock: Clock, seed: int) -> Fit:
    """Fit the affine map in closed form."""
    samples = (points.astype(np.float64) for points in (source, target))
    matrix, shift = ot.gaussian.empirical_bures_wasserstein_mapping(*samples)
    matrix, shift = matrix.astype(np.float32), shift.astype(np.float32)
    return Fit(lambda x: x @ matrix + shift)
