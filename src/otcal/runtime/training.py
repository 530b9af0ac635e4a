"""The one training loop: steps, evaluation, best state, early stopping, exact resume."""

from __future__ import annotations

import logging
import math
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from otcal.runtime import checkpoint, interruption
from otcal.runtime.allocator import keep_freed_memory
from otcal.runtime.distributed import ALONE, Team
from otcal.runtime.errors import InputError
from otcal.runtime.fingerprint import PACKAGE, fingerprint
from otcal.runtime.progress import progress

CHECKPOINT_EVERY_S = 60.0
"""Seconds between two checkpoints; the environment variable OTCAL_CHECKPOINT_EVERY_S overrides."""

log = logging.getLogger(__name__)


class Trainee(Protocol):
    """What the loop trains.

    Batches must depend on the step number only (and on the seed), so that a restarted fit sees the
    same ones.
    """

    def step(self, number: int) -> Mapping[str, float]:
        """Do optimisation step `number` (from 0) and return its metrics."""

    def evaluate(self) -> Mapping[str, float]:
        """Return held-out metrics of the present state."""

    def state(self) -> checkpoint.Tree:
        """Return everything that `restore` needs: model, optimiser, schedule."""

    def restore(self, state: checkpoint.Tree) -> None:
        """Put back what `state` returned."""

    def weights(self) -> dict[str, torch.Tensor]:
        """Return what is kept of the best evaluation."""


@dataclass
class Result:
    """What a fit leaves behind."""

    history: list[dict[str, float]] = field(default_factory=list)
    """One row per evaluation: step, mean training metrics since the last one, held-out metrics."""
    best_step: int = 0
    best_value: float = math.inf
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)


def fit(
    trainee: Trainee,
    *,
    steps: int | Callable[[], int],
    evaluate_every: int | Callable[[int], bool],
    monitor: str,
    label: str,
    patience: int | None = None,
    checkpoint_path: Path | None = None,
    checkpoint_every_s: float | None = None,
    identity: Mapping[str, Any] | None = None,
    team: Team = ALONE,
) -> Result:
    """Train, keep the best state by a held-out metric, and continue where a stopped fit was.

    The checkpoint holds the trainee, the random state and the history. On the CPU with one thread,
    a fit that was interrupted and continued ends with the same bits as one that was not. On a GPU
    the same state is put back exactly, but kernels that add in no fixed order make two runs differ
    in rounding anyway: a continued one then differs as much as a repeated one, and no more.

    In a step's command, a signal that asks to stop (`otcal.runtime.interruption`) ends the fit
    after the step or evaluation that it comes in, with a checkpoint.

    Parameters
    ----------
    trainee
        Model, data and optimiser.
    steps
        Number of optimisation steps, or a function that returns it, for one that is decided during
        the fit.
    evaluate_every
        Evaluate after this many steps, or where this function of the step's number is true; in any
        case after the last one.
    monitor
        Held-out metric to minimise.
    label
        Name for the progress line.
    patience
        Stop after this many evaluations without a better `monitor`; None never stops early.
    checkpoint_path
        Where to keep the state, the last one as well, from which a repeated fit returns at once:
        its owner removes it when the result is in safety. None keeps none.
    checkpoint_every_s
        At least this many seconds between two checkpoints; default `CHECKPOINT_EVERY_S`.
    identity
        JSON-ready settings; a checkpoint with other ones, or of other code, is not continued: the
        fit starts again and says which setting differs. ``code`` in it stands for a hash of the
        code, by default of what the trainee's module can execute.
    team
        Processes that train together: all continue from the checkpoint, and one writes it.

    Raises
    ------
    FloatingPointError
        When `monitor` is not finite: the fit diverged.
    InputError
        When the checkpoint is damaged, of another kind, or has these settings but a state that
        does not fit the trainee.
    SystemExit
        When a signal has asked to stop.
    """
    keep_freed_memory()
    result = Result()
    sums: dict[str, float] = {}
    first = count = 0
    pending = False  # an evaluation, after the last step
    kept: tuple[int, bool] | None = None  # steps and `pending` that the checkpoint has
    known: dict[str, Any] = {}
    if checkpoint_path is not None:  # reading the code takes a third of a second
        known = {"code": _code_of(trainee), **(identity or {})}
    length = steps if callable(steps) else lambda: steps
    due = evaluate_every if callable(evaluate_every) else lambda n: (n + 1) % evaluate_every == 0
    if checkpoint_path is not None and checkpoint_path.exists():
        saved = checkpoint.load_own(checkpoint_path, known)
        if saved is not None:
            result = _restore(checkpoint_path, saved, trainee)
            first, count, sums = saved["step"], saved["count"], saved["sums"]
            pending = saved["pending"]
            kept = first, pending
            if team.leads:
                log.info("%s: continues from %s after %d steps", label, checkpoint_path, first)
    team.wait()  # until all have read it, nobody replaces or removes it
    number, saved_at = first, time.monotonic()
    pause = _pause() if checkpoint_every_s is None else checkpoint_every_s

    def save() -> None:
        nonlocal kept, saved_at
        if checkpoint_path is not None and team.leads:
            tree = {
                "identity": known,
                "step": number,
                "pending": pending,
                "count": count,
                "sums": sums,
                "result": vars(result),
                "trainee": trainee.state(),
                "random": _random_state(),
            }
            checkpoint.save(checkpoint_path, tree)
        kept, saved_at = (number, pending), time.monotonic()

    def evaluate() -> None:
        nonlocal sums, count, pending
        held_out = {name: float(value) for name, value in trainee.evaluate().items()}
        if not math.isfinite(held_out[monitor]):
            raise FloatingPointError(f"{label}: {monitor} is {held_out[monitor]}")
        means = {name: total / count for name, total in sums.items()}
        result.history.append({"step": float(number), **means, **held_out})
        sums, count, pending = {}, 0, False
        bar.advance(0, note=f"{monitor} {held_out[monitor]:.5g}")
        if held_out[monitor] < result.best_value:
            result.best_value, result.best_step = held_out[monitor], number
            result.best_weights = {
                name: tensor.detach().cpu().clone() for name, tensor in trainee.weights().items()
            }

    def over() -> bool:
        stale = patience is not None and _stale(result, monitor) >= patience
        return not pending and (stale or number >= length())

    with (
        progress(length(), label, "steps", done=first, shown=team.leads) as bar,
        interruption.deferred(checkpoint_path) as asked_to_stop,
    ):
        while not over() and not team.any(asked_to_stop()):
            if pending:
                evaluate()
            else:
                for name, value in trainee.step(number).items():
                    sums[name] = sums.get(name, 0.0) + float(value)
                count += 1
                number += 1
                bar.advance(total=length())
                pending = due(number - 1) or number == length()
            # Not between both: schedules take the time from one to the other for the evaluation's.
            if not pending and time.monotonic() - saved_at >= pause:
                save()
        if kept != (number, pending):
            save()
    if not over():  # another process of the team was asked to stop
        raise SystemExit(128 + signal.SIGTERM)
    return result


def _code_of(trainee: Trainee) -> str | None:
    """Return the hash of what the trainee's module can execute; None for one of another package."""
    module = type(trainee).__module__
    return fingerprint(module) if module.split(".")[0] == PACKAGE else None


def _pause() -> float:
    """Return the seconds between two checkpoints."""
    name = "OTCAL_CHECKPOINT_EVERY_S"
    text = os.environ.get(name, str(CHECKPOINT_EVERY_S))
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise InputError(name, "value", f"is not a number of seconds: '{text}'", "Correct it")
    return seconds


def _restore(path: Path, saved: dict[str, Any], trainee: Trainee) -> Result:
    """Put trainee and random state back as they were, and return the result so far."""
    absent = {"step", "pending", "count", "sums", "result", "trainee", "random"} - saved.keys()
    if absent:
        raise InputError(path, min(absent), "is missing", checkpoint.START_AGAIN)
    checkpoint.check_fit(path, saved["trainee"], trainee.state())
    try:
        result = Result(**saved["result"])
        if result.best_weights:
            checkpoint.check_fit(path, result.best_weights, trainee.weights())
        trainee.restore(saved["trainee"])
        _set_random_state(saved["random"])
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            path, "state", f"cannot be put back ({reason})", checkpoint.START_AGAIN
        ) from None
    return result


def _stale(result: Result, monitor: str) -> int:
    """Count the evaluations since the best one."""
    values = [row[monitor] for row in result.history]
    return len(values) - 1 - values.index(min(values)) if values else 0


def _random_state() -> dict[str, Any]:
    state: dict[str, Any] = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
