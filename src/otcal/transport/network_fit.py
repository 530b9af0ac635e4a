"""Fit a network to a prepared problem, within steps or seconds; anew when it diverges."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from otcal.runtime import checkpoint, training
from otcal.transport.budget import count_steps
from otcal.transport.conditional import ConditionalPotential
from otcal.transport.minimax import MinimaxFit, MinimaxOptions
from otcal.transport.potentials import Potential
from otcal.transport.problem import Problem
from otcal.transport.schedule import Schedule
from otcal.transport.semidual import Network, SemidualFit, SemidualOptions

Options = SemidualOptions | MinimaxOptions

ATTEMPTS = 3
"""Fits at most: after one that diverges, the next has a quarter of the rate."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NetworkFit:
    """A fit before it runs: parameters of `otcal.transport.api.fit_map`, where they have its names.

    Attributes
    ----------
    problem
        What is fitted.
    deadline
        Time of `clock` at which the budget ends; None without one.
    initial
        Network to start from; None starts from the identity.
    """

    problem: Problem
    seed: int
    steps: int | None
    deadline: float | None
    clock: Callable[[], float]
    evaluations: int
    patience: int | None
    initial: Network | None
    checkpoint_path: Path | None
    scratch: Path | None

    def run(
        self, method: str, options: Options | None
    ) -> tuple[list[Potential], training.Result | None, dict[str, Any]]:
        """Fit, with a smaller rate when it diverges.

        Returns
        -------
        potentials
            The fitted ones.
        result
            How the training went; None when it diverged at every rate.
        details
            JSON-ready: options and rates that were tried, and the number of steps.
        """
        attempts = self._attempts(method, options)
        common = {"seed": self.seed, "data": self.problem.fingerprint(), "method": method}
        if self.initial is not None:
            sums = [float(p.double().abs().sum()) for p in self.initial.parameters()]
            common["initial"] = sums
        identities = [{"options": asdict(one), **common} for one in attempts]
        first = self._interrupted(identities)
        diverged = [one.learning_rate for one in attempts[:first]]
        details: dict[str, Any] = {"diverged_learning_rates": diverged}
        for one, identity in list(zip(attempts, identities, strict=True))[first:]:
            details |= {"options": asdict(one) | self._resolved(one)}
            try:
                if isinstance(one, MinimaxOptions):
                    potentials, result, kept = self._minimax(one, identity)
                else:
                    potentials, result, kept = self._semidual(one, identity)
            except FloatingPointError as error:
                log.warning("%s; starting again with a quarter of the learning rate", error)
                if self.checkpoint_path is not None:
                    self.checkpoint_path.unlink(missing_ok=True)
                diverged.append(one.learning_rate)
                continue
            last = int(result.history[-1]["step"])
            details |= {"steps": last, "kept_step": kept, "best_step": result.best_step}
            return potentials, result, details
        details["outcome"] = "the fit diverged at every learning rate"
        log.warning("%s: %s", method, details["outcome"])
        return [], None, details

    def _attempts(self, method: str, options: Options | None) -> list[Options]:
        """Return the settings to try, one after the other."""
        options = options or (MinimaxOptions() if method == "minimax" else SemidualOptions())
        start = self.initial
        if start is not None and isinstance(options, SemidualOptions):
            convex = start.network if isinstance(start, ConditionalPotential) else start
            options = replace(
                options, hidden=convex.hidden, pieces=convex.pieces, squares=convex.squares
            )
        return [
            replace(options, learning_rate=0.25**number * options.learning_rate)
            for number in range(ATTEMPTS)
        ]

    def _resolved(self, options: Options) -> dict[str, Any]:
        """Return what was chosen for settings that were left open."""
        if not isinstance(options, SemidualOptions):
            return {}
        source = self.problem.source
        columns = source.shape[1]
        return {
            "precision": options.choose_precision(columns, source.device),
            "tolerance": options.residual(columns),
        }

    def _interrupted(self, identities: list[dict[str, Any]]) -> int:
        """Return which attempt a checkpoint is of; 0, the first, when it is of none."""
        if self.checkpoint_path is None or not self.checkpoint_path.exists():
            return 0
        saved = checkpoint.load_fit(self.checkpoint_path)["identity"]
        matches = [number for number, one in enumerate(identities) if one.items() <= saved.items()]
        return matches[0] if matches else 0

    @property
    def _seconds(self) -> float | None:
        """Seconds that are left, None without a limit."""
        return None if self.deadline is None else max(0.0, self.deadline - self.clock())

    def _semidual(
        self, options: SemidualOptions, identity: dict[str, Any]
    ) -> tuple[list[Potential], training.Result, int]:
        """Fit, and return the potential, how it went, and the step that it is of: the last one.

        States from before the learning rate has come down can have a lower dual value and yet be
        worse: the optimiser's noise in the narrow directions costs next to nothing there but gives
        the map away to a classifier.
        """
        schedule = Schedule(
            self.steps,
            self._seconds,
            evaluations=self.evaluations,
            patience=self.patience,
            clock=self.clock,
        )
        samples = (self.problem.source, self.problem.target, self.problem.held_out)
        coordinates = self.problem.coordinates
        trainee = SemidualFit(
            *samples,
            coordinates.spread,
            options,
            schedule,
            self.seed,
            initial=self.initial,
            conditions=coordinates.conditions,
            scratch=self.scratch,
        )
        # A budget is no part of the identity: what is left of it differs from run to run.
        result = training.fit(
            trainee,
            steps=lambda: schedule.total,
            evaluate_every=schedule.due,
            monitor="dual",
            label="map (convex)",
            checkpoint_path=self.checkpoint_path,
            identity={**identity, "steps": self.steps, "patience": self.patience},
        )
        return [trainee.average], result, int(result.history[-1]["step"])

    def _minimax(
        self, options: MinimaxOptions, identity: dict[str, Any]
    ) -> tuple[list[Potential], training.Result, int]:
        """Fit, and return the potentials, how it went, and the step that they are of.

        The saddle point search doesn't settle; its state of lowest held-out energy distance is
        kept, as there is no dual value.
        """

        def build(steps: int) -> MinimaxFit:
            samples = (self.problem.source, self.problem.target, self.problem.held_out)
            return MinimaxFit(*samples, options, steps, self.seed)

        steps = count_steps(
            build, self.steps, self._seconds, self.checkpoint_path, identity, self.clock
        )
        trainee = build(steps)
        result = training.fit(
            trainee,
            steps=steps,
            evaluate_every=max(1, steps // self.evaluations),
            monitor="energy",
            label="map (minimax)",
            checkpoint_path=self.checkpoint_path,
            identity={**identity, "steps": steps},
        )
        trainee.map.load_state_dict(result.best_weights)
        return list(trainee.map.chain()), result, result.best_step
