"""Figures of merit between two samples, and of a map against a known one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Energy:
    """Energy distance of a sample to a reference, with its influence functions.

    Attributes
    ----------
    value
        2 E|X − Y| − E|X − X'| − E|Y − Y'| (Székely & Rizzo, 2013), an unbiased estimate: zero in
        expectation for equal distributions, so a single one can be slightly negative.
    sample, reference
        First-order influence of every point of X, shape (n,), and of Y, shape (m,).
    """

    value: float
    sample: Tensor
    reference: Tensor

    def minus(self, other: Energy) -> tuple[float, float]:
        """Return the difference to another sample of paired points, and its standard error."""
        variance = sum(
            (mine - theirs).var() / len(mine)
            for mine, theirs in ((self.sample, other.sample), (self.reference, other.reference))
        )
        return self.value - other.value, float(torch.as_tensor(variance).sqrt())


class DistanceTo:
    """Distances of samples to one sample, whose own part is computed once.

    Parameters
    ----------
    sample
        Y, shape (m, d).
    directions
        Random directions on the unit sphere, for `sliced_wasserstein`.
    seed
        Their seed: distances are comparable at equal directions.
    """

    def __init__(self, sample: Tensor, directions: int = 256, seed: int = 0) -> None:
        self.sample, self.directions, self.seed = sample, directions, seed

    @torch.no_grad()
    def energy(self, x: Tensor) -> Energy:
        """Return the energy distance of a sample, shape (n, d), with its influence functions."""
        there, back = _distances(x, self.sample)
        there, back = there / len(self.sample), back / len(x)
        within, ours = _mean_distances(x), self._within
        return Energy(
            float(2.0 * there.mean() - within.mean() - ours.mean()),
            2.0 * (there - within),
            2.0 * (back - ours),
        )

    @torch.no_grad()
    def sliced_wasserstein(self, x: Tensor) -> float:
        """Return the sliced 2-Wasserstein distance of a sample, shape (n, d).

        It is the root of the mean square over the directions.
        """
        return float((_quantiles(x @ self._axes) - self._projected).square().mean().sqrt())

    @cached_property
    def _within(self) -> Tensor:
        return _mean_distances(self.sample)

    @cached_property
    def _axes(self) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        axes = torch.randn(self.sample.shape[1], self.directions, generator=generator)
        return (axes / axes.norm(dim=0).clamp_min(1e-12)).to(self.sample)

    @cached_property
    def _projected(self) -> Tensor:
        return _quantiles(self.sample @ self._axes)


def energy_distance(x: Tensor, y: Tensor) -> float:
    """Return the energy distance of samples (n, d) and (m, d), see `Energy`."""
    return energy(x, y).value


def energy(x: Tensor, y: Tensor) -> Energy:
    """Return the energy distance of samples (n, d) and (m, d), with its influence functions."""
    return DistanceTo(y).energy(x)


def sliced_wasserstein(x: Tensor, y: Tensor, directions: int = 256, seed: int = 0) -> float:
    """Return the sliced 2-Wasserstein distance of samples (n, d) and (m, d), see `DistanceTo`."""
    return DistanceTo(y, directions, seed).sliced_wasserstein(x)


def l2_uvp(predicted: Tensor, exact: Tensor) -> float:
    """Return 100 · E|T̂(x) − T(x)|² / Var(T(x)) in percent (Korotin et al., arXiv:2106.01954)."""
    variance = exact.var(0, correction=0).sum()
    return float(100.0 * (predicted - exact).square().sum(1).mean() / variance)


def _mean_distances(x: Tensor) -> Tensor:
    """Return the mean distance of every point of a sample to the others, shape (n,)."""
    return _distances(x, x)[0] / max(1, len(x) - 1)


def _distances(x: Tensor, y: Tensor, size: int = 1024) -> tuple[Tensor, Tensor]:
    """Return the sum of every point's distances to the other sample, shapes (n,) and (m,).

    Distances of `size` points are held at a time: a block that large is memory used before.
    """
    there, back = [], y.new_zeros(len(y))
    for piece in x.split(size):
        distances = torch.cdist(piece, y)
        there.append(distances.sum(1))
        back += distances.sum(0)
    return torch.cat(there), back


def _quantiles(z: Tensor, count: int = 512) -> Tensor:
    """Return the quantiles (k + ½)/count of every column, shape (count, columns).

    `torch.quantile` refuses more than 16 million elements.
    """
    place = (torch.arange(count, device=z.device) + 0.5) / count * (len(z) - 1)
    below = place.long()
    ordered = z.sort(dim=0).values
    above = ordered[(below + 1).clamp_max(len(z) - 1)]
    return torch.lerp(ordered[below], above, (place - below)[:, None].to(z))
