"""A fitted transport map: apply, invert, save and load. Nothing here can train."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from otcal.runtime.errors import InputError
from otcal.runtime.weights import fitting_together, load_described, save_described
from otcal.transport.conditional import ConditionalPotential
from otcal.transport.conjugate import conjugate
from otcal.transport.convex import ConvexPotential
from otcal.transport.coordinates import Coordinates
from otcal.transport.entropic import EntropicPotential
from otcal.transport.nicnn import InputConvexNetwork
from otcal.transport.potentials import Potential, QuadraticPotential
from otcal.transport.quantiles import QuantilePotential

Samples = TypeVar("Samples", NDArray[np.floating], Tensor)

FORMAT = "otcal.transport/1"
_AGAIN = "Fit the map again"
CHUNK = 1024
"""Points handled at a time on a CPU: what its cache holds."""

CHUNK_ON_GPU = 65536
"""The same elsewhere; bounds the memory, whatever the size of the array."""

_KINDS: dict[str, type[Potential]] = {
    "quadratic": QuadraticPotential,
    "convex": ConvexPotential,
    "conditional": ConditionalPotential,
    "entropic": EntropicPotential,
    "quantile": QuantilePotential,
    "icnn": InputConvexNetwork,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


@dataclass(frozen=True)
class Inverse:
    """Points of the inverse map with a certificate.

    Attributes
    ----------
    points
        Source points, shape (n, d), of the kind (NumPy or torch) that was asked with.
    residual
        |t(u) − v| / √r in the well-conditioned coordinates, shape (n,): 1 is one typical spread.
    error_bound
        Upper bound of |u − t⁻¹(v)| / √r for the returned u, shape (n,), proven by strong convexity;
        NaN for a composition of several potentials, for which there is no such proof.
    converged
        Whether the residual is below the requested tolerance, shape (n,).
    """

    points: Any
    residual: NDArray[np.float32]
    error_bound: NDArray[np.float32]
    converged: NDArray[np.bool_]


class TransportMap:
    """T = decode ∘ ∇φ_K ∘ … ∘ ∇φ_1 ∘ encode; one potential (K = 1) makes it a Brenier map.

    Parameters
    ----------
    coordinates
        Affine changes of coordinates around the potentials.
    potentials
        Convex potentials in the order of application.
    """

    def __init__(self, coordinates: Coordinates, potentials: Sequence[Potential]) -> None:
        self.coordinates = coordinates
        self.potentials = [potential.eval().requires_grad_(False) for potential in potentials]

    @property
    def dimension(self) -> int:
        """Number of features d."""
        return len(self.coordinates.source_mean) - self.conditions

    @property
    def conditions(self) -> int:
        """Number of conditions k that the map depends on; mostly 0."""
        return self.coordinates.conditions

    @property
    def is_gradient(self) -> bool:
        """Whether the map is the gradient of one convex function by construction."""
        return len(self.potentials) == 1

    def to(self, device: torch.device | str) -> TransportMap:
        """Return this map on another device (its potentials move with it)."""
        device = torch.device(device)
        return TransportMap(
            self.coordinates.to(device), [potential.to(device) for potential in self.potentials]
        )

    def transport(self, x: Samples, conditions: Samples | None = None) -> Samples:
        """Move source points to the target.

        Parameters
        ----------
        x
            Points, shape (n, d); NumPy in, NumPy (float32) out; torch in, torch out on x's device.
        conditions
            What the map depends on, shape (n, k); None for a map without conditions.

        Raises
        ------
        InputError
            When x or conditions have another shape or hold NaN or infinities.
        """
        return self._chunked(x, conditions, self.move)

    def inverse(
        self,
        y: Samples,
        tolerance: float = 1e-3,
        max_iterations: int = 300,
        *,
        conditions: Samples | None = None,
    ) -> Inverse:
        """Move target points back to the source by convex conjugation, ∇φ*.

        Parameters
        ----------
        y
            Points, shape (n, d).
        conditions
            As for `transport`.
        tolerance
            A point has converged when its residual is below this (see `Inverse.residual`).
        max_iterations
            Steps after which a point is given up; ``converged`` then says so.
        """
        certificates: list[Tensor] = []

        def back(piece: Tensor) -> Tensor:
            points, certificate = self._inverse(piece, tolerance, max_iterations)
            certificates.append(certificate)
            return points

        points = self._chunked(y, conditions, back)
        table = torch.cat(certificates) if certificates else torch.empty(0, 3)
        residual, bound, converged = table.cpu().numpy().T
        return Inverse(points, residual, bound, converged > 0)

    def save(self, path: str | Path, notes: dict[str, Any] | None = None) -> None:
        """Write weights to `path` (.safetensors) and the description beside it (.json).

        Parameters
        ----------
        path
            Name of the weights file.
        notes
            JSON-ready content for the description, such as diagnostics and provenance.
        """
        tensors = {f"coordinates.{k}": v for k, v in self.coordinates.tensors().items()}
        for i, potential in enumerate(self.potentials):
            for name, tensor in potential.state_dict().items():
                tensors[f"potentials.{i}.{name}"] = tensor
        description = {
            "format": FORMAT,
            "dimension": self.dimension,
            "rank": self.coordinates.rank,
            "conditions": self.conditions,
            "gradient_of_one_convex_potential": self.is_gradient,
            "potentials": [_describe(potential) for potential in self.potentials],
            "notes": notes or {},
        }
        save_described(path, tensors, description)

    def to_onnx(self, path: str | Path, metadata: dict[str, str] | None = None) -> None:
        """Write `transport` as an ONNX model, see `otcal.bundle.onnx_map`.

        Parameters
        ----------
        path
            Name of the model's file.
        metadata
            Texts to keep in the model's properties.

        Raises
        ------
        InputError
            When the package `onnx` is not installed.
        """
        # Imported by name: a fit neither needs the exporter nor runs again when it changes.
        import_module("otcal.bundle.onnx_map").save_map(self, path, metadata)

    @staticmethod
    def load(path: str | Path) -> TransportMap:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            When a file is missing, damaged, of another format, or the two don't belong together.
        """
        description, tensors = load_described(path, FORMAT, _AGAIN)
        with fitting_together(path, _AGAIN):
            coordinates = Coordinates.from_tensors(
                _below(tensors, "coordinates."), description.get("conditions", 0)
            )
            potentials = []
            for i, entry in enumerate(description["potentials"]):
                potential = _KINDS[entry["kind"]](**entry["architecture"])
                potential.load_state_dict(_below(tensors, f"potentials.{i}."))
                potentials.append(potential)
        return TransportMap(coordinates, potentials)

    def move(self, rows: Tensor) -> Tensor:
        """Return `transport` of rows (x, c), shape (n, d + k), all at once and without checks."""
        u = self.coordinates.encode_source(rows)
        for potential in self.potentials:
            u = potential.value_and_gradient(u)[1]
        return self.coordinates.decode_target(u, rows)

    def _inverse(self, y: Tensor, tolerance: float, max_iterations: int) -> tuple[Tensor, Tensor]:
        v = self.coordinates.encode_target(y)
        unit = max(1, v.shape[1]) ** 0.5
        residual = torch.zeros(len(v), device=v.device)
        bound = torch.zeros_like(residual) if self.is_gradient else residual + torch.nan
        converged = torch.ones_like(residual)
        for potential in reversed(self.potentials):
            found = conjugate(potential, v, tolerance=tolerance, max_iterations=max_iterations)
            v = found.points
            residual = torch.maximum(residual, found.residual / unit)
            bound = torch.maximum(bound, found.error_bound / unit) if self.is_gradient else bound
            converged = converged * found.converged
        points = self.coordinates.decode_source(v, y)
        return points, torch.stack([residual, bound, converged], dim=1)

    def _chunked(
        self, points: Samples, conditions: Samples | None, function: Callable[[Tensor], Tensor]
    ) -> Samples:
        self._check(points, conditions)
        home = self.coordinates.source_mean.device
        given = points.device if isinstance(points, Tensor) else torch.device("cpu")
        result = torch.empty(points.shape, device=given)
        size = CHUNK if home.type == "cpu" else CHUNK_ON_GPU
        with torch.no_grad():
            for start in range(0, len(points), size):
                rows = slice(start, start + size)
                piece = _piece(points[rows], "points", home)
                if conditions is not None:
                    piece = torch.cat([piece, _piece(conditions[rows], "conditions", home)], dim=1)
                result[rows] = function(piece)[:, : self.dimension]
        return result if isinstance(points, Tensor) else result.numpy()

    def _check(self, points: Samples, conditions: Samples | None) -> None:
        if points.ndim != 2 or points.shape[1] != self.dimension:
            raise InputError(
                "transport",
                "points",
                f"have shape {tuple(points.shape)}",
                f"This map takes (n, {self.dimension})",
            )
        given = None if conditions is None else tuple(conditions.shape)
        wanted = (len(points), self.conditions) if self.conditions else None
        if given != wanted:
            raise InputError(
                "transport",
                "conditions",
                "are missing" if given is None else f"have shape {given}",
                f"This map takes {wanted or 'none'}",
            )


def _piece(rows: Any, name: str, home: torch.device) -> Tensor:
    """Return rows of an array in float32 at home."""
    # A copy, as Arrow hands out arrays that torch must not write to.
    piece = rows if isinstance(rows, Tensor) else torch.from_numpy(np.array(rows))
    piece = piece.to(home, torch.float32)
    if not bool(torch.isfinite(piece).all()):
        raise InputError("transport", name, "hold NaN or infinite values", "Drop these rows")
    return piece


def _describe(potential: Potential) -> dict[str, Any]:
    return {"kind": _NAMES[type(potential)], "architecture": potential.architecture()}


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
