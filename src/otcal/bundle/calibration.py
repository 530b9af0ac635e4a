"""Calibrate columns of jets with a bundle: NumPy and onnxruntime only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otcal.bundle.card import NOMINAL, UNITS, Card
from otcal.runtime.errors import InputError
from otcal.simplex import SUM_TOLERANCE

try:
    import onnxruntime
except ModuleNotFoundError as error:
    raise InputError(
        "onnxruntime", "package", "is not installed", "Run: pip install 'otcal[bundle]'"
    ) from error

Array = NDArray[Any]
Columns = dict[str, Array]

PIECE = 2048
"""Jets that a model gets at a time: what a processor's cache holds."""


class Status(IntEnum):
    """What became of a jet."""

    CALIBRATED = 0
    """Moved by the map of its label, inside its validity range."""
    OUTSIDE = 1
    """Moved, but outside the validity range."""
    NO_MAP = 2
    """Not moved: its label has no map."""
    NOT_FINITE = 3
    """Not moved: an input is NaN, infinite or missing."""
    NOT_PROBABILITIES = 4
    """Not moved: its inputs are not positive (in float32) or do not sum to one."""
    NO_IMAGE = 5
    """Not moved: a map or the head gives no finite number, as float32 has no room for it."""


class Calibration:
    """The maps of a bundle, ready to run.

    Parameters
    ----------
    directory
        Directory of the bundle.
    card
        Its card, see `otcal.bundle.card.read_card`.
    variations
        Names of the variations to make beside the nominal calibration; None makes all.
    prefix
        Beginning of the new columns' names: ``<prefix><column>``, ``<prefix><column>_<variation>``
        and ``<prefix>status``.
    copy_unmapped
        Give jets whose label has no map their inputs; otherwise they get NaN. Their status is
        `Status.NO_MAP` either way.
    threads
        CPU threads.
    unit
        Of momenta and energies among the conditions, GeV or MeV.

    Raises
    ------
    InputError
        For a variation that the bundle does not have, or a model that onnxruntime cannot read.
    """

    def __init__(
        self,
        directory: str | Path,
        card: Card,
        *,
        variations: Sequence[str] | None = None,
        prefix: str = "calibrated_",
        copy_unmapped: bool = False,
        threads: int = 1,
        unit: str = "GeV",
    ) -> None:
        directory = Path(directory)
        chosen = card.variations if variations is None else list(dict.fromkeys(variations))
        for name in chosen:
            if name not in card.variations:
                known = ", ".join(card.variations) or "none"
                raise InputError(directory, f"variation {name}", "is unknown", f"It has: {known}")
        self.card, self.prefix, self.copy_unmapped = card, prefix, copy_unmapped
        scale = {"GeV": 1.0, "MeV": 1e-3}[unit]
        in_gev = [UNITS.get(name) == "GeV" for name in card.conditions]
        self._scales = np.where(in_gev, scale, 1.0)
        self.variations = [NOMINAL, *chosen]
        self.counts = dict.fromkeys(Status, 0)
        files = {card.maps[name][one] for name in card.maps for one in self.variations}
        files |= {card.head.file} if card.head else set()
        self._models = {file: _session(directory / file, threads) for file in sorted(files)}

    @property
    def columns(self) -> dict[str, int]:
        """Names of the columns that jets must have, and the numbers per jet in each."""
        wanted = dict.fromkeys(self.card.columns, self.card.width)
        return wanted | dict.fromkeys((*self.card.conditions, self.card.label), 1)

    def __call__(self, columns: Mapping[str, Array]) -> Columns:
        """Return the new columns of n jets, and count their states.

        Parameters
        ----------
        columns
            Arrays of `columns`: (n,), or (n, d) for those of more than one number.

        Returns
        -------
        dict
            Calibrated columns and variations in float32, shaped as their originals, the head's
            outputs, and the status (uint8), by name.
        """
        x = np.concatenate([_rows(columns[name]) for name in self.card.columns], axis=1)
        conditions = _conditions(columns, self.card.conditions, len(x))
        conditions = (conditions * self._scales).astype(np.float32)
        x, status = self._checked(x, conditions)
        names = self._maps(columns[self.card.label])
        good = status == Status.CALIBRATED
        status[good & (names < 0)] = Status.NO_MAP
        moved = np.full((len(self.variations), *x.shape), np.nan, np.float32)
        if self.copy_unmapped:
            moved[:, status == Status.NO_MAP] = x[status == Status.NO_MAP]
        for number, name in enumerate(self.card.maps):
            rows = np.flatnonzero(good & (names == number))
            if len(rows) == 0:
                continue
            inside = self._inside(name, x[rows], conditions[rows])
            status[rows[~inside]] = Status.OUTSIDE
            for one, values in enumerate(self._move(name, x[rows], conditions[rows])):
                moved[one, rows] = values
        result = self._named(moved)
        lost = np.isin(status, (Status.CALIBRATED, Status.OUTSIDE))
        lost &= ~np.logical_and.reduce([_finite_rows(values) for values in result.values()])
        status[lost] = Status.NO_IMAGE
        for values in result.values():
            values[lost] = np.nan
        for state in Status:
            self.counts[state] += int((status == state).sum())
        return result | {f"{self.prefix}status": status}

    def _checked(self, x: Array, conditions: Array) -> tuple[Array, NDArray[np.uint8]]:
        """Return inputs in float32 and the states of those that cannot be moved."""
        status = np.full(len(x), Status.CALIBRATED, np.uint8)
        status[~np.isfinite(x).all(axis=1)] = Status.NOT_FINITE
        if self.card.kind == "probabilities":
            x = np.where(status[:, None] == Status.CALIBRATED, x, np.nan)
            if self.card.normalise:
                x = _normalised(x)
            with np.errstate(invalid="ignore"):
                low = x < 0 if self.card.floor is not None else x <= 0
                off = low.any(axis=1) | (np.abs(x.sum(axis=1) - 1.0) > SUM_TOLERANCE)
            status[off & (status == Status.CALIBRATED)] = Status.NOT_PROBABILITIES
            x = x if self.card.floor is None else np.maximum(x, self.card.floor)
            x = _normalised(x)
        with np.errstate(over="ignore"):
            x = x.astype(np.float32)
        if self.card.kind == "probabilities":
            vanished = (x <= 0).any(axis=1) & (status == Status.CALIBRATED)
            status[vanished] = Status.NOT_PROBABILITIES
        finite = np.isfinite(x).all(axis=1) & np.isfinite(conditions).all(axis=1)
        status[~finite & (status == Status.CALIBRATED)] = Status.NOT_FINITE
        return x, status

    def _maps(self, labels: Array) -> NDArray[np.int64]:
        """Return the number of each jet's map, shape (n,); −1 for none."""
        order = list(self.card.maps)
        result = np.full(len(labels), -1)
        for value, name in self.card.labels.items():
            result[labels == value] = order.index(name)
        return result

    def _inside(self, name: str, x: Array, conditions: Array) -> NDArray[np.bool_]:
        ranges = self.card.validity[name]
        inside = np.ones(len(x), bool)
        blocks = np.split(x, len(self.card.columns), axis=1)
        blocks += np.split(conditions, len(self.card.conditions), axis=1) if conditions.size else []
        for column, values in zip(
            (*self.card.columns, *self.card.conditions), blocks, strict=False
        ):
            inside &= ranges[column].contains(values)
        return inside

    def _move(self, name: str, x: Array, conditions: Array) -> list[Array]:
        """Return the images of jets by variation; equal variations share a model."""
        found: dict[str, Array] = {}
        for variation in self.variations:
            file = self.card.maps[name][variation]
            if file not in found:
                found[file] = self.run(file, x, conditions)[0]
        return [found[self.card.maps[name][variation]] for variation in self.variations]

    def run(self, file: str, x: Array, conditions: Array) -> list[Array]:
        """Return the outputs of one of the bundle's models for inputs (n, d) and (n, k)."""
        model = self._models[file]
        first, *other = (one.name for one in model.get_inputs())
        pieces = []
        for start in range(0, len(x), PIECE):
            rows = slice(start, start + PIECE)
            inputs = {first: x[rows]} | dict.fromkeys(other, conditions[rows])
            pieces.append(model.run(None, inputs))
        return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]

    def _named(self, moved: Array) -> Columns:
        result: Columns = {}
        for variation, values in zip(self.variations, moved, strict=True):
            suffix = "" if variation == NOMINAL else f"_{variation}"
            parts = np.split(values, len(self.card.columns), axis=1)
            layers = dict(zip(self.card.columns, parts, strict=True)) | self._continued(values)
            for name, layer in layers.items():
                flat = layer[:, 0] if layer.shape[1] == 1 else layer
                result[f"{self.prefix}{name}{suffix}"] = np.ascontiguousarray(flat)
        return result

    def _continued(self, values: Array) -> Columns:
        """Return the head's outputs; NaN where there is nothing to start from."""
        head = self.card.head
        if head is None:
            return {}
        layers = {
            name: np.full((len(values), width), np.nan, np.float32)
            for name, width in head.outputs.items()
        }
        rows = np.flatnonzero(np.isfinite(values).all(axis=1))
        if len(rows):
            empty = np.empty((len(rows), 0), np.float32)
            found = self.run(head.file, values[rows], empty)
            for layer, outputs in zip(layers.values(), found, strict=True):
                layer[rows] = outputs
        return layers


def _session(path: Path, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no public base
        problem = " ".join(str(error).split())
        raise InputError(
            path, "model", f"cannot be loaded ({problem})", "Update onnxruntime, or export again"
        ) from None


def _normalised(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rows over their sums; NaN where that is not positive."""
    total = x.sum(axis=1, keepdims=True)
    return np.divide(x, total, out=np.full_like(x, np.nan), where=total > 0)


def _finite_rows(values: Array) -> NDArray[np.bool_]:
    """Return which entries of the first axis are finite as a whole."""
    return np.asarray(np.isfinite(values).all(axis=tuple(range(1, values.ndim))), dtype=np.bool_)


def _rows(values: Array) -> NDArray[np.float64]:
    values = np.asarray(values, dtype=np.float64)
    return values.reshape(len(values), -1 if values.size else int(np.prod(values.shape[1:])))


def _conditions(columns: Mapping[str, Array], names: Sequence[str], n: int) -> Array:
    if not names:
        return np.empty((n, 0), np.float32)
    return np.concatenate([_rows(columns[name]) for name in names], axis=1).astype(np.float32)
