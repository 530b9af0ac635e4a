"""A transport problem made ready for a solver: checked samples, coordinates, held-out points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from otcal.runtime.errors import InputError
from otcal.runtime.seeds import numpy_generator
from otcal.transport.coordinates import Coordinates, precondition
from otcal.transport.fitted import TransportMap
from otcal.transport.gaussian import fit_gaussian
from otcal.transport.heldout import HeldOut
from otcal.transport.potentials import Potential

FEWEST = 10
"""Points which a sample must have."""

Samples = NDArray[np.floating]


@dataclass(frozen=True)
class Problem:
    """Samples in well-conditioned coordinates.

    Attributes
    ----------
    coordinates
        The change of coordinates.
    source, target
        Training points u and v, shapes (n, r) and (m, r), float32.
    held_out
        Held-out points.
    shrinkage
        Shrinkage of the two covariances.
    """

    coordinates: Coordinates
    source: Tensor
    target: Tensor
    held_out: HeldOut
    shrinkage: tuple[float, float]

    def describe(self) -> dict[str, Any]:
        """Return sizes and regularisation, JSON-ready."""
        return {
            "points": {
                "source": len(self.source),
                "target": len(self.target),
                "held_out_source": len(self.held_out.source),
                "held_out_target": len(self.held_out.target),
            },
            "dimension": len(self.coordinates.source_mean),
            "rank": self.coordinates.rank,
            "covariance_shrinkage": list(self.shrinkage),
        }

    def fingerprint(self) -> list[float]:
        """Return numbers that tell this problem from another one."""
        sums = [float(points.double().abs().sum()) for points in (self.source, self.target)]
        return [*map(float, self.source.shape), *map(float, self.target.shape), *sums]

    def displacement(self, potentials: Sequence[Potential]) -> dict[str, float]:
        """Return quantiles of |T(x) − x| on held-out source points, in the features' units."""
        place = self.held_out.source
        anchor = self.coordinates.source_mean.expand(len(place), -1)
        x = self.coordinates.decode_source(place, self.coordinates.target_mean.expand_as(anchor))
        moved = TransportMap(self.coordinates, potentials).transport(x)
        length = (moved - x).norm(dim=1)
        return {f"q{int(100 * q)}": float(torch.quantile(length, q)) for q in (0.05, 0.5, 0.95)}


def prepare(
    source: Samples,
    target: Samples,
    validation: tuple[Samples, Samples] | None,
    standardise: bool,
    seed: int,
    place: torch.device,
    initial: TransportMap | None = None,
) -> Problem:
    """Check the samples, hold some out, and change to well-conditioned coordinates.

    The parameters and errors are those of `otcal.transport.api.fit_map`. A warm start keeps the
    coordinates of its map, whatever the new samples' moments: with any symmetric A and any anchors,
    ⟨u, v⟩ differs from ⟨x, y⟩ by a factor and by terms of x or y alone, which do not move the
    optimum. `otcal.transport.coordinates` chooses them for conditioning only.
    """
    source, target = _checked(source, "source"), _checked(target, "target")
    if validation is None:
        source, source_held = _hold_out(source, "source", seed)
        target, target_held = _hold_out(target, "target", seed)
    else:
        source_held = _checked(validation[0], "source validation")
        target_held = _checked(validation[1], "target validation")
    for name, sample in (("target", target), ("validation", source_held)):
        if sample.shape[1] != source.shape[1]:
            raise InputError(
                "fit_map",
                name,
                f"has {sample.shape[1]} features, the source {source.shape[1]}",
                "Give samples of the same features",
            )
    unit = _unit(source, target) if standardise else np.ones(source.shape[1])
    gaussian = fit_gaussian(source / unit, target / unit)
    coordinates = precondition(gaussian, unit) if initial is None else initial.coordinates

    def encode(points: Samples, side: str) -> Tensor:
        tensor = torch.from_numpy(points.astype(np.float32))
        function = coordinates.encode_source if side == "source" else coordinates.encode_target
        return function(tensor).to(place)

    held_out = HeldOut(
        encode(source_held, "source"),
        encode(target_held, "target"),
        coordinates.spread.to(place),
        None if initial is None else initial.potentials[0],
    )
    return Problem(
        coordinates.to(place),
        encode(source, "source"),
        encode(target, "target"),
        held_out,
        gaussian.shrinkage,
    )


def _checked(sample: Samples, name: str) -> Samples:
    sample = np.asarray(sample)
    if sample.ndim != 2 or sample.shape[1] == 0:
        raise InputError("fit_map", name, f"has shape {sample.shape}", "Give an array (n, d)")
    if len(sample) < FEWEST:
        raise InputError(
            "fit_map", name, f"has only {len(sample)} points", f"Give at least {FEWEST}"
        )
    finite = np.isfinite(sample).all(axis=1)
    if not finite.all():
        raise InputError(
            "fit_map",
            name,
            f"has NaN or infinite values in {int((~finite).sum())} of {len(sample)} points",
            "Drop these points",
        )
    return sample


def _hold_out(sample: Samples, name: str, seed: int) -> tuple[Samples, Samples]:
    order = numpy_generator(seed, "held out", name).permutation(len(sample))
    count = min(max(2, len(sample) // 10), 10_000)
    return sample[order[count:]], sample[order[:count]]


def _unit(source: Samples, target: Samples) -> NDArray[np.float64]:
    """Return the target's spread of each feature; the source's or 1 where a feature is constant."""
    unit = target.std(axis=0, dtype=np.float64)
    unit = np.where(unit > 0, unit, source.std(axis=0, dtype=np.float64))
    return np.where(unit > 0, unit, 1.0)
