"""Steps of the saddle-point search that a budget of time affords: all cost the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from otcal.runtime import checkpoint
from otcal.runtime.training import Trainee


def count_steps(
    build: Callable[[int], Trainee],
    steps: int | None,
    budget_s: float | None,
    checkpoint_path: Path | None,
    known: dict[str, Any],
    clock: Callable[[], float],
) -> int:
    """Turn the budget into steps; a fit that continues keeps the number it started with.

    Parameters
    ----------
    build
        Function of a number of steps that returns what will be trained.
    steps, budget_s, checkpoint_path
        As for `otcal.transport.api.fit_map`; one of the first two is given.
    known
        Identity of the fit without its number of steps, as it is in the checkpoint.
    clock
        Returns seconds.
    """
    if steps is not None and budget_s is None:
        return steps
    if checkpoint_path is not None and checkpoint_path.exists():
        saved = checkpoint.load_fit(checkpoint_path)["identity"]
        count = saved.get("steps")
        if isinstance(count, int) and saved == {**known, "steps": count}:
            return count
    assert budget_s is not None
    affordable = max(20, int(budget_s / _time_per_step(build, clock)))
    return affordable if steps is None else min(steps, affordable)


def _time_per_step(
    build: Callable[[int], Trainee], clock: Callable[[], float], steps: int = 28
) -> float:
    """Return the seconds of a step, its share of the evaluations included."""
    trial = build(1000)
    for number in range(5):
        trial.step(number)
    start = clock()
    for number in range(5, 5 + steps):
        trial.step(number)
    return (clock() - start) / steps
