"""The default potential: a small network which is convex whatever its parameters are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from otcal.transport.elementwise import activate, drop_nothing, square
from otcal.transport.potentials import Potential


class _Weights(NamedTuple):
    """What follows from the parameters alone; what products take is in their precision."""

    skips: Tensor  # S and Q, stacked, (H + K + M, d)
    layers: list[Tensor]  # W of the layers after the first
    pool: Tensor | None  # P and V side by side, (K, M + h_L)
    spread: Tensor | None  # 2 P and V side by side, (K, M + h_L), for the way back
    readout: Tensor  # a, (h_L,)
    diagonal: Tensor  # c, (d,)
    slope: Tensor  # D l, (d,)


class _Forwards(NamedTuple):
    """What the forward pass leaves for the backward one."""

    projections: Tensor  # Q w, (n, M)
    pooled: Tensor | None  # (Q w)² and z_L side by side, (n, M + h_L)
    units: list[Tensor]  # z_i of every layer, (n, h_i)
    rates: list[Tensor]  # s'(t_i) of every layer, (n, h_i)
    r: Tensor | None  # r / τ, (n, K)
    shares: Tensor | None  # ∂φ/∂r of every piece, (n, K)
    value: Tensor  # what units and pieces add to φ, (n,)


class Pass(NamedTuple):
    """Intermediate results of one forward and backward pass through the network."""

    forwards: _Forwards
    slopes: Tensor  # ∂φ/∂t of every unit and piece, then ∂φ/∂(Q w) of every square, (n, H + K + M)

    @property
    def value(self) -> Tensor:
        """What units and pieces add to φ, shape (n,)."""
        return self.forwards.value


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
        self._held: _Weights | None = None
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

    @contextmanager
    def held(self) -> Iterator[None]:
        """Promise not to change the parameters within this context: their squares are kept."""
        before, self._held = self._held, self._weights()
        try:
            yield
        finally:
            self._held = before

    @torch.no_grad()
    def strong_convexity(self) -> float:
        """Return μ = min c, a lower bound of every Hessian eigenvalue."""
        return float(self._diagonal().min())

    def forward(self, u: Tensor) -> Tensor:
        """Return φ(u), shape (n,), differentiable by autograd in u and in the parameters."""
        parameters = self._weights()
        value = self._forwards(u * self.scales, self.biases, parameters).value
        return value + _quadratic(u, parameters)[0]

    @torch.no_grad()
    def start_at_identity(self, u: Tensor) -> None:
        """Choose c₀, l, κ and the size of a such that ∇φ(u) ≈ u on the points u, shape (n, d).

        The network's own gradient is regressed on u, coordinate by coordinate; c₀ and l take what
        is missing from the identity. No training is needed. a and κ are such that the largest of
        those slopes is a fortieth, to learn from, to a half; random weights' is raised 25 times at
        most.
        """
        centred = u - u.mean(0)
        rest = self.gradient(u) - u * self._diagonal() - self.shift * self.scales
        variance = centred.square().mean(0)
        slope = (rest * centred).mean(0) / variance.clamp_min(1e-6)
        largest = max(float(slope.max()), 1e-3)
        size = min(max(largest, 0.025), 0.5) / largest
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
        with self.held():
            state = self.evaluate(u * self.scales, self.biases)
            value, slope = _quadratic(u, self._weights())
            return value + state.value, slope.addcmul_(self.pull(state), self.scales)

    @torch.no_grad()
    def gradient(self, u: Tensor) -> Tensor:
        """Return ∇φ(u), shape (n, d)."""
        return self.value_and_gradient(u)[1]

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
        with self.held():
            w = u * self.scales
            state = self.evaluate(w, self.biases)
            slopes = self.accumulate_network(w, state, weights)
            add_gradient(self.biases, slopes.sum(0))
            curvature = self.scales * (self._diagonal() - self.floor)
            add_gradient(self.curvature, 0.5 * curvature * (weights @ (u * u)))
            add_gradient(self.shift, self.scales * (weights @ u))
            return state.value + _quadratic(u, self._weights())[0]

    def value(self, w: Tensor, biases: Tensor) -> Tensor:
        """Return what units and pieces add to φ, shape (n,), differentiable by autograd.

        Parameters are those of `evaluate`.
        """
        return self._forwards(w, biases, self._weights()).value

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
        parameters = self._weights()
        state = self._forwards(w, biases, parameters)
        total, dtype = sum(self.hidden), state.projections.dtype
        # Written side by side at once: joining them afterwards takes as long as a product.
        slopes = torch.empty((len(w), len(self.skips)), dtype=dtype, device=w.device)
        *layers, bends = slopes.split((*self._widths(), state.projections.shape[1]), dim=1)
        above, bent = parameters.readout, None
        # Products take the parts before they are written there: the kernels for AMX read beyond the
        # last column, and numbers that aren't initialised may be NaN (uxlfoundation/oneDNN#5717).
        if state.shares is not None and parameters.spread is not None:
            shares = self._cast(state.shares)
            layers.pop().copy_(shares)
            bent, top = (shares @ parameters.spread).tensor_split([bends.shape[1]], dim=1)
            above = above + top.to(w.dtype)
        for i in reversed(range(len(layers))):
            slope = self._cast(above * state.rates[i])
            layers[i].copy_(slope)
            if i:
                above = (slope @ parameters.layers[i - 1]).to(w.dtype)
        if bent is None:
            bent = 2.0 * slopes[:, :total]
        else:
            bent[:, :total].add_(slopes[:, :total], alpha=2.0)
        torch.mul(bent, state.projections, out=bends)
        return Pass(state, slopes)

    def _weights(self) -> _Weights:
        if self._held is not None and not torch.is_grad_enabled():
            return self._held
        layers = [self._cast(square(root)) for root in self.roots]
        pool, spread = None, None
        if self.pieces:
            top, mixture = layers.pop(), self._cast(square(self.mixture))
            pool = torch.cat([mixture, top], dim=1)
            spread = torch.cat([2.0 * mixture, top], dim=1)
        return _Weights(
            self._cast(drop_nothing(self.skips)),
            layers,
            pool,
            spread,
            square(self.readout),
            self._diagonal(),
            self.shift * self.scales,
        )

    def _forwards(self, w: Tensor, biases: Tensor, parameters: _Weights) -> _Forwards:
        total = sum(self.hidden)
        skipped = self._product(w, parameters.skips.T)
        linear, projections = skipped.tensor_split([total + self.pieces], dim=1)
        squares = projections.square()
        linear = linear.to(w.dtype) + biases
        linear[:, :total].add_(squares[:, :total].to(w.dtype))
        units: list[Tensor] = []
        rates: list[Tensor] = []
        for i, t in enumerate(linear[:, :total].split(self.hidden, dim=1)):
            if i:
                t = t + self._product(units[-1], parameters.layers[i - 1].T).to(w.dtype)
            z, rate = activate(t)
            units.append(z)
            rates.append(rate)
        value = units[-1] @ parameters.readout
        if parameters.pool is None:
            return _Forwards(projections, None, units, rates, None, None, value)
        pooled = torch.cat([squares, self._cast(units[-1])], dim=1)
        r = linear[:, total:] + self._product(pooled, parameters.pool.T).to(w.dtype)
        temperature = self.warmth.exp()
        r = r / temperature
        value = value + self.strength * temperature * torch.logsumexp(r, dim=1)
        shares = self.strength * drop_nothing(torch.softmax(r, dim=1))
        return _Forwards(projections, pooled, units, rates, r, shares, value)

    def pull(self, state: Pass) -> Tensor:
        """Return the gradient in w of what units and pieces add, shape (n, d)."""
        return self._product(state.slopes, self._weights().skips).to(self.skips.dtype)

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
        forwards, widths = state.forwards, self._widths()
        add_gradient(self.skips, self._product(state.slopes.T, w * weights[:, None]))
        slopes = state.slopes[:, : sum(widths)] * weights[:, None].to(state.slopes.dtype)
        layers = slopes.split(widths, dim=1)
        for i, root in enumerate(self.roots[: len(self.hidden) - 1]):
            add_gradient(root, 2.0 * root * self._product(layers[i + 1].T, forwards.units[i]))
        add_gradient(self.readout, 2.0 * self.readout * (weights @ forwards.units[-1]))
        if forwards.pooled is not None:
            pull = self._product(layers[-1].T, forwards.pooled)
            mixture, top = pull.tensor_split([self.mixture.shape[1]], dim=1)
            add_gradient(self.mixture, 2.0 * self.mixture * mixture)
            add_gradient(self.roots[-1], 2.0 * self.roots[-1] * top)
            add_gradient(self.warmth, self._warm(forwards, weights))
        return slopes.to(w.dtype)

    def _warm(self, forwards: _Forwards, weights: Tensor) -> Tensor:
        """Return the gradient in ln τ of what the pieces add."""
        assert forwards.r is not None
        assert forwards.shares is not None
        peak = self.strength * torch.logsumexp(forwards.r, dim=1)
        return self.warmth.exp() * (weights @ (peak - (forwards.shares * forwards.r).sum(1)))

    def _product(self, a: Tensor, b: Tensor) -> Tensor:
        """Return a · b, computed in the precision of `products`, and in it."""
        return self._cast(a) @ self._cast(b)

    def _cast(self, a: Tensor) -> Tensor:
        return a if self.products is None else a.to(self.products)

    def _diagonal(self) -> Tensor:
        return self.floor + self.stiffness * (self.scales * self.curvature).exp()

    def _widths(self) -> tuple[int, ...]:
        return (*self.hidden, self.pieces) if self.pieces else self.hidden


def _quadratic(u: Tensor, parameters: _Weights) -> tuple[Tensor, Tensor]:
    """Return ½ uᵀ diag(c) u + l · w, shape (n,), and its gradient in u, shape (n, d)."""
    slope = torch.addcmul(parameters.slope, u, parameters.diagonal)
    return 0.5 * (u * (slope + parameters.slope)).sum(1), slope


def add_gradient(parameter: nn.Parameter, gradient: Tensor) -> None:
    """Add to a parameter's ``.grad``."""
    gradient = gradient.to(parameter.dtype)
    parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)
