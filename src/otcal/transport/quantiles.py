"""One dimension: the optimal map matches quantiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from otcal.transport.potentials import Potential

PER_KNOT = 20
"""Order statistics of a knot, on average, in small samples."""

MOST_KNOTS = 128
"""Knots in large ones: more of them follow the sample."""


class QuantilePotential(Potential):
    """A convex function of one variable whose derivative interpolates between knots linearly.

    Parameters
    ----------
    dimension
        1.
    knots
        Number of knots.
    floor
        Smallest slope of the map.
    """

    places: Tensor
    heights: Tensor
    slopes: Tensor
    areas: Tensor

    def __init__(self, dimension: int, knots: int, floor: float = 1e-4) -> None:
        super().__init__(dimension)
        self.floor = floor
        for name in ("places", "heights", "areas"):
            self.register_buffer(name, torch.zeros(knots))
        # Beyond the outer knots the map goes on with slopes of its own.
        self.register_buffer("slopes", torch.ones(knots + 1))

    def architecture(self) -> dict[str, Any]:
        """Return the constructor's arguments, for saving."""
        return {"dimension": self.dimension, "knots": len(self.places), "floor": self.floor}

    def strong_convexity(self) -> float:
        """Return the smallest slope."""
        return float(self.slopes.min())

    def forward(self, u: Tensor) -> Tensor:
        """Return φ(u), shape (n,), differentiable in u."""
        value, _ = self._evaluate(u[:, 0])
        return value

    @torch.no_grad()
    def value_and_gradient(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return φ(u), shape (n,), and φ'(u), shape (n, 1)."""
        value, height = self._evaluate(u[:, 0].contiguous())
        return value, height[:, None]

    def _evaluate(self, u: Tensor) -> tuple[Tensor, Tensor]:
        right = torch.searchsorted(self.places, u)
        knot = (right - 1).clamp_min(0)
        slope, step = self.slopes[right], u - self.places[knot]
        height = self.heights[knot] + slope * step
        return self.areas[knot] + step * (self.heights[knot] + 0.5 * slope * step), height


def match_quantiles(source: Tensor, target: Tensor) -> QuantilePotential:
    """Return the potential that takes quantiles of the source to those of the target.

    Knots are means over neighbouring order statistics: many in the middle, few towards the ends,
    where the density is small and the map may be steep.

    Parameters
    ----------
    source, target
        Samples, shapes (n, 1) and (m, 1).
    """
    size = min(len(source), len(target))
    levels = _levels(size, int(np.clip(size // PER_KNOT, 2, MOST_KNOTS)))
    u, v = (_means(np.sort(z.cpu().numpy()[:, 0].astype(float)), levels) for z in (source, target))
    keep = np.concatenate([[True], np.diff(u) > 1e-6 * max(np.ptp(u), 1e-12)])
    u, v = u[keep], v[keep]
    potential = QuantilePotential(1, len(u))
    inner = np.diff(v) / np.diff(u) if len(u) > 1 else np.ones(0)
    slopes = np.maximum(np.concatenate([inner[:1], inner, inner[-1:]]), potential.floor)
    if len(u) == 1:
        slopes = np.ones(2)
    heights = v[0] + np.concatenate([[0.0], np.cumsum(slopes[1:-1] * np.diff(u))])
    areas = np.concatenate([[0.0], np.cumsum(0.5 * (heights[1:] + heights[:-1]) * np.diff(u))])
    for name, values in (("places", u), ("heights", heights), ("slopes", slopes), ("areas", areas)):
        getattr(potential, name).copy_(torch.from_numpy(values))
    return potential.to(source.device)


def _levels(size: int, knots: int) -> NDArray[np.float64]:
    """Return the edges of the groups of order statistics, as shares of the sample."""
    # sin² spaces them evenly in the middle and densely at the ends, down to a few points each.
    edges = np.sin(0.5 * np.pi * np.linspace(0.0, 1.0, knots + 1)) ** 2
    fewest = min(8.0 / size, 0.5 / knots)
    edges[1:-1] = np.clip(edges[1:-1], fewest, 1.0 - fewest)
    return np.unique(edges)


def _means(ordered: NDArray[np.float64], levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the means of the quantile function between levels, exact for any size."""
    place = levels * len(ordered)
    cumulative = np.concatenate([[0.0], np.cumsum(ordered)])
    integral = np.interp(place, np.arange(len(ordered) + 1), cumulative)
    return np.diff(integral) / np.diff(place)
