"""The input-convex networks of [MTG]: Algren et al., arXiv:2507.08867, appendix A and Table 2."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from otcal.transport.potentials import Potential

_ONE = math.log(math.e - 1.0)  # softplus(_ONE) = 1
_HALF = math.log(math.exp(0.5) - 1.0)  # softplus(_HALF) = 1/2


class PositiveLinear(nn.Module):
    """z ↦ z · softplus(V)ᵀ / fan-in: a linear layer with positive weights and no bias.

    Parameters
    ----------
    inputs, outputs
        Widths.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.empty(outputs, inputs))
        nn.init.kaiming_normal_(self.raw)
        with torch.no_grad():
            self.raw.div_(outputs)

    def weight(self) -> Tensor:
        """Return the positive weights, shape (outputs, inputs)."""
        return softplus(self.raw) / self.raw.shape[1]

    def forward(self, z: Tensor) -> Tensor:
        """Return z · weightᵀ, shape (n, outputs)."""
        return z @ self.weight().T


class InputConvexNetwork(Potential):
    """One input-convex block, φ(x) = softplus(w₀) |x|²/2 + softplus(w₁) c(x).

    The recursion is that of [MTG] (11),

        h_1 = sym(A_1 x + b_1),  h_{i+1} = σ(P_i h_i + A_i x + b_i),  c = P_L h_L + A_L x + b_L,

    P ≥ 0, sym(t) = softplus(t) − t/2 (even; allowed in the first layer only, which has no layer
    below it), σ(t) = softplus(t) − ln 2. It starts near the identity: softplus(w₀) = 1,
    softplus(w₁) = 1/2. φ is convex, and strongly so with μ = softplus(w₀).

    Parameters
    ----------
    dimension
        Number of coordinates d.
    hidden
        Units of each layer.
    """

    def __init__(self, dimension: int, hidden: Sequence[int] = (2048, 2048)) -> None:
        super().__init__(dimension)
        self.hidden = tuple(hidden)
        self.skips = nn.ModuleList([nn.Linear(dimension, width) for width in (*hidden, 1)])
        self.layers = nn.ModuleList(
            [
                PositiveLinear(before, after)
                for before, after in zip(hidden, (*hidden[1:], 1), strict=True)
            ]
        )
        self.quadratic = nn.Parameter(torch.tensor(_ONE))
        self.strength = nn.Parameter(torch.tensor(_HALF))

    def architecture(self) -> dict[str, Any]:
        """Return the constructor's arguments, for saving."""
        return {"dimension": self.dimension, "hidden": list(self.hidden)}

    def strong_convexity(self) -> float:
        """Return softplus(w₀), a lower bound of every Hessian eigenvalue."""
        return float(softplus(self.quadratic.detach()))

    def forward(self, x: Tensor) -> Tensor:
        """Return φ(x), shape (n,), differentiable in x and in the parameters."""
        return self._value(x, self._inputs(x))

    def gradient(self, x: Tensor) -> Tensor:
        """Return ∇φ(x), shape (n, d), which autograd can differentiate once more.

        The backward pass is written out, so a loss of the map needs one sweep back instead of two.
        """
        return self._gradient(x, self._inputs(x))

    @torch.no_grad()
    def value_and_gradient(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return φ(u), shape (n,), and ∇φ(u), shape (n, d), detached."""
        inputs = self._inputs(u)
        return self._value(u, inputs), self._gradient(u, inputs)

    def _inputs(self, x: Tensor) -> list[Tensor]:
        """Return the arguments of the activations of every layer, the last being c itself."""
        inputs = [self.skips[0](x)]
        for layer, skip in zip(self.layers, self.skips[1:], strict=True):
            first = len(inputs) == 1
            h = softplus(inputs[-1]) - (0.5 * inputs[-1] if first else math.log(2.0))
            inputs.append(skip(x) + layer(h))
        return inputs

    def _value(self, x: Tensor, inputs: list[Tensor]) -> Tensor:
        quadratic = 0.5 * softplus(self.quadratic) * (x * x).sum(1)
        return quadratic + softplus(self.strength) * inputs[-1].squeeze(1)

    def _gradient(self, x: Tensor, inputs: list[Tensor]) -> Tensor:
        slope = softplus(self.strength).expand(len(x), 1)
        result = softplus(self.quadratic) * x + slope @ self._skip(len(self.hidden))
        for i in range(len(self.hidden) - 1, -1, -1):
            rate = torch.sigmoid(inputs[i]) - (0.5 if i == 0 else 0.0)
            layer = self.layers[i]
            assert isinstance(layer, PositiveLinear)
            slope = (slope @ layer.weight()) * rate
            result = result + slope @ self._skip(i)
        return result

    def _skip(self, index: int) -> Tensor:
        skip = self.skips[index]
        assert isinstance(skip, nn.Linear)
        return skip.weight


class NestedConvexNetwork(nn.Module):
    """The nICNN of [MTG] Table 2: blocks of input-convex networks whose gradients are composed.

    The map is ∇φ_K ∘ … ∘ ∇φ_1; the value, used when the network is the critic f, is
    φ_K(∇φ_{K−1}(… ∇φ_1(x))). **A composition of gradients of convex functions is in general not the
    gradient of a convex function**: its Jacobian is a product of symmetric matrices, which need not
    be symmetric. The nICNN isn't guaranteed to be a Brenier map, whatever its training reached.

    Parameters
    ----------
    dimension
        Number of coordinates d.
    blocks
        Number of blocks K.
    hidden
        Units of each layer of a block.
    """

    def __init__(
        self, dimension: int, blocks: int = 4, hidden: Sequence[int] = (2048, 2048)
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([InputConvexNetwork(dimension, hidden) for _ in range(blocks)])

    def chain(self) -> list[InputConvexNetwork]:
        """Return the blocks in the order of application."""
        return [block for block in self.blocks if isinstance(block, InputConvexNetwork)]

    def forward(self, x: Tensor) -> Tensor:
        """Return the critic's value, shape (n,)."""
        *inner, last = self.chain()
        for block in inner:
            x = block.gradient(x)
        value: Tensor = last(x)
        return value

    def transport(self, x: Tensor) -> Tensor:
        """Return the composed map, shape (n, d), differentiable in x and in the parameters."""
        for block in self.chain():
            x = block.gradient(x)
        return x
