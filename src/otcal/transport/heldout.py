"""Held-out figures of a map: what early stopping and selection go by."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from otcal.transport.conjugate import conjugate
from otcal.transport.metrics import DistanceTo, Energy
from otcal.transport.potentials import Potential

LARGEST = 4096
"""Held-out points used per side: distances are computed between all pairs."""

RESOLUTION = 0.01
"""Relative spread below which a direction isn't stretched any further when it is compared."""


@dataclass(frozen=True)
class Reference:
    """The Gaussian map in coordinates where it isn't the identity.

    Attributes
    ----------
    moved, back
        T(u) and T⁻¹(v) of the held-out points, shapes (n, r) and (m, r).
    source_mean, target_mean
        The means which T takes to each other, shape (r,).
    axes
        Takes v to principal axes, shape (r, p).
    """

    moved: Tensor
    back: Tensor
    source_mean: Tensor
    target_mean: Tensor
    axes: Tensor

    def potential(self, u: Tensor) -> Tensor:
        """Return φ(u) of the held-out u, shape (n,), where T = ∇φ."""
        quadratic = ((u - self.source_mean) * (self.moved - self.target_mean)).sum(1)
        return 0.5 * quadratic + u @ self.target_mean

    def conjugate(self, v: Tensor) -> Tensor:
        """Return φ*(v) of the held-out v, shape (m,)."""
        place = v - self.target_mean
        return 0.5 * ((self.back - self.source_mean) * place).sum(1) + place @ self.source_mean


class HeldOut:
    """Held-out samples in the coordinates of a fit, and the figures of maps on them.

    Distances between samples are taken after every principal direction has been scaled to unit
    spread (down to `RESOLUTION`): a classifier which standardises its inputs sees it like this,
    whereas the transport cost hardly notices what happens in narrow directions.

    Parameters
    ----------
    source, target
        Samples u and v, shapes (n, r) and (m, r).
    spread
        Spread of each principal direction, shape (r,) or (p,).
    reference
        The Gaussian map, of the first `LARGEST` points; None where it is the identity and the
        coordinates are principal axes.
    start
        Potential of the map that gains in distance are measured from; None: the Gaussian map.

    Attributes
    ----------
    identity
        Dual value of the identity (see `semidual`): 0 where it is the Gaussian map.
    """

    def __init__(
        self,
        source: Tensor,
        target: Tensor,
        spread: Tensor,
        reference: Reference | None = None,
        start: Potential | None = None,
    ) -> None:
        self.source, self.target = source[:LARGEST], target[:LARGEST]
        self.points = self.target.clone()  # warm start of the conjugation
        self.unit = spread.clamp_min(RESOLUTION)
        self.reference = reference
        self.moved = self.source if reference is None else reference.moved
        self.distance = DistanceTo(self.principal(self.target))
        # Gains are measured from these points, whose distance is kept.
        self.begun = self.moved if start is None else start.value_and_gradient(self.source)[1]
        self.first = self.energy(self.begun)
        half, half_conjugate = (0.5 * z.square().sum(1) for z in (self.source, self.target))
        self.potential = half if reference is None else reference.potential(self.source)
        self.conjugate = half_conjugate if reference is None else reference.conjugate(self.target)
        excess = (half - self.potential).mean() + (half_conjugate - self.conjugate).mean()
        self.identity = float(excess)

    def head(self, count: int) -> HeldOut:
        """Return the first points of both samples as held-out points of their own."""
        part = copy.copy(self)
        for name in ("source", "moved", "begun", "potential", "target", "points", "conjugate"):
            setattr(part, name, getattr(self, name)[:count])
        part.distance = DistanceTo(part.principal(part.target))
        part.first = part.energy(part.begun)
        return part

    def energy(self, moved: Tensor) -> Energy:
        """Return the energy distance of transported source points to the target."""
        return self.distance.energy(self.principal(moved))

    def baseline(self) -> dict[str, float]:
        """Return the figures of the Gaussian map, whose dual value is the origin."""
        figures = self.figures(self.moved)
        return {**figures, "dual": 0.0, "dual_error": 0.0, "conjugate_converged": 1.0}

    def figures(self, moved: Tensor) -> dict[str, float]:
        """Return distances to the target of the transported source, shape (n, r).

        ``energy_gain`` is the energy distance minus that of the baseline, mostly the Gaussian map
        (negative is better), ``energy_error`` the standard error of this paired difference.
        """
        distance = self.first if moved is self.begun else self.energy(moved)
        gain, error = distance.minus(self.first)
        return {
            "energy": distance.value,
            "energy_gain": gain,
            "energy_error": error,
            "sliced_w2": self.distance.sliced_wasserstein(self.principal(moved)),
        }

    def composed(self, potentials: Sequence[Potential]) -> dict[str, float]:
        """Return the figures of a map which composes the gradients of several potentials."""
        moved = self.source
        for potential in potentials:
            moved = potential.value_and_gradient(moved)[1]
        return self.figures(moved)

    def semidual(self, potential: Potential) -> dict[str, float]:
        """Return the figures of the gradient of one potential, with its dual value.

        ``dual`` is E φ(u) + E φ*(v) minus the same of the Gaussian map's potential, which is |u|²/2
        where that map is the identity. The optimal potential minimises it; on fresh samples it is
        an honest estimate. ``dual_error`` is its standard error. φ* is bounded from above by the
        certificate of its conjugate point, so unfinished conjugation can't flatter a map.
        """
        value, moved = potential.value_and_gradient(self.source)
        found = conjugate(potential, self.target, self.points)
        self.points = found.points
        excess = 0.5 * found.residual * found.error_bound
        # φ is known up to a function of the conditions alone.
        source = value - self.potential - potential.level(self.source)
        target = found.value + excess - self.conjugate + potential.level(self.target)
        error = (source.var() / len(source) + target.var() / len(target)).sqrt()
        return {
            **self.figures(moved),
            "dual": float(source.mean() + target.mean()),
            "dual_error": float(error),
            "conjugate_converged": float(found.converged.float().mean()),
        }

    def principal(self, v: Tensor) -> Tensor:
        """Return v along principal directions, scaled to unit spread."""
        return (v if self.reference is None else v @ self.reference.axes) / self.unit


def better_than_gaussian(figures: Mapping[str, float]) -> tuple[bool, str]:
    """Decide whether a candidate replaces the Gaussian map, and say why.

    The gains in energy distance and (where there is one) dual value are added in units of their
    standard errors; the candidate wins when the sum is below −2. A tie goes to the Gaussian map,
    which has no free choices.
    """
    gain, error = figures["energy_gain"], figures["energy_error"]
    total = gain / max(error, 1e-12)
    reason = f"held-out energy distance {gain:+.3g} ± {error:.2g} from the Gaussian map's"
    if "dual" in figures:
        dual, error = figures["dual"], figures["dual_error"]
        total += dual / max(error, 1e-12)
        reason += f", dual value {dual:+.3g} ± {error:.2g}"
    return total < -2.0, reason
