"""Maps of class probabilities, in the coordinates that they were fitted in.

[KY] = Kim, Yang (arXiv:2605.01363), section II.3. In isometric log-ratios (`ilr`) every point is a
vector of probabilities. In the logits of the single classes (`logit`) the probabilities fill a
curved surface of one dimension less: a map need not end on it, so that what it returns does not sum
to one (leakage) and is normalised for use.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from otcal.runtime.errors import InputError
from otcal.runtime.files import read_json
from otcal.runtime.weights import description_path
from otcal.simplex import ilr, ilr_inverse, logit, logit_inverse
from otcal.transport.fitted import TransportMap

Array = NDArray[np.float64]
Space = Literal["ilr", "logit"]

SMALLEST = 1e-30
"""Probabilities are kept above this one: a map may end where exp() underflows."""


@dataclass(frozen=True)
class Calibrated:
    """Probabilities that a map returned.

    Attributes
    ----------
    p
        Shape (N, K), positive, rows sum to one.
    leakage
        |Σ p − 1| before they were normalised, shape (N,); zero in ILR coordinates.
    """

    p: Array
    leakage: Array


def encode(p: NDArray[Any], space: Space) -> Array:
    """Return coordinates of probabilities, shape (N, K): (N, K − 1) for ilr, (N, K) for logit."""
    return ilr(p) if space == "ilr" else logit(p)


def decode(points: NDArray[Any], space: Space) -> Calibrated:
    """Return the probabilities of points, the inverse of `encode`."""
    if space == "ilr":
        return Calibrated(_normalised(ilr_inverse(points)), np.zeros(len(points)))
    p, leakage = logit_inverse(points)
    return Calibrated(_normalised(p), leakage)


@dataclass(frozen=True)
class SimplexMap:
    """A transport map with its space and the flavour whose jets it moves."""

    map: TransportMap
    space: Space
    flavour: str
    conditions: tuple[str, ...] = ()

    @staticmethod
    def load(path: str | Path, flavour: str) -> SimplexMap:
        """Read a map of `otcal.steps.fit_flavour_map`.

        Raises
        ------
        InputError
            As `TransportMap.load`, and when the map is one of another flavour.
        """
        transport_map = TransportMap.load(path)
        notes = read_json(description_path(path))["notes"]
        if notes.get("flavour") != flavour or notes.get("space") not in ("ilr", "logit"):
            raise InputError(
                path,
                "flavour",
                f"is a map of {notes.get('flavour', 'no flavour')}, not of {flavour}",
                "Pass the maps of fit_flavour_map in the order of the flavours",
            )
        names = tuple(notes.get("conditions", ()))
        return SimplexMap(transport_map, notes["space"], flavour, names)

    def __call__(self, p: NDArray[Any], conditions: NDArray[Any] | None = None) -> Calibrated:
        """Move probabilities (N, K); a map with `conditions` needs them, (N, C)."""
        given = conditions if self.conditions else None
        return decode(self.map.transport(encode(p, self.space), given), self.space)


def _normalised(p: Array) -> Array:
    p = np.maximum(p, SMALLEST)
    return np.asarray(p / p.sum(axis=1, keepdims=True))
