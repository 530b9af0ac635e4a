"""Expectation–maximisation of compositions and densities under a composition prior.

Kim, Yang (arXiv:2605.01363), [KY] 12–23: p_r(x) = Σ_f π_rf q_f(x), the same q_f in all regions.
The densities are anything with a weighted M-step, see `Model`.

What decides the compositions when the densities are flexible: the likelihood rules out only those
that would need negative densities (`otcal.mixture.expansion`). Within the rest, EM goes quickly to
where the densities are nearest to those it came with, and from there slowly, one per cent per
iteration, to the prior's centre. It is stopped on this slow way; starts differ by where. So the
densities should have come from simulation to data, for `settle` iterations, before compositions
move: those that leave at once make up for the difference of simulation and data.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from otcal.config.mixture import EmConfig
from otcal.mixture.composition import Prior, compositions, logits, most_probable
from otcal.mixture.events import Events
from otcal.mixture.expansion import expand
from otcal.mixture.switching import check_labels
from otcal.runtime import checkpoint, interruption
from otcal.runtime.errors import InputError
from otcal.runtime.fingerprint import fingerprint
from otcal.runtime.progress import progress

Array = NDArray[np.float64]

log = logging.getLogger(__name__)


class Model(Protocol):
    """Component densities."""

    def log_prob(self, z: Array) -> Array:
        """Return log q_k(z), shape (N, K), of points z, shape (N, D)."""

    def update(self, z: Array, gamma: Array) -> None:
        """Raise Σ_ik γ_ik log q_k(z_i), γ of shape (N, K)."""

    def anneal(self) -> None:
        """Make smaller steps from now on: unseen events gain nothing from the present ones."""

    def state(self) -> checkpoint.Tree:
        """Return everything that `restore` needs."""

    def restore(self, state: checkpoint.Tree) -> None:
        """Put back what `state` returned."""


class Recorder(Protocol):
    """Keeps the responsibilities of every iteration."""

    def write(self, iteration: int, gamma: Array) -> None:
        """Keep γ, shape (N, K); an iteration that comes again replaces the earlier one."""


@dataclass
class Fit:
    """A mixture fit, its densities apart.

    Attributes
    ----------
    logits
        Free logits of the last iteration, shape (R, K − 1).
    history
        Per iteration, from 0 for the start: iteration, log_likelihood, objective (with the prior's
        penalty), imbalance (largest |mean_i γ_ik − π_rk|), held_out (log-likelihood per held-out
        event, NaN without any), pi (R × K list).
    annealed
        Iterations after which the densities' steps were made smaller.
    converged
        False when the largest number of iterations ended the fit.
    """

    logits: Array
    history: list[dict[str, Any]] = field(default_factory=list)
    annealed: list[int] = field(default_factory=list)
    converged: bool = False

    @property
    def pi(self) -> Array:
        """Compositions, shape (R, K)."""
        return compositions(self.logits)


def fit(
    events: Events,
    model: Model,
    prior: Prior,
    start: Array,
    enriched: Sequence[int],
    options: EmConfig,
    *,
    flavours: Sequence[str],
    recorder: Recorder | None = None,
    checkpoint_path: Path | None = None,
    identity: Mapping[str, Any] | None = None,
) -> Fit:
    """Run EM until it has converged; `model` ends with the fitted densities.

    Each iteration is the E-step (KY 17), the M-step of the compositions (KY 22, 23, exactly), the
    expansion (`otcal.mixture.expansion`, when asked for) and the generalised M-step of the
    densities. With exact densities and without expansion the objective never falls.

    A checkpoint is kept after every iteration. A fit that finds its own goes on from there and
    ends with the same bits (on one thread). In a step's command, a signal that asks to stop
    (`otcal.runtime.interruption`) ends it after the iteration that it comes in.

    Parameters
    ----------
    events
        Events of all regions.
    model
        Densities; their present state labels the components.
    prior
        Composition prior.
    start
        First compositions, shape (R, K).
    enriched
        Index of the flavour that is enriched in each region.
    options
        Iterations and tolerances.
    flavours
        Names for messages.
    recorder
        Where responsibilities go.
    checkpoint_path
        Where the state of an unfinished fit is kept; its owner removes it at the end.
    identity
        JSON-ready settings; a checkpoint with other ones is not continued.

    Raises
    ------
    InputError
        When a component has come to describe another flavour, densities diverge, or the checkpoint
        is damaged.
    SystemExit
        When a signal has asked to stop.
    """
    reference = model.log_prob(events.z)
    log_q, result, iteration = reference, Fit(logits(start)), 0
    known = {"code": fingerprint(__name__), **(identity or {})}
    if checkpoint_path is not None and checkpoint_path.exists():
        saved = checkpoint.load_own(checkpoint_path, known)
        if saved is not None:
            checkpoint.check_fit(checkpoint_path, saved["model"], model.state())
            a = np.array(saved["logits"])
            result = Fit(a, saved["history"], saved["annealed"])
            iteration = saved["iteration"]
            model.restore(saved["model"])
            log_q = model.log_prob(events.z)
            log.info("continues from %s after %d iterations", checkpoint_path, iteration)
    fitted = ~events.held_out
    with (
        progress(options.max_iterations, "mixture fit", "iterations", done=iteration) as bar,
        interruption.deferred(checkpoint_path) as asked_to_stop,
    ):
        while not asked_to_stop():
            log_p, gamma = expectation(log_q, events.region, result.pi)
            sums = events.sums(gamma)
            result.history.append(_row(iteration, log_p, sums, events, prior, result))
            if recorder is not None:
                recorder.write(iteration, gamma)
            check_labels(result.pi, gamma, reference, enriched, events.regions, flavours)
            result.converged = _converged(result.history, options)
            if result.converged or iteration == options.max_iterations:
                break
            if iteration >= options.settle:
                result.logits = most_probable(sums, prior, result.logits)
                if options.expansion:
                    log_p, _ = expectation(log_q, events.region, result.pi)
                    wider = expand(log_q, log_p, events.region, result.pi, prior)
                    result.logits, gamma = wider.logits, wider.gamma
            model.update(events.z[fitted], gamma[fitted])
            if _stale(result, options.density.patience):
                model.anneal()
                result.annealed.append(iteration)
            log_q = model.log_prob(events.z)
            iteration += 1
            bar.advance(note=f"objective {result.history[-1]['objective']:.2f}")
            if checkpoint_path is not None:
                tree = {
                    "identity": known,
                    "iteration": iteration,
                    "logits": result.logits.tolist(),
                    "history": result.history,
                    "annealed": result.annealed,
                    "model": model.state(),
                }
                checkpoint.save(checkpoint_path, tree)
    return result


def expectation(log_q: Array, region: NDArray[np.int64], pi: Array) -> tuple[Array, Array]:
    """Do the E-step.

    Parameters
    ----------
    log_q
        Log-densities of the components, shape (N, K).
    region
        Number of each event's region, shape (N,).
    pi
        Compositions, shape (R, K).

    Returns
    -------
    tuple
        log Σ_k π_rk q_k(x_i), shape (N,), and responsibilities (KY 17), shape (N, K).
    """
    joint = log_q + np.log(pi)[region]
    log_p = np.logaddexp.reduce(joint, axis=1)
    return log_p, np.exp(joint - log_p[:, None])


def _row(
    iteration: int, log_p: Array, sums: Array, events: Events, prior: Prior, result: Fit
) -> dict[str, Any]:
    likelihood = float(log_p.sum())
    if not math.isfinite(likelihood):
        raise InputError(
            "mixture.em.density",
            "learning_rate",
            f"diverges: the log-likelihood is {likelihood} in iteration {iteration}",
            "Choose a smaller one",
        )
    pi = result.pi
    unseen = log_p[events.held_out]
    return {
        "iteration": iteration,
        "log_likelihood": likelihood,
        "objective": likelihood + prior.log_density(result.logits),
        "imbalance": float(np.abs(sums / events.counts[:, None] - pi).max()),
        "held_out": float(unseen.mean()) if len(unseen) else math.nan,
        "pi": pi.tolist(),
    }


def _converged(history: Sequence[Mapping[str, Any]], options: EmConfig) -> bool:
    """Whether objective and compositions stood still over the window, all of it unsettled."""
    if len(history) <= options.settle + options.window:
        return False
    window = history[-options.window - 1 :]
    objectives = np.array([row["objective"] for row in window])
    fractions = np.array([row["pi"] for row in window])
    return bool(
        np.ptp(objectives) <= options.tolerance_likelihood * abs(objectives[-1])
        and np.ptp(fractions, axis=0).max() <= options.tolerance_composition
    )


def _stale(result: Fit, patience: int) -> bool:
    """Whether the held-out likelihood has not risen since its best, or the last annealing."""
    values = [row["held_out"] for row in result.history]
    if math.isnan(values[-1]):
        return False
    since = max([int(np.argmax(values)), *result.annealed])
    return len(values) - 1 - since >= patience
