"""Convex potentials: networks whose gradient is a Brenier map by construction."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Potential(nn.Module, ABC):
    """What the solvers and the fitted map ask of a strongly convex potential φ.

    Parameters
    ----------
    dimension
        Number of coordinates d.
    """

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.dimension = dimension

    @abstractmethod
    def value_and_gradient(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return φ(u) of shape (n,) and ∇φ(u) of shape (n, d), both detached."""

    @abstractmethod
    def strong_convexity(self) -> float:
        """Return a μ > 0 which no Hessian eigenvalue falls below anywhere."""

    @abstractmethod
    def architecture(self) -> dict[str, Any]:
        """Return the constructor's arguments, for saving."""


class _Pass(NamedTuple):
    """Intermediate results of one forward and backward pass through the units."""

    squares: Tensor  # Q u of every unit, (n, H)
    units: list[Tensor]  # z_i of every layer, (n, h_i)
    slopes: Tensor  # ∂φ/∂t of every unit, (n, H)


class QuadraticPotential(Potential):
    """φ(u) = |u|²/2, the potential of the identity (of the Gaussian map, once preconditioned).

    Parameters
    ----------
    dimension
        Number of coordinates d.
    """

    def forward(self, u: Tensor) -> Tensor:
        """Return φ(u), shape (n,)."""
        return 0.5 * (u * u).sum(1)

    @torch.no_grad()
    def value_and_gradient(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return φ(u) and ∇φ(u) = u."""
        return self(u), u.clone()

    def strong_convexity(self) -> float:
        """Return 1, the only eigenvalue of the Hessian."""
        return 1.0

    def architecture(self) -> dict[str, Any]:
        """Return the constructor's arguments, for saving."""
        return {"dimension": self.dimension}


class ConvexPotential(Potential):
    """A potential which is convex in u for every value of its parameters.

    Layers of units with a quadratic skip from the input,

        t_i = W_i z_{i-1} + S_i w + (Q_i w)² + b_i,   z_i = s(t_i),   s(t) = (t + √(t² + 1)) / 2,
        φ(u) = a · z_L + ½ uᵀ diag(c) u + l · w,   w = D u,

    with W_i = V_i² ≥ 0, a = α² ≥ 0 (elementwise squares), c = floor + c₀ exp(D q) > 0; D, c₀ fixed
    and diagonal. Every t_i is a sum of convex functions with non-negative weights and s is convex
    and increasing, so φ is convex; it is strongly convex with μ = min c and its gradient grows
    linearly. The quadratic skip is what lets a small network bend its level sets in a chosen
    direction; without it an input-convex network (Amos et al., arXiv:1609.07152) needs many units
    to turn one ridge into a bowl.

    Gradients in u and in the parameters are written out: the semi-dual needs first derivatives
    only, and they share one pass.

    Parameters
    ----------
    dimension
        Number of coordinates d.
    hidden
        Units of each layer.
    floor
        Smallest eigenvalue which the Hessian can take.
    scales
        D, shape (d,), default 1. Small scales for coordinates of small spread keep what the units
        (and the optimiser's noise) add to the gradient there in proportion to that spread.
    """

    scales: Tensor
    stiffness: Tensor

    def __init__(
        self,
        dimension: int,
        hidden: Sequence[int] = (128, 128),
        floor: float = 1e-3,
        scales: Tensor | None = None,
    ) -> None:
        super().__init__(dimension)
        self.hidden = tuple(hidden)
        self.floor = floor
        total = sum(hidden)
        linear = torch.randn(total, dimension) / math.sqrt(dimension)
        square = torch.randn(total, dimension) * 0.3 / math.sqrt(dimension)
        # One stacked matrix serves all layers' skips: one large product instead of 2 L small ones.
        self.skips = nn.Parameter(torch.cat([linear, square]))
        self.biases = nn.Parameter(torch.randn(total) * 0.5)
        self.roots = nn.ParameterList(
            [
                nn.Parameter((torch.rand(after, before) + 0.5) * 0.5 / math.sqrt(before))
                for before, after in pairwise(hidden)
            ]
        )
        self.readout = nn.Parameter(torch.full((hidden[-1],), math.sqrt(0.3 / hidden[-1])))
        self.register_buffer("scales", torch.ones(dimension) if scales is None else scales)
        self.register_buffer("stiffness", torch.full((dimension,), 0.75))
        self.curvature = nn.Parameter(torch.zeros(dimension))
        self.shift = nn.Parameter(torch.zeros(dimension))

    def architecture(self) -> dict[str, Any]:
        """Return the constructor's arguments, for saving."""
        return {"dimension": self.dimension, "hidden": list(self.hidden), "floor": self.floor}

    @torch.no_grad()
    def strong_convexity(self) -> float:
        """Return μ = min c, a lower bound of every Hessian eigenvalue."""
        return float(self._diagonal().min())

    def forward(self, u: Tensor) -> Tensor:
        """Return φ(u), shape (n,), differentiable by autograd in u and in the parameters."""
        linear, square = ((u * self.scales) @ self.skips.T).split(sum(self.hidden), dim=1)
        inputs = (linear + self.biases + square * square).split(self.hidden, dim=1)
        z = _activate(inputs[0])[0]
        for root, t in zip(self.roots, inputs[1:], strict=True):
            z = _activate(t + z @ (root * root).T)[0]
        return (
            z @ self.readout**2
            + (u * u) @ (0.5 * self._diagonal())
            + u @ (self.shift * self.scales)
        )

    @torch.no_grad()
    def start_at_identity(self, u: Tensor) -> None:
        """Choose c₀, l and the size of a such that ∇φ(u) ≈ u on the points u, shape (n, d).

        The units' own gradient is regressed on u, coordinate by coordinate; c₀ and l take what is
        missing from the identity. No training is needed.
        """
        centred = u - u.mean(0)
        rest = self.gradient(u) - u * self._diagonal() - self.shift * self.scales
        variance = centred.square().mean(0)
        slope = (rest * centred).mean(0) / variance.clamp_min(1e-6)
        size = min(1.0, 0.5 / max(float(slope.max()), 1e-6))
        self.readout.mul_(math.sqrt(size))
        slope = size * slope
        self.curvature.zero_()
        self.stiffness.copy_((1.0 - slope - self.floor).clamp_min(0.05))
        self.shift.copy_((slope * u.mean(0) - size * rest.mean(0)) / self.scales)

    @torch.no_grad()
    def value_and_gradient(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return φ(u), shape (n,), and ∇φ(u), shape (n, d)."""
        state = self._evaluate(u)
        return self._value(u, state), self._gradient(u, state)

    @torch.no_grad()
    def gradient(self, u: Tensor) -> Tensor:
        """Return ∇φ(u), shape (n, d)."""
        return self._gradient(u, self._evaluate(u))

    @torch.no_grad()
    def accumulate(self, u: Tensor, weights: Tensor) -> Tensor:
        """Add the parameters' gradient of Σ_k weights_k φ(u_k) to their ``.grad``.

        Parameters
        ----------
        u
            Points, shape (n, d).
        weights
            Signed weights, shape (n,).

        Returns
        -------
        Tensor
            φ(u), shape (n,).
        """
        state = self._evaluate(u)
        slopes = state.slopes * weights[:, None]
        outer = torch.cat([slopes, 2.0 * state.squares * slopes], dim=1)
        _add(self.skips, outer.T @ (u * self.scales))
        _add(self.biases, slopes.sum(0))
        by_layer = slopes.split(self.hidden, dim=1)
        for i, root in enumerate(self.roots):
            _add(root, 2.0 * root * (by_layer[i + 1].T @ state.units[i]))
        _add(self.readout, 2.0 * self.readout * (weights @ state.units[-1]))
        curvature = self.scales * (self._diagonal() - self.floor)
        _add(self.curvature, 0.5 * curvature * (weights @ (u * u)))
        _add(self.shift, self.scales * (weights @ u))
        return self._value(u, state)

    def _diagonal(self) -> Tensor:
        return self.floor + self.stiffness * (self.scales * self.curvature).exp()

    def _evaluate(self, u: Tensor) -> _Pass:
        total = sum(self.hidden)
        skips = (u * self.scales) @ self.skips.T
        square = skips[:, total:]
        inputs = torch.addcmul(skips[:, :total] + self.biases, square, square)
        weights = [root * root for root in self.roots]
        units: list[Tensor] = []
        rates: list[Tensor] = []
        for i, t in enumerate(inputs.split(self.hidden, dim=1)):
            z, rate = _activate(torch.addmm(t, units[-1], weights[i - 1].T) if i else t)
            units.append(z)
            rates.append(rate)
        slopes = [rates[-1] * self.readout**2]
        for weight, rate in zip(reversed(weights), reversed(rates[:-1]), strict=True):
            slopes.append((slopes[-1] @ weight) * rate)
        return _Pass(square, units, torch.cat(slopes[::-1], dim=1))

    def _value(self, u: Tensor, state: _Pass) -> Tensor:
        quadratic = (u * u) @ (0.5 * self._diagonal())
        return state.units[-1] @ self.readout**2 + quadratic + u @ (self.shift * self.scales)

    def _gradient(self, u: Tensor, state: _Pass) -> Tensor:
        outer = torch.cat([state.slopes, 2.0 * state.squares * state.slopes], dim=1)
        return u * self._diagonal() + (outer @ self.skips + self.shift) * self.scales


def hessian(potential: nn.Module, u: Tensor) -> Tensor:
    """Return ∇²φ(u) = the Jacobian of the map, shape (n, d, d), by autograd.

    Parameters
    ----------
    potential
        A potential whose ``forward`` is differentiable.
    u
        Points, shape (n, d).
    """
    gradient = torch.func.grad(lambda row: potential(row[None]).squeeze(0))
    jacobian: Tensor = torch.func.vmap(torch.func.jacfwd(gradient))(u)
    return jacobian.detach()


def _activate(t: Tensor) -> tuple[Tensor, Tensor]:
    """Return s(t) = (t + √(t² + 1)) / 2 and s'(t) = s(t) / √(t² + 1).

    In this form both are non-negative in floating point as well: √(t² + 1) never rounds below |t|.
    """
    root = torch.sqrt(t * t + 1.0)
    z = 0.5 * (t + root)
    return z, z / root


def _add(parameter: nn.Parameter, gradient: Tensor) -> None:
    parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)
