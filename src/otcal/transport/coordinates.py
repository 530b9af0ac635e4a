"""Coordinates in which a transport problem is well conditioned, and the way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from otcal.transport.gaussian import GaussianMap, power


@dataclass(frozen=True)
class Coordinates:
    """Affine coordinates u of the source and v of the target, shapes (n, r), r ≤ d.

    ⟨u, v⟩ is the problem's own ⟨x − m₁, y − m₂⟩ / s² (`precondition`, `standardise`): convex
    potentials stay convex, optimal maps stay optimal. Directions in which neither sample varies
    have no coordinate; they are only shifted.

    Where the map depends on k conditions, they are the last k features of x and y and the last k
    coordinates of u and v (`otcal.transport.conditions`): the map keeps them.

    All tensors are float32. A map v = t(u) is applied as
    y = m₂ + t((x − m₁) source_in) target_out + (x − m₁) outside, its inverse with the other pair.
    """

    source_mean: Tensor
    target_mean: Tensor
    source_in: Tensor
    target_out: Tensor
    target_in: Tensor
    source_out: Tensor
    spread: Tensor
    outside: Tensor | None
    conditions: int = 0

    @property
    def columns(self) -> int:
        """Number of columns of u and v: coordinates and conditions, r + k."""
        return int(self.source_in.shape[1])

    @property
    def rank(self) -> int:
        """Number of coordinates r that a map can move."""
        return self.columns - self.conditions

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors by name."""
        return {name: tensor for name, tensor in vars(self).items() if isinstance(tensor, Tensor)}

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor], conditions: int = 0) -> Coordinates:
        """Put together what `tensors` returned (`TypeError` when one is missing or unknown)."""
        known = {name: tensor for name, tensor in tensors.items() if name != "outside"}
        return Coordinates(**known, outside=tensors.get("outside"), conditions=conditions)

    def to(self, device: torch.device) -> Coordinates:
        """Return a copy on another device."""
        moved = {name: tensor.to(device) for name, tensor in self.tensors().items()}
        return self.from_tensors(moved, self.conditions)

    def encode_source(self, x: Tensor) -> Tensor:
        """Return u for source points, shape (n, r)."""
        return (x - self.source_mean) @ self.source_in

    def encode_target(self, y: Tensor) -> Tensor:
        """Return v for target points, shape (n, r)."""
        return (y - self.target_mean) @ self.target_in

    def decode_target(self, v: Tensor, x: Tensor) -> Tensor:
        """Return the target point with coordinates v that belongs to the source point x."""
        y = torch.addmm(self.target_mean, v, self.target_out)
        return y if self.outside is None else y + (x - self.source_mean) @ self.outside

    def decode_source(self, u: Tensor, y: Tensor) -> Tensor:
        """Return the source point with coordinates u that belongs to the target point y."""
        x = torch.addmm(self.source_mean, u, self.source_out)
        return x if self.outside is None else x + (y - self.target_mean) @ self.outside


def precondition(gaussian: GaussianMap, unit: NDArray[np.float64]) -> Coordinates:
    """Return the coordinates in which a Gaussian map, fitted to x / unit and y / unit, is u ↦ u.

    With its A split symmetrically,

        u = A^{1/2} (x − m₁) / s,    v = A^{-1/2} (y − m₂) / s,

    so that only what is not Gaussian is left to learn.

    Parameters
    ----------
    gaussian
        The map between the samples in units of `unit`.
    unit
        Length of one unit of each feature, shape (d,).
    """
    root, inverse = power(gaussian.core, 0.5), power(gaussian.core, -0.5)
    variances, axes = np.linalg.eigh(root @ gaussian.covariance @ root)
    scale = float(np.sqrt(variances.sum() / max(1, len(variances)))) or 1.0
    into, out = gaussian.support / unit[:, None], gaussian.support.T * unit
    full = len(root) == len(unit)
    outside = None if full else gaussian.outside / unit[:, None] * unit
    arrays = {
        "source_mean": gaussian.source_mean * unit,
        "target_mean": gaussian.target_mean * unit,
        "source_in": into @ root @ axes / scale,
        "target_out": scale * axes.T @ root @ out,
        "target_in": into @ inverse @ axes / scale,
        "source_out": scale * axes.T @ inverse @ out,
        "spread": np.sqrt(np.maximum(variances, 0.0)) / scale,
    }
    return _coordinates(arrays, outside)


def standardise(
    gaussian: GaussianMap, unit: NDArray[np.float64], spread: NDArray[np.float64]
) -> Coordinates:
    """Return the standardised features, the same ones for source and target ([MTG] appendix B.2).

    With the target's mean and one s for all features,

        u = (x − m₂) / s,    v = (y − m₂) / s,

    u ↦ u is the identity, and all else is left to learn. The paper doesn't say which sample has
    mean 0 and variance 1: here it is the target, when `unit` is `spread`.

    Parameters
    ----------
    gaussian
        The map between the samples in units of `unit`, for the means.
    unit
        Length of one unit of each feature, shape (d,).
    spread
        The target's spread of each feature, shape (d,); the source's where the target is constant,
        0 where both are: such features have no coordinate.
    """
    varies = spread > 0
    relative = spread[varies] / unit[varies]
    scale = float(np.sqrt(np.square(relative).mean())) if varies.any() else 1.0
    basis = np.eye(len(unit))[:, varies]
    into, out = basis / (scale * unit)[:, None], basis.T * (scale * unit)
    arrays = {
        "source_mean": np.where(varies, gaussian.target_mean, gaussian.source_mean) * unit,
        "target_mean": gaussian.target_mean * unit,
        "source_in": into,
        "target_out": out,
        "target_in": into,
        "source_out": out,
        "spread": relative / scale,
    }
    return _coordinates(arrays, None if varies.all() else np.diag(~varies))


def _coordinates(
    arrays: Mapping[str, NDArray[np.float64]], outside: NDArray[Any] | None
) -> Coordinates:
    tensors = {name: torch.from_numpy(array.astype(np.float32)) for name, array in arrays.items()}
    tail = None if outside is None else torch.from_numpy(outside.astype(np.float32))
    return Coordinates(**tensors, outside=tail, conditions=0)
