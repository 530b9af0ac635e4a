"""Entropic maps for few dimensions: log-sum-exp potentials from Sinkhorn's algorithm.

With potentials f, g of entropic transport between samples u_i and v_j (cost |u − v|²/2, regular-
isation ε), the map that continues the plan to all u (Pooladian, Niles-Weed, arXiv:2109.12004),

    T(u) = Σ_j v_j exp((⟨u, v_j⟩ − c_j)/ε) / Σ_j exp((⟨u, v_j⟩ − c_j)/ε),   c_j = |v_j|²/2 − g_j,

is the gradient of the convex function ε log Σ_j exp((⟨u, v_j⟩ − c_j)/ε). Its error comes from ε and
from the number of points, which must grow exponentially with the dimension.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from otcal.transport.elementwise import drop_nothing
from otcal.transport.potentials import Potential

LARGEST_DIMENSION = 3
"""Above it, no number of points that fits a computer makes the map good."""

ROWS = 1024
"""Points evaluated at a time: bounds the memory of the point-by-centre matrices."""


class EntropicPotential(Potential):
    """φ(u) = (1 − μ) ε log Σ_j exp((⟨u, v_j⟩ − c_j)/ε) + μ |u|²/2.

    Parameters
    ----------
    dimension
        Number of coordinates d.
    centres
        Number of points v_j.
    epsilon
        ε.
    floor
        μ, the smallest eigenvalue of the Hessian: it makes the map invertible where the entropic
        one is constant, far from all v_j.
    """

    points: Tensor
    offsets: Tensor

    def __init__(self, dimension: int, centres: int, epsilon: float, floor: float = 1e-3) -> None:
        super().__init__(dimension)
        self.epsilon, self.floor = epsilon, floor
        self.register_buffer("points", torch.zeros(centres, dimension))
        self.register_buffer("offsets", torch.zeros(centres))

    def architecture(self) -> dict[str, Any]:
        """Return the constructor's arguments, for saving."""
        return {
            "dimension": self.dimension,
            "centres": len(self.points),
            "epsilon": self.epsilon,
            "floor": self.floor,
        }

    def strong_convexity(self) -> float:
        """Return μ."""
        return self.floor

    def forward(self, u: Tensor) -> Tensor:
        """Return φ(u), shape (n,), differentiable in u."""
        peak = self.epsilon * torch.logsumexp(self._exponents(u), dim=1)
        return (1.0 - self.floor) * peak + 0.5 * self.floor * (u * u).sum(1)

    @torch.no_grad()
    def value_and_gradient(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return φ(u), shape (n,), and ∇φ(u), shape (n, d)."""
        values, gradients = torch.empty(len(u)).to(u), torch.empty_like(u)
        for start in range(0, len(u), ROWS):
            piece = u[start : start + ROWS]
            exponents = self._exponents(piece)
            total = torch.logsumexp(exponents, dim=1, keepdim=True)
            mean = drop_nothing((exponents - total).exp_()) @ self.points
            rest = 0.5 * self.floor * (piece * piece).sum(1)
            share = 1.0 - self.floor
            values[start : start + ROWS] = share * self.epsilon * total.squeeze(1) + rest
            gradients[start : start + ROWS] = share * mean + self.floor * piece
        return values, gradients

    def _exponents(self, u: Tensor) -> Tensor:
        return (u @ self.points.T - self.offsets) / self.epsilon


def entropic_path(
    source: Tensor,
    target: Tensor,
    *,
    points: int = 2048,
    largest: float = 0.07,
    last: float = 2e-3,
    iterations: int = 60,
    tolerance: float = 1e-3,
) -> Iterator[EntropicPotential]:
    """Yield the entropic potentials of a falling series of ε, each started from the one before.

    Parameters
    ----------
    source, target
        Points u and v in random order, shapes (n, d) and (m, d); the first `points` are used.
    largest, last
        First and last ε that is yielded, in units of the coordinates' mean variance. Each is half
        of the one before; the series starts from 1, or from `largest` if that is more.
    iterations
        Sinkhorn iterations per ε at most.
    tolerance
        Mean error of the source's marginal, relative, that ends the iterations.
    """
    u, v = source[:points], target[:points]
    scale = float(v.var(0, correction=0).mean()) or 1.0
    cost = 0.5 * torch.cdist(u, v).square()
    f, g = torch.zeros(len(u)).to(u), torch.zeros(len(v)).to(v)
    relative = max(1.0, largest)
    while relative >= last:
        epsilon = relative * scale
        f, g = _sinkhorn(cost, f, g, epsilon, iterations, tolerance)
        relative *= 0.5
        if epsilon > largest * scale:
            continue
        potential = EntropicPotential(u.shape[1], len(v), epsilon).to(u.device)
        potential.points.copy_(v)
        potential.offsets.copy_(0.5 * (v * v).sum(1) - g)
        yield potential


def _sinkhorn(
    cost: Tensor, f: Tensor, g: Tensor, epsilon: float, iterations: int, tolerance: float
) -> tuple[Tensor, Tensor]:
    """Return the dual potentials: matrix products with a kernel into which they are absorbed.

    Some updates in logarithms bring potentials of another ε to where the factors stay near one, in
    single precision as well; the kernel is then made once.
    """
    n, m = cost.shape
    for _ in range(4):
        g = -epsilon * torch.logsumexp((f[:, None] - cost) / epsilon - math.log(n), dim=0)
        f = -epsilon * torch.logsumexp((g[None, :] - cost) / epsilon - math.log(m), dim=1)
    kernel = drop_nothing(((f[:, None] + g[None, :] - cost) / epsilon).exp_())
    rows, columns = torch.ones_like(f), torch.ones_like(g)
    for _ in range(iterations):
        columns = n / (kernel.T @ rows).clamp_min(1e-30)
        sums = kernel @ columns / m
        error = float((rows * sums - 1.0).abs().mean())
        rows = 1.0 / sums.clamp_min(1e-30)
        if error < tolerance:
            break
    return f + epsilon * rows.log(), g + epsilon * columns.log()
