"""Maps of few dimensions that need no training, as candidates beside the fitted network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from otcal.transport.entropic import LARGEST_DIMENSION, entropic_path
from otcal.transport.heldout import better_than_gaussian
from otcal.transport.potentials import Potential
from otcal.transport.problem import Problem
from otcal.transport.quantiles import match_quantiles

SOME = 512
"""Held-out points by which ε is chosen: conjugates of an entropic potential are costly."""


@dataclass(frozen=True)
class Candidate:
    """A map that could be returned.

    Attributes
    ----------
    name
        Method.
    potential
        Its potential, in the problem's coordinates.
    figures
        Its held-out figures (`HeldOut.semidual`).
    """

    name: str
    potential: Potential
    figures: dict[str, float]


def untrained(problem: Problem) -> list[Candidate]:
    """Return what the number of coordinates allows; nothing where the map has conditions.

    ``quantile`` in one dimension; ``entropic`` in up to `LARGEST_DIMENSION`, at the ε of lowest
    held-out dual value. An entropic map reaches no point outside the convex hull of the target
    points that it is made of. Its dual value says so: it wins where the target ends sharply, hardly
    ever where it has tails.
    """
    found: list[Candidate] = []
    rank, held_out = problem.coordinates.rank, problem.held_out
    if problem.coordinates.conditions:
        return found
    if rank == 1:
        potential = match_quantiles(problem.source, problem.target)
        found.append(Candidate("quantile", potential, held_out.semidual(potential)))
    if rank <= LARGEST_DIMENSION:
        found.append(_entropic(problem))
    return found


def _entropic(problem: Problem) -> Candidate:
    """Follow ε down until the dual value of `SOME` held-out points rises."""
    some, best, lowest = problem.held_out.head(SOME), None, math.inf
    for potential in entropic_path(problem.source, problem.target):
        value = some.semidual(potential)["dual"]
        if value > lowest:
            break
        best, lowest = potential, value
    assert best is not None
    figures = {**problem.held_out.semidual(best), "epsilon": best.epsilon}
    return Candidate("entropic", best, figures)


def choose(figures: Mapping[str, Mapping[str, float]]) -> tuple[str | None, str]:
    """Return the method that replaces the Gaussian map (None: it stays), and the reason.

    The one of lowest held-out dual value (energy distance for a method without one) is compared
    with the Gaussian map by `better_than_gaussian`.

    Parameters
    ----------
    figures
        Held-out figures by method, at least one; all with a dual value, or none.
    """
    value = "dual" if all("dual" in row for row in figures.values()) else "energy"
    best = min(figures, key=lambda name: figures[name][value])
    better, reason = better_than_gaussian(figures[best])
    return (best if better else None), f"{best}: {reason}"
