"""Held-out figures of a map: what early stopping and selection go by."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from otcal.transport.conjugate import conjugate
from otcal.transport.metrics import Energy, energy, sliced_wasserstein
from otcal.transport.potentials import Potential

LARGEST = 4096
"""Held-out points used per side: distances are computed between all pairs."""

RESOLUTION = 0.01
"""Relative spread below which a direction isn't stretched any further when it is compared."""


class HeldOut:
    """Held-out samples in well-conditioned coordinates, and the figures of maps on them.

    Distances between samples are taken after every principal direction has been scaled to unit
    spread (down to `RESOLUTION`): a classifier which standardises its inputs sees it like this,
    whereas the transport cost hardly notices what happens in narrow directions.

    Parameters
    ----------
    source, target
        Samples u and v, shapes (n, r) and (m, r).
    spread
        Spread of each coordinate, shape (r,).
    baseline
        Potential of the map that gains are measured from; default the identity, that is the
        Gaussian map.
    """

    def __init__(
        self, source: Tensor, target: Tensor, spread: Tensor, baseline: Potential | None = None
    ) -> None:
        self.source, self.target = source[:LARGEST], target[:LARGEST]
        self.points = self.target.clone()  # warm start of the conjugation
        self.unit = spread.clamp_min(RESOLUTION)
        moved = self.source if baseline is None else baseline.value_and_gradient(self.source)[1]
        self.baseline = self.energy(moved)

    def energy(self, moved: Tensor) -> Energy:
        """Return the energy distance of transported source points to the target."""
        return energy(moved / self.unit, self.target / self.unit)

    def figures(self, moved: Tensor) -> dict[str, float]:
        """Return distances to the target of the transported source, shape (n, r).

        ``energy_gain`` is the energy distance minus that of the baseline, mostly the Gaussian map
        (negative is better), ``energy_error`` the standard error of this paired difference.
        """
        distance = self.energy(moved)
        gain, error = distance.minus(self.baseline)
        return {
            "energy": distance.value,
            "energy_gain": gain,
            "energy_error": error,
            "sliced_w2": sliced_wasserstein(moved / self.unit, self.target / self.unit),
        }

    def composed(self, potentials: Sequence[Potential]) -> dict[str, float]:
        """Return the figures of a map which composes the gradients of several potentials."""
        moved = self.source
        for potential in potentials:
            moved = potential.value_and_gradient(moved)[1]
        return self.figures(moved)

    def semidual(self, potential: Potential) -> dict[str, float]:
        """Return the figures of the gradient of one potential, with its dual value.

        ``dual`` is E φ(u) + E φ*(v) − E |u|²/2 − E |v|²/2. The optimal potential minimises it and 0
        is the Gaussian map's value; on fresh samples it is an honest estimate. ``dual_error`` is
        its standard error. φ* is bounded from above by the certificate of its conjugate point, so
        unfinished conjugation can't flatter a map.
        """
        value, moved = potential.value_and_gradient(self.source)
        found = conjugate(potential, self.target, self.points)
        self.points = found.points
        excess = 0.5 * found.residual * found.error_bound
        source = value - 0.5 * self.source.square().sum(1)
        target = found.value + excess - 0.5 * self.target.square().sum(1)
        error = (source.var() / len(source) + target.var() / len(target)).sqrt()
        return {
            **self.figures(moved),
            "dual": float(source.mean() + target.mean()),
            "dual_error": float(error),
            "conjugate_converged": float(found.converged.float().mean()),
        }


def better_than_gaussian(figures: dict[str, float]) -> tuple[bool, str]:
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
