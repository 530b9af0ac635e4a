"""Solvers of this package, and its Gaussian coordinates for solvers of others."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from accuracy.clock import Clock, Fit, Points, Solver
from otcal.transport.api import FittedMap, fit_map
from otcal.transport.coordinates import precondition
from otcal.transport.gaussian import fit_gaussian
from otcal.transport.minimax import MinimaxOptions


def gaussian(source: Points, target: Points, clock: Clock, seed: int) -> Fit:
    """Fit the affine map in closed form."""
    return _fit(fit_map(source, target, method="gaussian", seed=seed, diagnostics=False))


def convex(source: Points, target: Points, clock: Clock, seed: int) -> Fit:
    """Fit with default settings."""
    return _fit(fit_map(source, target, seed=seed, diagnostics=False, **_within(clock)))


def minimax(
    source: Points,
    target: Points,
    clock: Clock,
    seed: int,
    *,
    blocks: int,
    hidden: tuple[int, ...],
    precondition: bool,
) -> Fit:
    """Fit by the saddle-point search; its map is returned even where the affine one is better."""
    fitted = fit_map(
        source,
        target,
        method="minimax",
        **_within(clock),
        seed=seed,
        precondition=precondition,
        select=False,
        diagnostics=False,
        options=MinimaxOptions(blocks=blocks, hidden=hidden),
    )
    return _fit(fitted)


def preconditioned(solver: Solver) -> Solver:
    """Return a solver that works where the Gaussian map is the identity.

    Potentials that are convex there are convex in the features: see
    `otcal.transport.coordinates.precondition`.
    """

    def fit(source: Points, target: Points, clock: Clock, seed: int) -> Fit:
        coordinates = precondition(fit_gaussian(source, target), np.ones(source.shape[1]))
        u = coordinates.encode_source(torch.from_numpy(source)).numpy()
        v = coordinates.encode_target(torch.from_numpy(target)).numpy()
        inner = solver(u, v, clock, seed)

        def transport(x: Points) -> Points:
            points = torch.from_numpy(x)
            moved = inner.transport(coordinates.encode_source(points).numpy())
            return coordinates.decode_target(torch.from_numpy(moved), points).numpy()

        return Fit(transport, inner.steps, inner.notes)

    return fit


def _within(clock: Clock) -> dict[str, Any]:
    """Return the budget of `fit_map`, in seconds of the CPU as for all solvers."""
    return {"budget_s": clock.budget, "clock": time.process_time}


def _fit(fitted: FittedMap) -> Fit:
    known = fitted.diagnostics
    return Fit(fitted.transport, known.get("steps", 0), {"winner": known["winner"]})
