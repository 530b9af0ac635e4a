"""How long a fit lasts, and how its learning rate goes meanwhile."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

RISE = 30
"""Steps in which the rate rises to its full value."""

FALL = 0.3
"""Share of the steps, at the end, in which it falls."""

PLATEAU = 0.3
"""Share of the steps so far that must have been in vain for a fit to end early."""

RECENT = 30
"""A step's time is a running mean over this part of the steps so far."""

FEWEST = 20
"""Steps that a fit has however short its time."""


class Schedule:
    """A short linear rise, a constant rate, and a cosine to 0.2 % of it.

    Nothing before the fall depends on the length of the fit. The length may therefore be decided on
    the way, when the time runs out or held-out figures improve no more, and the fit is still the
    same as one that was given this number of steps at the start.

    Parameters
    ----------
    steps
        Steps at most; None for as many as the time allows.
    seconds
        Seconds of `clock` from now to the end of the evaluation after the last step, met roughly;
        None for no limit.
    evaluations
        Held-out evaluations if all steps, or all the time, are used. With a limit in time they are
        spaced so that they take a twentieth of it at most.
    patience
        The fall begins when so many evaluations, and `PLATEAU` of the steps so far, have brought no
        lower value; None: not before its time.
    clock
        Returns seconds.

    Raises
    ------
    ValueError
        When neither steps nor seconds are given.
    """

    def __init__(
        self,
        steps: int | None,
        seconds: float | None = None,
        *,
        evaluations: int = 20,
        patience: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if steps is None and seconds is None:
            raise ValueError("a schedule needs steps or seconds")
        self.steps, self.seconds = steps, seconds
        self.evaluations, self.patience, self.clock = evaluations, patience, clock
        self.every = max(1, (steps or 0) // evaluations)
        self.start, self.spent = clock(), 0.0
        self.number = 0  # steps begun
        self.ended = seconds is None  # whether the length is known
        self.best, self.best_at, self.stale = math.inf, 0, 0
        self.evaluated, self.cost = 0.0, 0.0  # when the last evaluation ended; its seconds
        self.coming = 0.0  # seconds that the next one may take
        self.begun, self.pace = 0.0, 0.0  # when the last step began; its seconds

    @property
    def elapsed(self) -> float:
        """Seconds so far, those of an interrupted fit that this one continues included."""
        return self.spent + self.clock() - self.start

    @property
    def total(self) -> int:
        """Number of steps; an estimate as long as it depends on the time."""
        if self.ended:
            assert self.steps is not None
            return self.steps
        affordable = max(FEWEST, math.ceil(self._affordable), self.number + 1)
        return affordable if self.steps is None else min(self.steps, affordable)

    def rate(self, number: int) -> float:
        """Return the relative learning rate of step `number` (from 0), which now begins."""
        now = self.elapsed
        if self.number == 0:
            self.evaluated = now
        else:
            # Mostly of the last few percent of the steps: later ones take longer.
            share = RECENT / (RECENT + number - 1)
            self.pace += share * (now - self.begun - self.pace)
        self.begun, self.number = now, number + 1
        if not self.ended and self.seconds is not None:
            if number and number >= (1.0 - FALL) * self._affordable:
                self._end(number)
            elif self.steps is not None and number >= (1.0 - FALL) * self.steps:
                self.ended = True
        rise = min(1.0, (number + 1) / RISE)
        if not self.ended:
            return rise
        fall = max(0.0, (number / self.total - 1.0 + FALL) / FALL)
        return rise * (0.002 + 0.499 * (1.0 + math.cos(math.pi * fall)))

    def due(self, number: int) -> bool:
        """Whether there is a held-out evaluation after step `number`."""
        if self.seconds is None:
            return (number + 1) % self.every == 0
        now = self.elapsed
        due = now - self.evaluated >= self._pause
        if due:
            self.evaluated = now
        return due

    def observe(self, value: float) -> None:
        """Take note of a held-out value: the lower, the better."""
        now = self.elapsed
        cost = now - self.evaluated
        # In many dimensions every evaluation takes longer than the one before.
        self.coming = max(cost, 2.0 * cost - self.cost) if self.cost else cost
        self.cost, self.evaluated = cost, now
        self.begun += cost
        self.stale += 1
        if value < self.best:
            self.best, self.best_at, self.stale = value, self.number, 0
        falling = self.ended and self.number >= (1.0 - FALL) * self.total
        in_vain = self.number - self.best_at >= PLATEAU * self.number
        if self.patience is not None and self.stale >= self.patience and in_vain and not falling:
            self._end(self.number)

    def state(self) -> dict[str, Any]:
        """Return what a continued fit needs."""
        names = ("steps", "number", "begun", "pace", "ended", "best", "best_at", "stale")
        return {"spent": self.elapsed, **{name: getattr(self, name) for name in names}}

    def restore(self, state: dict[str, Any]) -> None:
        """Put back what `state` returned."""
        vars(self).update(state)
        self.start, self.evaluated = self.clock(), self.spent

    @property
    def _affordable(self) -> float:
        """Steps for which the time suffices, with an evaluation after the last one."""
        assert self.seconds is not None
        left = self.seconds - self.coming - self.begun
        if self.number <= 1 or left <= 0.0:
            return self.number
        waited = self.begun - self.evaluated
        evaluations = math.floor((waited + left) / (self._pause + self.coming))
        return self.number - 1 + (left - evaluations * self.coming) / max(self.pace, 1e-9)

    @property
    def _pause(self) -> float:
        """Seconds between two evaluations."""
        assert self.seconds is not None
        return max(self.seconds / self.evaluations, 19.0 * self.cost)

    def _end(self, number: int) -> None:
        """Let the fall begin with step `number`."""
        total = max(FEWEST, math.ceil(number / (1.0 - FALL)))
        self.steps = total if self.steps is None else min(self.steps, total)
        self.ended = True
