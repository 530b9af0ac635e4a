"""Blocks of Sinkhorn iterations by POT."""

from __future__ import annotations

import numpy as np
import ot

from accuracy.clock import Clock, Fit, Points
from accuracy.entropic import BLOCK, Iterate, Potentials, entropic

_LARGEST = 8192  # points: matrices of this many rows and columns fit into memory


def entropic_map(source: Points, target: Points, clock: Clock, seed: int) -> Fit:
    """Fit as `accuracy.entropic` does."""
    return entropic(source, target, clock, seed, prepare, _LARGEST)


def prepare(x: Points, y: Points) -> Iterate:
    """Return the iterations between two samples: double precision, products with a kernel."""
    cost = ot.dist(x.astype(np.float64), y.astype(np.float64))
    shares = np.full(len(x), 1.0 / len(x)), np.full(len(y), 1.0 / len(y))

    def iterate(epsilon: float, start: Potentials) -> Potentials:
        _, known = ot.bregman.sinkhorn_stabilized(
            *shares,
            cost,
            epsilon,
            numItermax=BLOCK,
            stopThr=0.0,
            warmstart=start,
            log=True,
            warn=False,
        )
        return known["alpha"], known["beta"]

    return iterate
