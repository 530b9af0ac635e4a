"""Entropic transport maps: Sinkhorn's algorithm of OTT-JAX and of POT on part of the points.

The potential g of n target points y_j extends to every x as the entropic map (Pooladian &
Niles-Weed, arXiv:2109.12004),

    T(x) = Σ_j w_j(x) y_j,    w(x) = softmax_j[(g_j − |x − y_j|²) / ε].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from accuracy.clock import Clock, Fit, Points

Potentials = tuple[NDArray[Any], NDArray[Any]]
Iterate = Callable[[float, Potentials], Potentials]
"""Does `BLOCK` iterations for an ε from potentials (f, g) of the two samples."""

Prepare = Callable[[Points, Points], Iterate]
"""Returns the iterations between two samples."""

BLOCK = 20
"""Iterations between two looks at the clock."""

_SMALLEST = 1024
_ITERATIONS = 200  # to be expected of a fit
_UNSEEN = 2048


def entropic(
    source: Points, target: Points, clock: Clock, seed: int, prepare: Prepare, largest: int
) -> Fit:
    """Fit on as many points as the budget allows.

    ε is chosen on the problem of two halves of the target, whose map is the identity: the one which
    brings unseen target points back best. (Distances of moved points to the target would prefer an
    ε that is far too small, where every point goes to a training point.) It is halved until the
    result gets worse, on fewer points and within half of the budget. The fit comes down to the
    chosen ε in the same steps, of `BLOCK` iterations each.

    Parameters
    ----------
    source, target, clock, seed
        See `accuracy.clock.Solver`.
    prepare
        Sinkhorn's algorithm of a package.
    largest
        Most points.
    """
    rng = np.random.default_rng(seed)
    x, y = (points[rng.permutation(len(points))] for points in (source, target))
    scale = float(y.var(axis=0).sum())
    trial = prepare(x[:_SMALLEST], y[:_SMALLEST])
    state = trial(scale, _zeros(_SMALLEST))  # compiles
    before = clock.spent
    trial(scale, state)
    cost = (clock.spent - before) / _SMALLEST**2

    def affordable(seconds: float, most: int) -> int:
        size = math.sqrt(max(seconds, 0.0) / (cost * _ITERATIONS / BLOCK))
        return max(_SMALLEST, min(int(size), most, largest))

    size = affordable(0.1 * clock.left, (len(y) - _UNSEEN) // 2)
    epsilon = _best_epsilon(prepare, y, size, scale, Clock(0.5 * clock.left))
    halvings = max(0, round(math.log2(0.25 * scale / epsilon)))
    size = affordable(0.7 * clock.left, min(len(x), len(y)))
    iterate, state = prepare(x[:size], y[:size]), _zeros(size)
    for power in range(halvings, 0, -1):
        state = iterate(epsilon * 2.0**power, state)
    state, done = _solve(iterate, epsilon, state, clock)
    steps = done + BLOCK * halvings
    notes = {"points": size, "epsilon": epsilon / scale}
    return Fit(lambda z: _transport(z, y[:size], state[1], epsilon), steps, notes)


def _best_epsilon(prepare: Prepare, y: Points, size: int, scale: float, clock: Clock) -> float:
    """Return the ε that maps one half of y to the other with the smallest error on the rest."""
    first, second, unseen = np.split(y[: 2 * size + _UNSEEN], [size, 2 * size])
    iterate, state = prepare(first, second), _zeros(size)
    best, chosen, epsilon = math.inf, scale, 0.25 * scale
    while clock.left > 0:
        state, _ = _solve(iterate, epsilon, state, clock)
        error = float(np.square(_transport(unseen, second, state[1], epsilon) - unseen).mean())
        if not error < best:
            break
        best, chosen, epsilon = error, epsilon, 0.5 * epsilon
    return chosen


def _solve(
    iterate: Iterate, epsilon: float, state: Potentials, clock: Clock
) -> tuple[Potentials, int]:
    """Iterate until the target's potential changes by less than ε/100; count the iterations."""
    done = 0
    while done < _ITERATIONS:
        previous, state = state, iterate(epsilon, state)
        done += BLOCK
        if clock.left <= 0 or np.abs(state[1] - previous[1]).mean() < 0.01 * epsilon:
            break
    return state, done


def _zeros(size: int) -> Potentials:
    return np.zeros(size), np.zeros(size)


def _transport(x: Points, y: Points, potential: NDArray[Any], epsilon: float) -> Points:
    """Return the entropic map of x, shape (n, d)."""
    targets = torch.from_numpy(y)
    bias = torch.from_numpy(potential).double() - targets.double().square().sum(1)
    bias = ((bias - bias.mean()) / epsilon).float()
    moved = [
        torch.addmm(bias, piece, targets.T, alpha=2.0 / epsilon).softmax(dim=1) @ targets
        for piece in torch.from_numpy(x).split(1024)
    ]
    return torch.cat(moved).numpy()
