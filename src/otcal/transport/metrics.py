"""Figures of merit between two samples, and of a map against a known one."""

from __future__ import annotations

from dataclasses import dataclass

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


def energy_distance(x: Tensor, y: Tensor) -> float:
    """Return the energy distance of samples (n, d) and (m, d), see `Energy`."""
    return energy(x, y).value


@torch.no_grad()
def energy(x: Tensor, y: Tensor) -> Energy:
    """Return the energy distance of samples (n, d) and (m, d), with its influence functions."""
    between = torch.cdist(x, y)
    within_x = torch.cdist(x, x).sum(1) / max(1, len(x) - 1)
    within_y = torch.cdist(y, y).sum(1) / max(1, len(y) - 1)
    value = 2.0 * between.mean() - within_x.mean() - within_y.mean()
    return Energy(
        float(value),
        2.0 * (between.mean(1) - within_x),
        2.0 * (between.mean(0) - within_y),
    )


@torch.no_grad()
def sliced_wasserstein(x: Tensor, y: Tensor, directions: int = 256, seed: int = 0) -> float:
    """Return the sliced 2-Wasserstein distance (root of the mean square over directions).

    Parameters
    ----------
    x, y
        Samples, shapes (n, d) and (m, d).
    directions
        Random directions on the unit sphere.
    seed
        Seed of the directions, so that figures of one fit can be compared.
    """
    generator = torch.Generator().manual_seed(seed)
    axes = torch.randn(x.shape[1], directions, generator=generator).to(x)
    axes /= axes.norm(dim=0).clamp_min(1e-12)
    first, second = (_quantiles(z @ axes) for z in (x, y))
    return float((first - second).square().mean().sqrt())


def l2_uvp(predicted: Tensor, exact: Tensor) -> float:
    """Return 100 · E|T̂(x) − T(x)|² / Var(T(x)) in percent (Korotin et al., arXiv:2106.01954)."""
    variance = exact.var(0, correction=0).sum()
    return float(100.0 * (predicted - exact).square().sum(1).mean() / variance)


def _quantiles(z: Tensor, count: int = 512) -> Tensor:
    """Return the quantiles (k + ½)/count of every column, shape (count, columns).

    `torch.quantile` refuses more than 16 million elements.
    """
    place = (torch.arange(count, device=z.device) + 0.5) / count * (len(z) - 1)
    below = place.long()
    ordered = z.sort(dim=0).values
    above = ordered[(below + 1).clamp_max(len(z) - 1)]
    return torch.lerp(ordered[below], above, (place - below)[:, None].to(z))
