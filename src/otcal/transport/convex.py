"""The default potential: a small network which is convex whatever its parameters are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from otcal.transport.potentials import Potential


class Pass(NamedTuple):
    """Intermediate results of one forward and backward pass through the network."""

    squares: Tensor  # (Q w)², (n, M)
    units: list[Tensor]  # z_i of every layer, (n, h_i)
    slopes: Tensor  # ∂φ/∂t of every unit and piece, then ∂φ/∂(Q w) of every square, (n, H + K + M)
    value: Tensor  # what units and pieces add to φ, (n,)
    warmth: Tensor  # ∂φ/∂ln τ, (n,)


class _Forwards(NamedTuple):
    """What the forward pass leaves for the backward one."""

    projections: Tensor  # Q w, (n, M)
    squares: Tensor  # (Q w)², (n, M)
    units: list[Tensor]  # z_i of every layer, (n, h_i)
    rates: list[Tensor]  # s'(t_i) of every layer, (n, h_i)
    weights: list[Tensor]  # W of the layers after the first
    pooled: tuple[Tensor, Tensor] | None  # of pieces: ∂φ/∂r, (n, K), and P, (K, M)
    value: Tensor  # what units and pieces add to φ, (n,)
    warmth: Tensor  # ∂φ/∂ln τ, (n,)


class ConvexPotential(Potential):
    """A potential which is convex in u for every value of its parameters.

    Layers of units with a quadratic skip from the input, and above them a soft maximum of pieces,

        t_i = W_i z_{i-1} + S_i w + (Q_i w)² + b_i,   z_i = s(t_i),   s(t) = (t + √(t² + 1)) / 2,
        r = V z_L + S w + P (Q w)² + b,
        φ(u) = a · z_L + κ τ log Σ_k exp(r_k / τ) + ½ uᵀ diag(c) u + l · w,   w = D u.

    W, V, P and a are elementwise squares, hence non-negative; τ > 0; c = floor + c₀ exp(D q) > 0;
    D, c₀ and κ are fixed, D and c₀ diagonal. Every t and r is a sum of convex functions with
    non-negative weights, s and the soft maximum are convex and increasing, so φ is convex; it is
    strongly convex with μ = min c and its gradient grows linearly.

    The quadratic skip lets a small network bend its level sets in a chosen direction; without it
    an input-convex network (Amos et al., arXiv:1609.07152) needs many units to turn one ridge into
    a bowl. A piece weighs all squares together, those of the units and `squares` more: a quadratic
    of full rank. The soft maximum makes one of the pieces count here and another one there, as for
    samples that consist of populations.

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
    pieces
        Number of pieces K; none without.
    squares
        Squares for the pieces beside those of the units.

    Attributes
    ----------
    products
        What matrix products are computed in; None: as everything else. It is for training, and not
        saved: in bfloat16 a gradient is off by some 0.3 %.
    """

    scales: Tensor
    stiffness: Tensor
    strength: Tensor

    def __init__(
        self,
        dimension: int,
        hidden: Sequence[int] = (128, 128),
        floor: float = 1e-3,
        scales: Tensor | None = None,
        pieces: int = 0,
        squares: int = 0,
    ) -> None:
        super().__init__(dimension)
        self.hidden, self.floor = tuple(hidden), floor
        self.pieces, self.squares = pieces, squares
        self.products: torch.dtype | None = None
        total, width = sum(hidden), math.sqrt(dimension)
        parts = [
            torch.randn(total + pieces, dimension) / width,
            torch.randn(total, dimension) * 0.3 / width,
            torch.randn(squares, dimension) / width,
        ]
        # One stacked matrix serves all skips: one large product instead of many small ones.
        self.skips = nn.Parameter(torch.cat(parts))
        self.biases = nn.Parameter(torch.randn(total + pieces) * 0.5)
        layers = (*hidden, pieces) if pieces else hidden
        self.roots = nn.ParameterList(
            [
                nn.Parameter((torch.rand(after, before) + 0.5) * 0.5 / math.sqrt(before))
                for before, after in pairwise(layers)
            ]
        )
        self.readout = nn.Parameter(torch.full((hidden[-1],), math.sqrt(0.3 / hidden[-1])))
        if pieces:
            count = total + squares
            self.mixture = nn.Parameter((torch.rand(pieces, count) + 0.5) * 0.3 / math.sqrt(count))
            self.warmth = nn.Parameter(torch.tensor(1.0))
            self.register_buffer("strength", torch.tensor(0.5))
        self.register_buffer("scales", torch.ones(dimension) if scales is None else scales)
        self.register_buffer("stiffness", torch.full((dimension,), 0.75))
        self.curvature = nn.Parameter(torch.zeros(dimension))
        self.shift = nn.Parameter(torch.zeros(dimension))

    def architecture(self) -> dict[str, Any]:
        """Return the constructor's arguments, for saving."""
        return {
            "dimension": self.dimension,
            "hidden": list(self.hidden),
            "floor": self.floor,
            "pieces": self.pieces,
            "squares": self.squares,
        }

    @torch.no_grad()
    def strong_convexity(self) -> float:
        """Return μ = min c, a lower bound of every Hessian eigenvalue."""
        return float(self._diagonal().min())

    def forward(self, u: Tensor) -> Tensor:
        """Return φ(u), shape (n,), differentiable by autograd in u and in the parameters."""
        return self._value(u, self.value(u * self.scales, self.biases))

    @torch.no_grad()
    def start_at_identity(self, u: Tensor) -> None:
        """Choose c₀, l, κ and the size of a such that ∇φ(u) ≈ u on the points u, shape (n, d).

        The network's own gradient is regressed on u, coordinate by coordinate; c₀ and l take what
        is missing from the identity. No training is needed.
        """
        centred = u - u.mean(0)
        rest = self.gradient(u) - u * self._diagonal() - self.shift * self.scales
        variance = centred.square().mean(0)
        slope = (rest * centred).mean(0) / variance.clamp_min(1e-6)
        size = min(1.0, 0.5 / max(float(slope.max()), 1e-6))
        self.readout.mul_(math.sqrt(size))
        if self.pieces:
            self.strength.mul_(size)
        slope = size * slope
        self.curvature.zero_()
        self.stiffness.copy_((1.0 - slope - self.floor).clamp_min(0.05))
        self.shift.copy_((slope * u.mean(0) - size * rest.mean(0)) / self.scales)

    @torch.no_grad()
    def value_and_gradient(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return φ(u), shape (n,), and ∇φ(u), shape (n, d)."""
        state = self.evaluate(u * self.scales, self.biases)
        return self._value(u, state.value), self._gradient(u, state)

    @torch.no_grad()
    def gradient(self, u: Tensor) -> Tensor:
        """Return ∇φ(u), shape (n, d)."""
        return self._gradient(u, self.evaluate(u * self.scales, self.biases))

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
        w = u * self.scales
        state = self.evaluate(w, self.biases)
        slopes = self.accumulate_network(w, state, weights)
        add_gradient(self.biases, slopes.sum(0))
        curvature = self.scales * (self._diagonal() - self.floor)
        add_gradient(self.curvature, 0.5 * curvature * (weights @ (u * u)))
        add_gradient(self.shift, self.scales * (weights @ u))
        return self._value(u, state.value)

    def value(self, w: Tensor, biases: Tensor) -> Tensor:
        """Return what units and pieces add to φ, shape (n,), differentiable by autograd.

        Parameters are those of `evaluate`.
        """
        return self._forwards(w, biases).value

    @torch.no_grad()
    def evaluate(self, w: Tensor, biases: Tensor) -> Pass:
        """Go through the network forwards and backwards.

        Parameters
        ----------
        w
            D u, shape (n, d).
        biases
            b of units and pieces, shape (H + K,) or (n, H + K).
        """
        state = self._forwards(w, biases)
        above = self.readout**2
        if state.pooled is not None:
            above = above + self._product(state.pooled[0], self.roots[-1] * self.roots[-1])
        slopes = [state.rates[-1] * above]
        for weight, rate in zip(reversed(state.weights), reversed(state.rates[:-1]), strict=True):
            slopes.append(self._product(slopes[-1], weight) * rate)
        # Written side by side at once: joining them afterwards takes as long as a product.
        total, dtype = sum(self.hidden), state.projections.dtype
        outer = torch.empty((len(w), len(self.skips)), dtype=dtype, device=w.device)
        inner, shares, bends = outer.tensor_split([total, total + self.pieces], dim=1)
        for part, slope in zip(inner.split(self.hidden, dim=1), reversed(slopes), strict=True):
            part.copy_(slope)
        bends[:, :total] = inner
        if state.pooled is not None:
            shares.copy_(state.pooled[0])
            bent = self._product(shares, state.pooled[1])
            bends[:, :total] += bent[:, :total]
            bends[:, total:] = bent[:, total:]
        bends *= state.projections + state.projections
        return Pass(state.squares, state.units, outer, state.value, state.warmth)

    def _forwards(self, w: Tensor, biases: Tensor) -> _Forwards:
        total = sum(self.hidden)
        skipped = self._product(w, self.skips.T)
        linear, projections = skipped.tensor_split([total + self.pieces], dim=1)
        squares = projections * projections
        linear = linear.to(w.dtype) + biases
        weights = [root * root for root in self.roots]
        units: list[Tensor] = []
        rates: list[Tensor] = []
        arguments = linear[:, :total] + squares[:, :total].to(w.dtype)
        for i, t in enumerate(arguments.split(self.hidden, dim=1)):
            below = self._product(units[-1], weights[i - 1].T).to(w.dtype) if i else 0.0
            z, rate = _activate(t + below)
            units.append(z)
            rates.append(rate)
        value = (units[-1] * self.readout**2).sum(1)
        warmth, pooled = torch.zeros_like(value), None
        if self.pieces:
            mixture = self.mixture * self.mixture
            r = linear[:, total:] + self._product(squares, mixture.T).to(w.dtype)
            r = r + self._product(units[-1], weights.pop().T).to(w.dtype)
            peak, shares, warmth = self._soft_maximum(r)
            value, pooled = value + peak, (shares, mixture)
        return _Forwards(projections, squares, units, rates, weights, pooled, value, warmth)

    def pull(self, state: Pass) -> Tensor:
        """Return the gradient in w of what units and pieces add, shape (n, d)."""
        return self._product(state.slopes, self.skips)

    def accumulate_network(self, w: Tensor, state: Pass, weights: Tensor) -> Tensor:
        """Add the gradients of what units and pieces consist of; return those of their biases.

        Parameters
        ----------
        w, weights
            Points D u, shape (n, d), and their weights, (n,).
        state
            What `evaluate` returned for them.

        Returns
        -------
        Tensor
            Gradients of every point's biases, shape (n, H + K).
        """
        slopes = state.slopes * weights[:, None].to(state.slopes.dtype)
        add_gradient(self.skips, self._product(slopes.T, w))
        widths = self._widths()
        slopes = slopes[:, : sum(widths)]
        by_layer = slopes.split(widths, dim=1)
        for i, root in enumerate(self.roots):
            add_gradient(root, 2.0 * root * self._product(by_layer[i + 1].T, state.units[i]))
        add_gradient(self.readout, 2.0 * self.readout * (weights @ state.units[-1]))
        if self.pieces:
            pull = self._product(by_layer[-1].T, state.squares)
            add_gradient(self.mixture, 2.0 * self.mixture * pull)
            add_gradient(self.warmth, weights @ state.warmth)
        return slopes.to(w.dtype)

    def _product(self, a: Tensor, b: Tensor) -> Tensor:
        """Return a · b, computed in the precision of `products`, and in it."""
        if self.products is None:
            return a @ b
        return a.to(self.products) @ b.to(self.products)

    def _diagonal(self) -> Tensor:
        return self.floor + self.stiffness * (self.scales * self.curvature).exp()

    def _widths(self) -> tuple[int, ...]:
        return (*self.hidden, self.pieces) if self.pieces else self.hidden

    def _soft_maximum(self, r: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return κ τ log Σ exp(r/τ), shape (n,), and its slopes in r, (n, K), and in ln τ, (n,)."""
        temperature = self.warmth.exp()
        r = r / temperature
        peak = torch.logsumexp(r, dim=1)
        shares = self.strength * (r - peak[:, None]).exp()
        warmth = temperature * (self.strength * peak - (shares * r).sum(1))
        return self.strength * temperature * peak, shares, warmth

    def _value(self, u: Tensor, value: Tensor) -> Tensor:
        return value + (u * u) @ (0.5 * self._diagonal()) + u @ (self.shift * self.scales)

    def _gradient(self, u: Tensor, state: Pass) -> Tensor:
        return u * self._diagonal() + (self.pull(state) + self.shift) * self.scales


def _activate(t: Tensor) -> tuple[Tensor, Tensor]:
    """Return s(t) = (t + √(t² + 1)) / 2 and s'(t) = s(t) / √(t² + 1).

    In this form both are non-negative in floating point as well: √(t² + 1) never rounds below |t|.
    """
    root = torch.sqrt(t * t + 1.0)
    z = 0.5 * (t + root)
    return z, z / root


def add_gradient(parameter: nn.Parameter, gradient: Tensor) -> None:
    """Add to a parameter's ``.grad``."""
    gradient = gradient.to(parameter.dtype)
    parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)
