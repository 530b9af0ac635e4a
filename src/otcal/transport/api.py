"""Fit a transport map between two samples: `fit_map`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from otcal.runtime import device
from otcal.runtime.errors import InputError
from otcal.transport.candidates import choose, untrained
from otcal.transport.diagnostics import diagnose, displacement
from otcal.transport.fitted import Inverse, Samples, TransportMap
from otcal.transport.initial import starting_network
from otcal.transport.network_fit import NetworkFit, Options
from otcal.transport.problem import Conditioned, gaussian_of_all, prepare

Method = Literal["convex", "minimax", "gaussian"]

DEFAULT_BUDGET = 60.0
"""Seconds of a fit for which neither steps nor a budget are given."""


@dataclass
class FittedMap:
    """A fitted map with what is known about it.

    Attributes
    ----------
    map
        The map itself, which can be saved, loaded and applied without the fit's code.
    diagnostics
        JSON-ready: the candidates' held-out figures, which was chosen and why, steps, seconds.
    learning_curve
        One row per evaluation: step (0 is the Gaussian or the initial map) and held-out figures.
    """

    map: TransportMap
    diagnostics: dict[str, Any] = field(default_factory=dict)
    learning_curve: list[dict[str, float]] = field(default_factory=list)

    def transport(self, x: Samples, conditions: Samples | None = None) -> Samples:
        """Move source points, shape (n, d); see `TransportMap.transport`."""
        return self.map.transport(x, conditions)

    def inverse(self, y: Samples, conditions: Samples | None = None) -> Inverse:
        """Move target points back, shape (n, d); see `TransportMap.inverse`."""
        return self.map.inverse(y, conditions=conditions)

    def save(self, path: str | Path, notes: dict[str, Any] | None = None) -> None:
        """Write the map; its description carries the diagnostics and `notes`."""
        self.map.save(path, {"diagnostics": self.diagnostics, **(notes or {})})

    def to_onnx(self, path: str | Path, metadata: dict[str, str] | None = None) -> None:
        """Write the map as an ONNX model; see `TransportMap.to_onnx`."""
        self.map.to_onnx(path, metadata)


def fit_map(
    source: NDArray[np.floating],
    target: NDArray[np.floating],
    *,
    method: Method = "convex",
    budget_s: float | None = None,
    steps: int | None = None,
    seed: int = 0,
    validation: tuple[NDArray[np.floating], NDArray[np.floating]] | None = None,
    conditions: tuple[NDArray[np.floating], NDArray[np.floating]] | None = None,
    validation_conditions: tuple[NDArray[np.floating], NDArray[np.floating]] | None = None,
    standardise: bool = False,
    precondition: bool = True,
    select: bool = True,
    options: Options | None = None,
    device_name: str = "cpu",
    checkpoint_path: Path | None = None,
    initial: TransportMap | None = None,
    evaluations: int = 20,
    patience: int | None = 5,
    diagnostics: bool = True,
    scratch: Path | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> FittedMap:
    """Fit the optimal-transport map (quadratic cost) from one sample to another.

    Parameters
    ----------
    source, target
        Unpaired samples, shapes (n, d) and (m, d).
    method
        ``convex``: one convex potential, `otcal.transport.semidual`; ``minimax``: the solver of
        [MTG], `otcal.transport.minimax`; ``gaussian``: the closed form alone.
    budget_s
        Seconds of `clock` for everything but the diagnostics, met roughly. The number of steps that
        they allowed is in the map's diagnostics. Default 60 when `steps` isn't given either; with
        both, the shorter one.
    steps
        Number of gradient steps at most. On one thread a fit by `steps` depends on the seed only.
    seed
        Seed of networks and batches.
    validation
        Held-out source and target points; default: a random tenth of the samples, but no more
        points than figures are of (`heldout.LARGEST`). A Gaussian map that is chosen without them
        is fitted to all points in the end; the figures with it are of the one that has not seen
        those held out.
    conditions
        What the map may depend on without moving it, such as a jet's pT and η: of source and
        target, shapes (n, k) and (m, k). The map T( · | c) is the gradient of a convex potential
        for every c (`otcal.transport.conditional`), and takes the source's density at c to the
        target's at c; how often each c occurs in the samples makes no difference
        (`otcal.transport.conditions`). Only for methods ``convex`` and ``gaussian``, whose map
        then shifts by what is linear in c.
    validation_conditions
        The same of `validation`: needed with both.
    standardise
        Measure distances in units of the target's spread of each feature instead of in the
        features' own units ([MTG] appendix B.2).
    precondition
        Start from the Gaussian map and learn what differs from it. False starts from the identity
        in the standardised features, as [MTG] does: each feature minus the target's mean, over the
        target's spread (without `standardise`: over one spread for all features).
    select
        Compare the fitted map on the held-out points with the Gaussian map and, for method
        ``convex`` in few dimensions, with maps that need no training (`otcal.transport.candidates`,
        which has the rule). False returns the fitted one always.
    options
        Settings of the solver.
    device_name
        ``auto``, ``cpu``, ``cuda`` or ``mps``.
    checkpoint_path
        Where to keep the state of the fit, also of a finished one, until its owner removes it; a
        fit that finds its own state continues it.
    initial
        Fitted map to start from, for samples that differ little from those it was fitted to: a few
        steps of a smaller rate are then enough. Its coordinates (and with them its unit of
        distance, so that `standardise` has no influence) and its network are kept; the result is
        again the gradient of one convex potential. There is no selection: a small difference is
        what such a fit is for, and significance is no reason to drop it.
    evaluations
        Held-out evaluations during the fit; in few dimensions they cost as much as the steps.
    patience
        Method ``convex`` ends its fit early, with a falling rate over some more steps, when so many
        evaluations and 30 % of the steps so far have brought no lower held-out dual value; None:
        never. A fit from `initial` does not end early: fits to be compared have equal batches.
    diagnostics
        Add `otcal.transport.diagnostics.diagnose` to the map's diagnostics; some seconds.
    scratch
        Directory for temporary files that hold the training points in the coordinates of the fit;
        None holds them in memory. Without influence on an accelerator, which holds them itself.
    clock
        Returns seconds: by default the wall clock's. `time.process_time` gives a fit the same time
        of the CPU however many others share it.

    Raises
    ------
    InputError
        When a sample has NaN or infinite values, too few points, or another number of features, or
        `initial` isn't one convex network.

    Examples
    --------
    Data differ from simulation the more, the higher pT is:

    >>> import numpy as np
    >>> import otcal
    >>> rng = np.random.default_rng(1)
    >>> pt = rng.uniform(20, 250, size=(3000, 1))
    >>> source, target = rng.normal(size=(3000, 2)), rng.normal(size=(3000, 2)) + pt / 50
    >>> fitted = otcal.fit_map(source, target, conditions=(pt, pt), steps=40)
    >>> calibrated = fitted.transport(source, pt)
    >>> fitted.save("map.safetensors")
    >>> fitted.to_onnx("map.onnx")
    >>> bool(np.abs(calibrated - source - pt / 50).mean() < 0.2)
    True
    """
    start = clock()
    place = device.resolve(device_name)
    if conditions is not None and method == "minimax":
        raise InputError(
            "fit_map", "conditions", "are not for method minimax", "Choose method convex"
        )
    network = None
    if initial is not None:
        count = 0 if conditions is None else np.shape(conditions[0])[-1]
        network = starting_network(initial, method, np.shape(source)[-1], count).to(place)
        initial = TransportMap(initial.coordinates, [network]).to(place)
    problem = prepare(
        Conditioned((source, target), conditions),
        None if validation is None else Conditioned(validation, validation_conditions),
        in_spreads=standardise,
        preconditioned=precondition,
        seed=seed,
        place=place,
        initial=initial,
        scratch=scratch,
    )
    held_out = problem.held_out
    baseline = held_out.baseline() if network is None else held_out.semidual(network)
    winner, reason = "gaussian" if network is None else "initial", "the only candidate"
    candidates = {winner: baseline}
    curve = [{"step": 0.0, **baseline}]
    chosen = initial or problem.gaussian
    details: dict[str, Any] = {}
    if method != "gaussian" and problem.coordinates.rank > 0:
        if steps is None and budget_s is None:
            budget_s = DEFAULT_BUDGET
        others = untrained(problem) if method == "convex" and select and network is None else []
        fit = NetworkFit(
            problem,
            seed=seed,
            steps=steps,
            deadline=None if budget_s is None else start + budget_s,
            clock=clock,
            evaluations=evaluations,
            patience=patience if network is None else None,
            initial=network,
            checkpoint_path=checkpoint_path,
            scratch=scratch,
        )
        fitted, result, details = fit.run(method, options)
        rivals = {one.name: [one.potential] for one in others}
        figures = {one.name: one.figures for one in others}
        if result is None:
            reason = details["outcome"]
        else:
            curve += result.history
            row = next(row for row in result.history if row["step"] == details["kept_step"])
            rivals[method] = fitted
            figures[method] = {name: row[name] for name in baseline if name in row}
        candidates |= figures
        best: str | None = None
        if result is not None and (network is not None or not select):
            best = method
            reason = "fitted from the initial map" if network is not None else "not compared"
        elif figures:
            best, comparison = choose(figures)
            reason = comparison if result is not None else f"{reason}; {comparison}"
        if best is not None:
            winner, chosen = best, TransportMap(problem.coordinates, rivals[best])
    known = {
        "winner": winner,
        "reason": reason,
        "candidates": candidates,
        "gradient_of_one_convex_potential": chosen.is_gradient,
        **details,
        **problem.describe(),
        "displacement": displacement(problem, chosen),
        **(diagnose(problem, chosen, seed) if diagnostics else {}),
    }
    if winner == "gaussian" and validation is None and conditions is None:
        # Nothing is left to be decided, so the points that were held out count as well.
        chosen = gaussian_of_all(
            np.asarray(source), np.asarray(target), in_spreads=standardise, place=place
        )
    known["seconds"] = round(clock() - start, 1)
    return FittedMap(chosen.to("cpu"), known, curve)
