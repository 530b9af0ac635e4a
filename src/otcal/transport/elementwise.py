"""Elementwise functions of the convex potential, safe and fast in floating point."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import hardshrink

NOTHING = 1e-12
"""A weight or share that is none: far below rounding; products of three are not subnormal yet."""


def drop_nothing(numbers: Tensor) -> Tensor:
    """Return numbers, or 0 where they are next to nothing.

    Some CPUs take several times as long for products with subnormal numbers.
    """
    return hardshrink(numbers, NOTHING)


def square(root: Tensor) -> Tensor:
    """Return root², or 0 where that is next to nothing.

    Weights that a fit has no use for shrink by a factor per step.
    """
    return drop_nothing(root * root)


def activate(t: Tensor) -> tuple[Tensor, Tensor]:
    """Return s(t) = (t + √(t² + 1)) / 2 and s'(t) = s(t) / √(t² + 1).

    In this form both are non-negative in floating point as well: √(t² + 1) never rounds below |t|.
    """
    root = (t * t).add_(1.0).sqrt_()
    z = (t + root).mul_(0.5)
    return z, z / root
