"""A transport problem made ready for a solver: checked samples, coordinates, held-out points."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from otcal.runtime.errors import InputError
from otcal.runtime.scratch import PIECE, empty
from otcal.runtime.seeds import numpy_generator
from otcal.transport import conditions as conditioning
from otcal.transport.coordinates import Coordinates, precondition, standardise
from otcal.transport.fitted import TransportMap
from otcal.transport.gaussian import fit_gaussian
from otcal.transport.heldout import LARGEST, HeldOut, Reference
from otcal.transport.potentials import QuadraticPotential
from otcal.transport.rows import pieces, spread

FEWEST = 10
"""Points which a sample must have."""

Samples = NDArray[np.floating]


@dataclass(frozen=True)
class Conditioned:
    """Source and target points, shapes (n, d) and (m, d), and conditions, (n, k) and (m, k)."""

    points: tuple[Samples, Samples]
    conditions: tuple[Samples, Samples] | None = None


@dataclass(frozen=True)
class Problem:
    """Samples in the coordinates of a fit.

    Attributes
    ----------
    coordinates
        The change of coordinates.
    gaussian
        The Gaussian map, in coordinates where it is the identity; these are `coordinates` when the
        problem is preconditioned.
    source, target
        Training points u and v, shapes (n, r) and (m, r), float32.
    held_out
        Held-out points.
    shrinkage
        Shrinkage of the covariances' differences (`otcal.transport.gaussian.GaussianMap`).
    matched
        Figures of `otcal.transport.conditions.match`, where there are conditions.
    """

    coordinates: Coordinates
    gaussian: TransportMap
    source: Tensor
    target: Tensor
    held_out: HeldOut
    shrinkage: float
    matched: dict[str, float] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """Return sizes and regularisation, JSON-ready."""
        return {
            "points": {
                "source": len(self.source),
                "target": len(self.target),
                "held_out_source": len(self.held_out.source),
                "held_out_target": len(self.held_out.target),
            },
            "dimension": len(self.coordinates.source_mean) - self.coordinates.conditions,
            "rank": self.coordinates.rank,
            "conditions": self.coordinates.conditions,
            **({"conditions_matched": self.matched} if self.matched else {}),
            "preconditioned": self.held_out.reference is None,
            "covariance_shrinkage": self.shrinkage,
        }

    def fingerprint(self) -> list[float]:
        """Return numbers that tell this problem from another one."""
        sums = [
            sum(float(piece.double().abs().sum()) for piece in points.split(PIECE))
            for points in (self.source, self.target)
        ]
        return [*map(float, self.source.shape), *map(float, self.target.shape), *sums]


def prepare(
    samples: Conditioned,
    validation: Conditioned | None,
    *,
    in_spreads: bool,
    preconditioned: bool,
    seed: int,
    place: torch.device,
    initial: TransportMap | None = None,
    scratch: Path | None = None,
) -> Problem:
    """Check the samples, hold some out, and change coordinates.

    The parameters and errors are those of `otcal.transport.api.fit_map`. A warm start keeps the
    coordinates of its map, whatever the new samples' moments: with any symmetric A and any anchors,
    ⟨u, v⟩ differs from ⟨x, y⟩ by a factor and by terms of x or y alone, which do not move the
    optimum. `otcal.transport.coordinates` chooses them for conditioning only.
    """
    source, target = _checked(samples, "")
    if validation is None:
        source, source_held = _hold_out(source, "source", seed)
        target, target_held = _hold_out(target, "target", seed)
    else:
        source_held, target_held = _checked(validation, " validation")
    d = samples.points[0].shape[1]
    for name, sample in (("target", target), ("validation", source_held)):
        _same_columns(name, sample, source, d)
    matched: dict[str, float] = {}
    if source.shape[1] > d:
        rows, matched = conditioning.match(source[:, d:], target[:, d:], seed)
        source = source[rows]
        source_held = source_held[
            conditioning.match(source_held[:, d:], target_held[:, d:], seed)[0]
        ]
    principal, plain, shrinkage = _coordinates(source, target, d, in_spreads)
    if initial is not None:
        coordinates = initial.coordinates
    else:
        coordinates = principal if preconditioned else plain

    def encode(points: Samples, side: str) -> Tensor:
        function = coordinates.encode_source if side == "source" else coordinates.encode_target
        result = empty((len(points), coordinates.columns), place, scratch)
        for piece, rows in zip(pieces(points), result.split(PIECE), strict=True):
            rows.copy_(function(_tensor(piece)))
        return result

    held = encode(source_held, "source"), encode(target_held, "target")
    if initial is not None:
        held_out = HeldOut(*held, coordinates.spread.to(place), start=initial.potentials[0])
    else:
        reference = None
        if not preconditioned:
            tensors = _tensor(source_held[:LARGEST]), _tensor(target_held[:LARGEST])
            reference = _reference(principal, coordinates, *tensors, place)
        held_out = HeldOut(*held, principal.spread.to(place), reference)
    identity = QuadraticPotential(principal.columns)
    return Problem(
        coordinates.to(place),
        TransportMap(principal, [identity]).to(place),
        encode(source, "source"),
        encode(target, "target"),
        held_out,
        shrinkage,
        matched,
    )


def gaussian_of_all(
    source: Samples, target: Samples, *, in_spreads: bool, place: torch.device
) -> TransportMap:
    """Return the Gaussian map of two whole samples, which `prepare` has checked."""
    principal, _, _ = _coordinates(source, target, source.shape[1], in_spreads)
    return TransportMap(principal, [QuadraticPotential(principal.columns)]).to(place)


def _coordinates(
    source: Samples, target: Samples, d: int, in_spreads: bool
) -> tuple[Coordinates, Coordinates, float]:
    """Return principal and standardised coordinates of rows (x, c), and the shrinkage."""
    k = source.shape[1] - d
    x, y = source[:, :d], target[:, :d]
    if k:
        scale = conditioning.scale(target[:, d:])
        first, second = (conditioning.slopes(rows, d, scale) for rows in (source, target))
        x = conditioning.without_line(source, d, scale, first)
        y = conditioning.without_line(target, d, scale, second)
    scatter = _spread(x, y)
    unit = np.where(scatter > 0, scatter, 1.0) if in_spreads else np.ones(d)
    gaussian = fit_gaussian(x, y, unit)
    principal, plain = precondition(gaussian, unit), standardise(gaussian, unit, scatter)
    if k:
        principal = conditioning.extend(principal, scale, first, second)
        plain = conditioning.extend(plain, scale, first, second)
    return principal, plain, gaussian.shrinkage


def _reference(
    principal: Coordinates, coordinates: Coordinates, x: Tensor, y: Tensor, place: torch.device
) -> Reference:
    """Return the Gaussian map of `principal`, seen in other coordinates, on held-out points."""
    moved = principal.decode_target(principal.encode_source(x), x)
    back = principal.decode_source(principal.encode_target(y), y)
    tensors = (
        coordinates.encode_target(moved),
        coordinates.encode_source(back),
        coordinates.encode_source(principal.source_mean[None]).squeeze(0),
        coordinates.encode_target(principal.target_mean[None]).squeeze(0),
        coordinates.target_out @ principal.target_in,
    )
    return Reference(*(tensor.to(place) for tensor in tensors))


def _tensor(points: Samples) -> Tensor:
    return torch.from_numpy(points.astype(np.float32))


def _checked(samples: Conditioned, kind: str) -> tuple[Samples, Samples]:
    """Return rows (x, c) of source and target."""
    sides = ("source", "target")
    points = [_finite(x, f"{side}{kind}") for x, side in zip(samples.points, sides, strict=True)]
    if samples.conditions is None:
        return points[0], points[1]
    joined = []
    for x, c, side in zip(points, samples.conditions, sides, strict=True):
        name = f"{side}{kind} conditions"
        c = _finite(c, name)
        if len(c) != len(x):
            raise InputError(
                "fit_map", name, f"have {len(c)} rows, the points {len(x)}", "Give one for each"
            )
        joined.append(np.concatenate([x, c], axis=1))
    return joined[0], joined[1]


def _same_columns(name: str, sample: Samples, source: Samples, d: int) -> None:
    """Check that a sample has the source's columns, conditions included."""
    if sample.shape[1] != source.shape[1]:
        k = source.shape[1] - d
        raise InputError(
            "fit_map",
            name,
            f"has {sample.shape[1] - k} features, the source {d}"
            if not k
            else f"has {sample.shape[1]} features and conditions, the source {d} + {k}",
            "Give samples of the same features",
        )


def _finite(sample: Samples, name: str) -> Samples:
    sample = np.asarray(sample)
    if sample.ndim != 2 or sample.shape[1] == 0:
        raise InputError("fit_map", name, f"has shape {sample.shape}", "Give an array (n, d)")
    if len(sample) < FEWEST:
        raise InputError(
            "fit_map", name, f"has only {len(sample)} points", f"Give at least {FEWEST}"
        )
    bad = sum(int((~np.isfinite(piece)).any(axis=1).sum()) for piece in pieces(sample))
    if bad:
        raise InputError(
            "fit_map",
            name,
            f"has NaN or infinite values in {bad} of {len(sample)} points",
            "Drop these points",
        )
    return sample


def _hold_out(sample: Samples, name: str, seed: int) -> tuple[Samples, Samples]:
    order = numpy_generator(seed, "held out", name).permutation(len(sample))
    count = min(max(2, len(sample) // 10), LARGEST)
    return sample[order[count:]], sample[order[:count]]


def _spread(source: Samples, target: Samples) -> NDArray[np.float64]:
    """Return the target's spread of each feature; the source's where the target is constant."""
    scatter = spread(target)
    return scatter if (scatter > 0).all() else np.where(scatter > 0, scatter, spread(source))
