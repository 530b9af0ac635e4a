"""Three overlapping flavours in the ILR plane; data are shifted and broader than simulation."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from otcal.samples.scores import Scores
from otcal.simplex import ilr_inverse

Array = NDArray[np.float64]

FLAVOURS = ("b", "c", "light")
PARTS = (
    ((0.75, (2.6, 2.0), (1.0, 0.7, 0.35)), (0.25, (0.2, 0.8), (1.3, 1.2, 0.2))),
    ((0.70, (-1.6, 0.4), (1.0, 0.9, -0.3)), (0.30, (0.2, -0.6), (1.1, 1.2, 0.1))),
    ((0.80, (-0.2, -3.0), (0.8, 0.9, 0.2)), (0.20, (-0.3, -1.0), (1.1, 1.3, -0.2))),
)
"""Share, centre and (width, width, correlation) of the two parts of each flavour."""
SHIFTS = np.array([[-0.35, -0.30], [0.25, 0.20], [0.20, 0.35]])
"""About 0.3 widths, towards the other flavours: data are tagged worse."""
BROADENING = 1.12


def draw(flavour: int, n: int, rng: np.random.Generator, data: bool) -> Array:
    """Return n points, shape (n, 2): skew, with tails, none of it a Gaussian."""
    parts = PARTS[flavour]
    part = rng.choice(len(parts), n, p=[share for share, *_ in parts])
    z = np.empty((n, 2))
    for number, (_, centre, (first, second, correlation)) in enumerate(parts):
        rows = part == number
        noise = np.sinh(1.05 * np.arcsinh(rng.normal(size=(rows.sum(), 2))) + 0.15)
        covariance = correlation * first * second
        root = np.linalg.cholesky([[first**2, covariance], [covariance, second**2]])
        z[rows] = centre + noise @ root.T
    if data:
        mean = z.mean(axis=0)
        z = mean + BROADENING * (z - mean) + SHIFTS[flavour]
    return z


def score_table(n: int, seed: int, data: bool) -> pa.Table:
    """Return scores of n jets of each flavour, shuffled."""
    rng = np.random.default_rng(seed)
    z = np.concatenate([draw(f, n, rng, data) for f in range(3)])
    order = rng.permutation(len(z))
    scores = Scores(
        np.int64(seed) * 10**9 + np.arange(len(z)),
        np.repeat(np.arange(3, dtype=np.int8), n)[order],
        rng.uniform(20, 250, len(z)).astype(np.float32),
        rng.uniform(-2.5, 2.5, len(z)).astype(np.float32),
        ilr_inverse(z[order]),
    )
    return scores.to_table(FLAVOURS)


def energy_distance(x: Array, y: Array) -> float:
    """Return the energy distance of two samples (unbiased: negative for equal ones at times)."""
    within = [cdist(s, s).sum() / (len(s) * (len(s) - 1)) for s in (x, y)]
    return float(2.0 * cdist(x, y).mean() - sum(within))
