"""A convex potential for every value of some conditions, such as a jet's pT and η."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from otcal.transport.convex import ConvexPotential, Pass, add_gradient
from otcal.transport.potentials import Potential


class _Context(NamedTuple):
    """What the conditions of each row change."""

    features: Tensor  # h(c), (n, m)
    offset: Tensor  # e, (n, r)
    biases: Tensor  # β, (n, H + K)
    shift: Tensor  # λ, (n, r)
    curvature: Tensor  # ω, (n, r)
    gain: Tensor  # g, (n, 1)


class ConditionalPotential(Potential):
    """A partially input-convex potential φ(u; c): convex in u whatever c and the parameters are.

    The network of `otcal.transport.convex.ConvexPotential` with offsets that depend on c,

        φ(u; c) = g · N(D u + e, b + β) + ½ uᵀ diag(floor + c₀ exp(D (q + ω))) u + (l + λ) · D u,
        (e, β, λ, ω, log g) = A h(c),   h(c) = tanh(B c + a),

    where N(w, b) is convex in w for every b, and g > 0: sums of convex functions with positive
    weights (Amos et al., arXiv:1609.07152, section 3.2, with a modulation that is affine in few
    features). A starts at zero, so the first map is the same for all c. Since |h| < 1, conditions
    far outside those of the training samples change the map no more than extreme ones do, and the
    Hessian in u has a lower bound that holds for all c.

    Rows are (u, c) in one tensor of r + k columns. The potential's map moves u and keeps c: what is
    returned as its gradient is (∇_u φ(u; c), c), and its value is φ(u; c) + |c|²/2, so that
    conjugates and dual values are those of φ( · ; c) plus the same |c|²/2.

    Parameters
    ----------
    dimension
        Number of coordinates and conditions together, r + k.
    conditions
        Number of conditions k.
    features
        Number m of features h.
    hidden, floor, scales, pieces, squares
        Of the network; scales have shape (r,).
    """

    def __init__(
        self,
        dimension: int,
        conditions: int,
        features: int = 32,
        hidden: Sequence[int] = (128, 128),
        floor: float = 1e-3,
        scales: Tensor | None = None,
        pieces: int = 0,
        squares: int = 0,
    ) -> None:
        super().__init__(dimension)
        self.conditions, self.features = conditions, features
        self.moved = dimension - conditions
        self.network = ConvexPotential(self.moved, hidden, floor, scales, pieces, squares)
        self.sizes = (self.moved, sum(hidden) + pieces, self.moved, self.moved, 1)
        self.weight = nn.Parameter(torch.randn(features, conditions) / math.sqrt(conditions))
        self.bias = nn.Parameter(torch.randn(features))
        self.heads = nn.Parameter(torch.zeros(sum(self.sizes), features))

    def architecture(self) -> dict[str, Any]:
        """Return the constructor's arguments, for saving."""
        own = {"conditions": self.conditions, "features": self.features}
        return {**self.network.architecture(), "dimension": self.dimension, **own}

    def held(self) -> AbstractContextManager[None]:
        """Promise not to change the parameters within this context."""
        return self.network.held()

    @torch.no_grad()
    def strong_convexity(self) -> float:
        """Return a lower bound of every eigenvalue of the Hessian in u, for all c; at most 1."""
        network, lowest = self.network, -self.heads.abs().sum(1).split(self.sizes)[3]
        diagonal = network.stiffness * (network.scales * (network.curvature + lowest)).exp()
        return min(1.0, network.floor + float(diagonal.min()))

    def forward(self, rows: Tensor) -> Tensor:
        """Return φ(u; c) + |c|²/2, shape (n,), differentiable in rows and parameters."""
        u, c = self._split(rows)
        context = self._context(c)
        network = self.network
        w = u * network.scales + context.offset
        return self._value(u, c, context, network.value(w, network.biases + context.biases))

    def origin(self, rows: Tensor) -> Tensor:
        """Return the rows (0, c), shape (n, r + k)."""
        rows = rows.clone()
        rows[:, : self.moved] = 0.0
        return rows

    @torch.no_grad()
    def level(self, rows: Tensor) -> Tensor:
        """Return φ(0; c), shape (n,): no map depends on it, but a difference of values would."""
        c = self._split(rows)[1]
        return self(self.origin(rows)) - 0.5 * (c * c).sum(1)

    def start_at_identity(self, rows: Tensor) -> None:
        """Choose the network such that ∇φ(u; c) ≈ u on the rows, shape (n, r + k)."""
        self.network.start_at_identity(self._split(rows)[0])

    @torch.no_grad()
    def value_and_gradient(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return φ(u; c) + |c|²/2, shape (n,), and (∇_u φ(u; c), c), shape (n, r + k)."""
        u, c = self._split(rows)
        context = self._context(c)
        state = self._evaluate(u, context)
        network = self.network
        pull = context.gain * network.pull(state) + network.shift + context.shift
        moved = u * self._diagonal(context) + pull * network.scales
        return self._value(u, c, context, state.value), torch.cat([moved, c], dim=1)

    @torch.no_grad()
    def accumulate(self, rows: Tensor, weights: Tensor) -> Tensor:
        """Add the parameters' gradient of Σ_k weights_k φ(u_k; c_k) to their ``.grad``.

        Parameters and result are those of `ConvexPotential.accumulate`.
        """
        network, (u, c) = self.network, self._split(rows)
        context = self._context(c)
        w = u * network.scales + context.offset
        state = network.evaluate(w, network.biases + context.biases)
        gain = context.gain.squeeze(1)
        slopes = network.accumulate_network(w, state, weights * gain)
        add_gradient(network.biases, slopes.sum(0))
        weighted = weights[:, None]
        bend = 0.5 * weighted * network.scales * (self._diagonal(context) - network.floor) * u * u
        pull = weighted * network.scales * u
        add_gradient(network.curvature, bend.sum(0))
        add_gradient(network.shift, pull.sum(0))
        offset = weighted * context.gain * network.pull(state)
        size = (weights * gain * state.value)[:, None]
        self._accumulate_context(c, context.features, [offset, slopes, pull, bend, size])
        return self._value(u, c, context, state.value)

    def _accumulate_context(self, c: Tensor, features: Tensor, outputs: list[Tensor]) -> None:
        """Add the gradients of A, B and a, given those of A h(c) for every row."""
        gradient = torch.cat(outputs, dim=1)
        add_gradient(self.heads, gradient.T @ features)
        inner = (gradient @ self.heads) * (1.0 - features * features)
        add_gradient(self.weight, inner.T @ c)
        add_gradient(self.bias, inner.sum(0))

    def _split(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        u, c = rows.tensor_split([self.moved], dim=1)
        return u, c

    def _context(self, c: Tensor) -> _Context:
        features = torch.tanh(torch.addmm(self.bias, c, self.weight.T))
        offset, biases, shift, curvature, gain = (features @ self.heads.T).split(self.sizes, dim=1)
        return _Context(features, offset, biases, shift, curvature, gain.exp())

    def _evaluate(self, u: Tensor, context: _Context) -> Pass:
        network = self.network
        w = u * network.scales + context.offset
        return network.evaluate(w, network.biases + context.biases)

    def _diagonal(self, context: _Context) -> Tensor:
        network = self.network
        exponent = network.scales * (network.curvature + context.curvature)
        return network.floor + network.stiffness * exponent.exp()

    def _value(self, u: Tensor, c: Tensor, context: _Context, value: Tensor) -> Tensor:
        shift = (self.network.shift + context.shift) * self.network.scales
        rest = 0.5 * self._diagonal(context) * u * u + shift * u
        return context.gain.squeeze(1) * value + rest.sum(1) + 0.5 * (c * c).sum(1)
