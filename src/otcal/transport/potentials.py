"""Convex potentials: functions whose gradient is a Brenier map by construction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import Any

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

    def level(self, u: Tensor) -> Tensor:
        """Return what φ is measured from, shape (n,): 0 for a potential without conditions."""
        return u.new_zeros(len(u))

    def held(self) -> AbstractContextManager[None]:
        """Promise not to change the parameters within this context.

        A potential may keep there what it derives from them.
        """
        return nullcontext()

    @abstractmethod
    def strong_convexity(self) -> float:
        """Return a μ > 0 which no Hessian eigenvalue falls below anywhere."""

    @abstractmethod
    def architecture(self) -> dict[str, Any]:
        """Return the constructor's arguments, for saving."""


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
