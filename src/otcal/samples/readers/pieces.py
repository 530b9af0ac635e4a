"""Rows of foreign files: their numbers and labels, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from otcal.config.samples import Labels, Layout
from otcal.runtime.errors import InputError
from otcal.samples import tables
from otcal.samples.readers.files import ColumnFile
from otcal.samples.readers.recipes import FLAVOUR_COLUMN, FLAVOUR_VALUES, Array

_GEV = {"GeV": 1.0, "MeV": 1e-3}


class Piece:
    """Some rows of a file.

    Parameters
    ----------
    path
        The file.
    table
        Columns of the rows.
    rows
        Their numbers in the file, (N,), or that of the first one.
    """

    def __init__(self, path: str | Path, table: pa.Table, rows: int | NDArray[np.int64]) -> None:
        self.path = path
        given = isinstance(rows, np.ndarray)
        self.rows = np.asarray(rows if given else rows + np.arange(len(table)), dtype=np.int64)
        self._table = table
        self._offsets: tuple[str, NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        return len(self._table)

    def select(self, keep: NDArray[np.bool_]) -> Piece:
        """Return the rows of a mask (N,)."""
        return Piece(self.path, self._table.filter(pa.array(keep)), self.rows[keep])

    @property
    def offsets(self) -> NDArray[np.int64]:
        """Where the constituents of each jet begin and end, (N + 1,)."""
        return self._offsets[1] if self._offsets else np.zeros(len(self) + 1, dtype=np.int64)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of constituents of each jet, (N,)."""
        return np.diff(self.offsets)

    @cached_property
    def owner(self) -> NDArray[np.int64]:
        """Number of each constituent's jet, (M,)."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def values(self, name: str, listed: bool) -> Array:
        """Return a column, or the flat values of a column of lists, which all have one length."""
        if not listed:
            return self.numbers(name)
        column = self._complete(name)
        if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
            raise InputError(
                self.path, name, f"has type {column.type}", "Needed is a list for each jet"
            )
        offsets = column.offsets.to_numpy().astype(np.int64)
        offsets = offsets - offsets[0]
        if self._offsets is None:
            self._offsets = name, offsets
        elif not np.array_equal(offsets, self._offsets[1]):
            jet = int(np.argmax(np.diff(offsets) != self.lengths))
            raise InputError(
                self.path,
                name,
                f"has {np.diff(offsets)[jet]} values in row {self.rows[jet]}, "
                f"{self._offsets[0]} has {self.lengths[jet]}",
                "All columns of constituents must list the same ones: make the file again",
            )
        values = column.flatten()
        if values.null_count:
            raise InputError(self.path, name, "has missing values", "Fill or drop these jets")
        return self._finite(name, tables.to_numpy(values), self.owner)

    def numbers(self, name: str) -> Array:
        """Return a column with a number for each jet."""
        column = self._complete(name)
        if pa.types.is_nested(column.type):
            raise InputError(
                self.path, name, f"has type {column.type}", "Needed is a number for each jet"
            )
        return self._finite(name, tables.to_numpy(column), np.arange(len(self)))

    def matrix(self, names: Sequence[str]) -> NDArray[np.float32]:
        """Return a column of lists of equal length, or several of numbers, as (N, D)."""
        if not len(self):
            return np.empty((0, len(names)), np.float32)
        if len(names) > 1 or not pa.types.is_nested(self._table[names[0]].type):
            columns = [self._single(name, self.numbers(name)) for name in names]
            return np.stack(columns, axis=1)
        (name,) = names
        column = self._complete(name)
        if pa.types.is_fixed_size_list(column.type):
            lengths = np.full(len(self), column.type.list_size)
        else:
            lengths = np.diff(column.offsets.to_numpy())
        if (lengths != lengths[0]).any():
            row = int(np.argmax(lengths != lengths[0]))
            raise InputError(
                self.path,
                name,
                f"has {lengths[row]} numbers in row {self.rows[row]}, {lengths[0]} in row "
                f"{self.rows[0]}",
                "A latent has equally many for each jet: make the file again",
            )
        values = column.flatten()
        if values.null_count:
            raise InputError(self.path, name, "has missing values", "Fill or drop these jets")
        owner = np.repeat(np.arange(len(self)), lengths)
        finite = self._finite(name, tables.to_numpy(values), owner)
        return self._single(name, finite).reshape(len(self), -1)

    def ids(self, name: str | None, first_id: int) -> NDArray[np.int64]:
        """Return ids (N,): those of a column, or without one the rows' numbers from `first_id`."""
        if name is None:
            return first_id + self.rows
        found = self.numbers(name)
        whole = found.astype(np.int64)
        if not np.array_equal(whole, found):
            row = int(np.argmax(whole != found))
            raise InputError(
                self.path,
                name,
                f"is {found[row]} in row {self.rows[row]}, which is no 64-bit whole number",
                "Ids are whole numbers: correct them, or leave the column out",
            )
        return whole

    def _complete(self, name: str) -> Any:
        column = self._table[name].combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = pa.concat_arrays(column.chunks)
        if column.null_count:
            raise InputError(self.path, name, "has missing values", "Fill or drop these jets")
        return column

    def _single(self, name: str, values: Array) -> NDArray[np.float32]:
        """Return finite values, as many for each jet, in single precision."""
        with np.errstate(over="ignore"):
            single = values.astype(np.float32)
        bad = ~np.isfinite(single)
        if bad.any():
            first = int(np.argmax(bad))
            row = self.rows[first * len(self) // len(values)]
            raise InputError(
                self.path,
                name,
                f"is {values[first]:g} in row {row}, which does not fit single precision",
                "Drop these jets or make the file again",
            )
        return single

    def _finite(self, name: str, values: Array, owner: NDArray[np.int64]) -> Array:
        bad = ~np.isfinite(values)
        if bad.any():
            raise InputError(
                self.path,
                name,
                f"has {int(bad.sum())} NaN or infinite values (first: row "
                f"{self.rows[owner[np.argmax(bad)]]})",
                "Drop these jets or make the file again",
            )
        return values.astype(np.int8) if values.dtype == bool else values


def momentum_factor(layout: Layout) -> float:
    """Return how many GeV the unit of momenta is."""
    return _GEV[layout.unit or ("MeV" if layout.format == "ftag" else "GeV")]


def missing(
    file: ColumnFile, column: str, problem: str, remedy: str = "Name it in `columns`"
) -> InputError:
    """Return the error for a column that a file does not have."""
    there = ", ".join(file.columns) or "nothing"
    return InputError(file.path, column, problem, f"{remedy}. The file has: {there}")


_NO_LABELS = "Name it in `labels`, or there the class of all jets: {all: <class>}"


def weight_column(file: ColumnFile) -> str | None:
    """Return the first column that its name says to be of weights; None without one."""
    return next((name for name in file.columns if "weight" in name.lower()), None)


def require_unweighted(file: ColumnFile, layout: Layout) -> None:
    """Raise `InputError` for a column of weights that the layout does not say to ignore."""
    found = None if layout.ignore_weights else weight_column(file)
    if found is not None:
        raise InputError(
            file.path,
            found,
            "seems to be a weight, and no step reads weights: every jet would count once",
            "Make files of unweighted jets, or say `ignore_weights: true` if they are to count so",
        )


def labelling(file: ColumnFile, layout: Layout, classes: tuple[str, ...]) -> Labels | None:
    """Return what labels the jets; None for a column per class.

    Raises
    ------
    InputError
        When there is no label, or one of no class.
    """
    labels, there = layout.labels, file.columns
    if labels is None and layout.format in FLAVOUR_COLUMN:
        column = FLAVOUR_COLUMN[layout.format]
        labels = Labels.model_validate({"column": column, "values": FLAVOUR_VALUES})
    if labels is None:
        for name in classes:
            if f"label_{name}" not in there:
                raise missing(file, f"label_{name}", "column is missing", _NO_LABELS)
        return None
    if labels.column and labels.column not in there:
        raise missing(file, labels.column, "column of labels is missing", _NO_LABELS)
    foreign = [name for name in labels.classes if name not in classes]
    if foreign:
        others = "map others to null" if labels.column else "name one of them"
        raise InputError(
            file.path,
            labels.column or "labels.all",
            f"labels jets as {foreign[0]}",
            f"The study's classes are {', '.join(classes)}; {others}",
        )
    return labels


def label_columns(labels: Labels | None, classes: tuple[str, ...]) -> list[str]:
    """Return the columns that `label_numbers` reads."""
    if labels is None:
        return [f"label_{name}" for name in classes]
    return [labels.column] if labels.column else []


def label_numbers(
    piece: Piece, labels: Labels | None, classes: tuple[str, ...]
) -> NDArray[np.int64]:
    """Return the class of each jet (N,); -1 for jets that are to be dropped.

    Raises
    ------
    InputError
        For a label that is not among the known values, or jets without or of several classes.
    """
    if labels is not None and labels.all:
        return np.full(len(piece), classes.index(labels.all))
    if labels is not None and labels.column:
        return _mapped(piece, labels.column, labels.values, classes)
    flags = np.stack([piece.numbers(f"label_{name}") for name in classes], axis=1)
    wrong = (~np.isin(flags, (0, 1))).any(axis=1) | (flags.sum(axis=1) != 1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(
            piece.path,
            "label_*",
            f"{int(wrong.sum())} jets do not have exactly one class (first: row "
            f"{piece.rows[row]}: {flags[row].tolist()})",
            f"Set one of {', '.join(f'label_{name}' for name in classes)} to 1, others 0",
        )
    return flags.argmax(axis=1)


def _mapped(
    piece: Piece, column: str, values: Mapping[int, str | None], classes: tuple[str, ...]
) -> NDArray[np.int64]:
    found = piece.numbers(column)
    result = np.full(len(found), -2)
    for value, name in values.items():
        result[found == value] = classes.index(name) if name else -1
    if (result == -2).any():
        row = int(np.argmax(result == -2))
        meaning = ", ".join(f"{value} = {name or 'drop'}" for value, name in values.items())
        raise InputError(
            piece.path,
            column,
            f"is {found[row]} in row {piece.rows[row]} ({int((result == -2).sum())} jets with "
            "unknown labels in this piece)",
            f"Known: {meaning}. Add it to labels.values; null drops such jets",
        )
    return result
