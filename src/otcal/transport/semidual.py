"""The default solver: one convex potential, fitted by the semi-dual of the transport problem.

In coordinates where the Gaussian map is (by default) the identity, minimise over convex φ

    E φ(u) + E φ*(v),    φ*(v) = max_u ⟨u, v⟩ − φ(u),

whose minimiser's gradient is the optimal map ([MTG] (7, 10) with f eliminated; Makkuva et al.,
arXiv:1908.10962, section 2). The maximiser u*(v) is found numerically, starting from where it was
when that target point was last visited. By the envelope theorem the gradient in the parameters is
that of E φ(u) − E φ(u*(v)): first derivatives of one network only, no second network, no double
backward pass (Amos, arXiv:2210.12153, compares conjugate solvers).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from otcal.runtime.checkpoint import Tree
from otcal.runtime.device import fastest_precision
from otcal.runtime.optimisers import Adam
from otcal.runtime.scratch import copy as copy_rows
from otcal.runtime.seeds import derive
from otcal.transport.balance import Balance
from otcal.transport.conditional import ConditionalPotential
from otcal.transport.conjugate import conjugate
from otcal.transport.convex import ConvexPotential
from otcal.transport.heldout import HeldOut
from otcal.transport.schedule import Schedule
from otcal.transport.strata import Batches

Network = ConvexPotential | ConditionalPotential
MapPrecision = Literal["auto", "float32", "bfloat16"]

SMALLEST_SCALE = 1e-6
"""Floor of a coordinate's relative spread."""
FEW_DIMENSIONS = 3
"""Up to so many, a small network and more steps reach further in equal time."""
ROUGH_DIMENSIONS = 16
"""From so many on, errors are far above the rounding of bfloat16, and its matrix products pay."""
FIRST_ITERATIONS = 3
"""Steps of a conjugation at first: exact points of a crude potential are not worth their time."""
PERIOD = 150
"""Steps of a fit after which its conjugations get one more."""
SOURCE = 2
"""Source points for every target point of a step: without conjugation they cost little."""
BLOCK = 64
"""Multiple of target points that are conjugated together in bfloat16."""


@dataclass(frozen=True)
class SemidualOptions:
    """Settings of the solver.

    Attributes
    ----------
    hidden
        Units of each layer of the potential; None: two layers of 64 in up to three dimensions,
        three of 128 in more.
    pieces, squares
        Pieces of its soft maximum, and squares for them beside those of the units (at most 16 per
        coordinate); see `otcal.transport.convex.ConvexPotential`.
    learning_rate
        Learning rate of Adam before it falls (`otcal.transport.schedule`).
    batch
        Target points per step at most (`otcal.transport.strata`), and half of the source points.
    noise
        Standard deviation of the Gaussian noise added to the training points, in units of each
        coordinate's spread. The exact optimal map between two finite samples follows every point;
        smoothed samples have a smoother one. 0 suits low dimensions and very many points.
    damping
        The units see coordinate i times spread_i^damping. Narrow directions (a tagger's latent has
        many) then start without a share in the map and get one only if the data ask for it.
    averaging
        The returned weights are a running mean over about this share of the steps so far, and of
        less in proportion as the learning rate falls: the last ones have fluctuations no more, but
        those before the fall are far from them.
    tolerance
        Residual at which a training point's conjugation stops, in units of a typical coordinate.
        None: 0.01 in up to three dimensions, where batches hardly fluctuate and the bias of points
        that stop early is what counts, 0.05 in more.
    iterations
        Steps of a training point's conjugation at most, not counting one which is not evaluated. A
        fit that starts from the identity begins with `FIRST_ITERATIONS`, and has one more after
        every `PERIOD`.
    precision
        Of the matrix products in training steps; everything else, and all that is evaluated or
        returned, is float32. `auto` takes bfloat16 where the device has it and there are at least
        `ROUGH_DIMENSIONS` coordinates, else float32.
    """

    hidden: tuple[int, ...] | None = None
    pieces: int = 32
    squares: int = 256
    learning_rate: float = 2e-2
    batch: int = 512
    noise: float = 0.0
    damping: float = 0.5
    averaging: float = 0.1
    tolerance: float | None = None
    iterations: int = 5
    precision: MapPrecision = "auto"

    def units(self, dimension: int) -> tuple[int, ...]:
        """Return the units of each layer in so many dimensions."""
        if self.hidden is not None:
            return self.hidden
        return (64, 64) if dimension <= FEW_DIMENSIONS else (128, 128, 128)

    def residual(self, columns: int) -> float:
        """Return the tolerance of a fit with so many coordinates."""
        if self.tolerance is not None:
            return self.tolerance
        return 0.01 if columns <= FEW_DIMENSIONS else 0.05

    def choose_precision(self, columns: int, device: torch.device) -> str:
        """Return the precision of the matrix products of a fit with so many coordinates."""
        if self.precision != "auto":
            return self.precision
        return fastest_precision(device) if columns >= ROUGH_DIMENSIONS else "float32"


class SemidualFit:
    """Trainee of `otcal.runtime.training.fit`.

    Parameters
    ----------
    source, target
        Training points u and v, shapes (n, r) and (m, r), float32, on the device of the fit; the
        last `conditions` columns are conditions.
    held_out
        Validation samples.
    spread
        Spread of each column, shape (r,).
    options
        Settings.
    schedule
        Length of the fit and learning rates.
    seed
        Seed of the potential and of the batches.
    initial
        Potential to start from, of any width; default one whose gradient is the identity.
    scratch
        Directory for a temporary file with the conjugate points; None: they are in memory.
    """

    def __init__(
        self,
        source: Tensor,
        target: Tensor,
        held_out: HeldOut,
        spread: Tensor,
        options: SemidualOptions,
        schedule: Schedule,
        seed: int,
        initial: Network | None = None,
        conditions: int = 0,
        scratch: Path | None = None,
    ) -> None:
        self.source, self.target, self.held_out = source, target, held_out
        self.options, self.schedule, self.seed, self.spread = options, schedule, seed, spread
        self.conditions = conditions
        self.tolerance = options.residual(source.shape[1])
        self.points = copy_rows(target, scratch)  # conjugate point of every target point
        # Of a conjugation, at first: a potential that was fitted before is not crude.
        self.iterations = FIRST_ITERATIONS if initial is None else options.iterations
        if initial is None:
            self.potential = self._at_identity()
        else:
            self.potential = copy.deepcopy(initial).train().requires_grad_(True)
            found = conjugate(initial, target, self.points, tolerance=self.tolerance)
            self.points = found.points
        self.average = copy.deepcopy(self.potential)
        precision = options.choose_precision(source.shape[1], source.device)
        self.block = 1
        if precision != "float32":
            self.block = BLOCK
            whole = self.potential
            convex = whole.network if isinstance(whole, ConditionalPotential) else whole
            convex.products = getattr(torch, precision)
        self.optimiser = Adam(
            self.potential.parameters(), options.learning_rate, betas=(0.9, 0.99), fused=True
        )
        self.batches = {
            side: Batches(points, size, derive(seed, side))
            for side, points, size in (
                ("source", source, SOURCE * options.batch),
                ("target", target, options.batch),
            )
        }
        self.balance = {"source": Balance(source), "target": Balance(target)}

    def _at_identity(self) -> Network:
        options, dimension = self.options, self.source.shape[1] - self.conditions
        spread = self.spread[:dimension]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(self.seed, "potential"))
            scales = spread.clamp_min(SMALLEST_SCALE) ** options.damping
            scales /= (scales * spread).square().mean().sqrt().clamp_min(SMALLEST_SCALE)
            settings: dict[str, Any] = {
                "hidden": options.units(dimension),
                "scales": scales,
                "pieces": options.pieces,
                "squares": min(options.squares, 16 * dimension) if options.pieces else 0,
            }
            network: Network = ConvexPotential(dimension, **settings)
            if self.conditions:
                columns = self.source.shape[1]
                network = ConditionalPotential(columns, self.conditions, **settings)
        potential = network.to(self.source.device)
        potential.start_at_identity(self.source[:4096])
        return potential

    def step(self, number: int) -> Mapping[str, float]:
        """Do one descent step; return the share of target points whose conjugation failed."""
        options = self.options
        rate = self.schedule.rate(number)
        for group in self.optimiser.param_groups:
            group["lr"] = options.learning_rate * rate
        rows = self.batches["target"].rows(number)
        u = self.source.index_select(0, self.batches["source"].rows(number))
        v = self.target.index_select(0, rows)
        if options.noise:
            u, v = self._smear(u, number, 0), self._smear(v, number, 1)
        found = conjugate(
            self.potential,
            v,
            self.points.index_select(0, rows),
            tolerance=self.tolerance,
            max_iterations=min(options.iterations, self.iterations + number // PERIOD),
            block=self.block,
            extrapolate=True,
        )
        self.points.index_copy_(0, rows, found.points)
        # A point far from its conjugate would pull with a wrong gradient: it sits this step out.
        usable = (found.residual <= 5.0 * self.tolerance * math.sqrt(u.shape[1])).float()
        weights = torch.cat(
            [self.balance["source"].weights(u), -self.balance["target"].weights(v, usable)]
        )
        points = torch.cat([u, found.points])
        if isinstance(self.potential, ConditionalPotential):
            # Only differences at equal conditions mean something.
            points = torch.cat([points, self.potential.origin(points)])
            weights = torch.cat([weights, -weights])
        self.optimiser.zero_grad(set_to_none=True)
        self.potential.accumulate(points, weights)
        clip_grad_norm_(self.potential.parameters(), 1.0)
        self.optimiser.step()
        self._update_average(rate * (number + 1))
        return {"conjugate_failed": 1.0 - float(usable.mean())}

    def evaluate(self) -> Mapping[str, float]:
        """Return the held-out figures of the averaged potential.

        Raises
        ------
        FloatingPointError
            When the dual value is far above those of the Gaussian map and of the start, or NaN.
        """
        figures = self.held_out.semidual(self.average)
        if not figures["dual"] < self.held_out.identity + 0.25 * self.source.shape[1]:
            raise FloatingPointError(f"the fit diverged: dual value {figures['dual']:.3g}")
        self.schedule.observe(figures["dual"])
        return figures

    def weights(self) -> dict[str, Tensor]:
        """Return the averaged potential's weights."""
        return self.average.state_dict()

    def state(self) -> Tree:
        """Return everything that decides the rest of the fit."""
        return {
            "potential": self.potential.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "points": self.points,
            "held_out": self.held_out.points,
            "schedule": self.schedule.state(),
        }

    def restore(self, state: Tree) -> None:
        """Put back what `state` returned."""
        self.potential.load_state_dict(state["potential"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.points.copy_(state["points"])
        self.held_out.points = state["held_out"].to(self.target)
        self.schedule.restore(state["schedule"])

    def _smear(self, points: Tensor, number: int, side: int) -> Tensor:
        generator = torch.Generator().manual_seed(derive(self.seed, "noise", number, side))
        noise = torch.randn(points.shape, generator=generator).to(points)
        width = self.options.noise * self.spread
        width[len(width) - self.conditions :] = 0.0
        return points + width * noise

    @torch.no_grad()
    def _update_average(self, steps: float) -> None:
        share = 1.0 / (1.0 + self.options.averaging * steps)
        pairs = zip(self.average.parameters(), self.potential.parameters(), strict=True)
        for mean, parameter in pairs:
            mean.lerp_(parameter, share)
