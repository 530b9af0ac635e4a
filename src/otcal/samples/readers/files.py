"""Columns of ROOT, HDF5 and Parquet files, whatever they mean, in pieces of bounded size.

A column is a number per jet or a list per jet; anything else is not offered. Of HDF5 files these
are the fields of compound data sets with a row per jet, called ``<data set>/<field>``, and other
data sets of numbers, (N,) or (N, D), called by their path. In the files of ATLAS's flavour tagging
and of umami-preprocessing, compound data sets of N rows of objects are padded up to a fixed length,
and their field `valid` says which ones exist.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
import pyarrow as pa
import uproot

from otcal.runtime.errors import InputError
from otcal.samples import tables

BATCH = 8192
"""Jets in memory at once."""

JETS = "jets"
"""Data set of HDF5 files with one row per jet."""


class ColumnFile(ABC):
    """A file that is open.

    Parameters
    ----------
    path
        Where it is.
    columns
        Type of each column: of a number, or a list of numbers.
    rows
        Number of jets.
    """

    def __init__(self, path: str | Path, columns: dict[str, pa.DataType], rows: int) -> None:
        self.path = path
        self.columns = columns
        self.rows = rows

    def iterate(
        self, names: Sequence[str], first: int, last: int, size: int = BATCH
    ) -> Iterator[pa.Table]:
        """Yield columns of the rows from `first` to `last` (exclusive), at most `size` at a time.

        Raises
        ------
        InputError
            When the file is damaged there.
        """
        with damage_named(self.path):
            yield from self._iterate(list(names), first, last, size)

    @abstractmethod
    def _iterate(self, names: list[str], first: int, last: int, size: int) -> Iterator[pa.Table]:
        """Do what `iterate` does."""

    @abstractmethod
    def close(self) -> None:
        """Close the file."""


@contextmanager
def damage_named(path: str | Path) -> Iterator[None]:
    """Turn what libraries raise for a file that they cannot read into `InputError`."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except FileNotFoundError:
        raise InputError(path, "file", "does not exist", "Check the path") from None
    except Exception as error:
        # uproot interprets damaged bytes as it goes, and fails in any way that code can.
        line = str(error).strip().partition("\n")[0] or "no reason given"
        raise InputError(
            path,
            "file",
            f"cannot be read ({type(error).__name__}: {line})",
            "It is truncated, damaged or of another format: compare its checksum, fetch it again",
        ) from error


@contextmanager
def open_columns(path: str | Path, tree: str = "tree") -> Iterator[ColumnFile]:
    """Open a file by its first bytes: ROOT, HDF5 or Parquet.

    Parameters
    ----------
    path
        The file.
    tree
        Name of the TTree in a ROOT file.

    Raises
    ------
    InputError
        For a file that is missing, damaged, of another kind, or without that tree.
    """
    with damage_named(path), Path(path).open("rb") as stream:
        start = stream.read(8)
    kind = next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), None)
    if kind is None:
        raise InputError(
            path, "file", "is none of ROOT, HDF5 and Parquet", "Check the path, or fetch it again"
        )
    with damage_named(path):
        file: ColumnFile = RootFile(path, tree) if kind is RootFile else kind(path)
    try:
        yield file
    finally:
        file.close()


def open_tree(path: str | Path, tree: str) -> Any:
    """Open a TTree of a ROOT file; its ``file`` is to be closed.

    Raises
    ------
    InputError
        For a truncated file, or one without that tree. What uproot raises for other files that it
        cannot read passes through: see `damage_named`.
    """
    # Each piece is read once: kept arrays would only be memory.
    opened = uproot.open(path, array_cache=None)
    try:
        size, full = Path(path).stat().st_size, opened.file.fEND
        if size < full:  # what is lost may be behind all that would be read
            raise InputError(
                path, "file", f"is truncated: {size} of {full} bytes", "Fetch it again"
            )
        kinds = opened.classnames(cycle=False)
        if kinds.get(tree) != "TTree":
            there = [name for name, kind in kinds.items() if kind == "TTree"]
            raise InputError(
                path, tree, "no such TTree", f"The file has: {', '.join(there) or 'none'}"
            )
        return opened[tree]
    except BaseException:
        opened.close()
        raise


class RootFile(ColumnFile):
    """A TTree."""

    def __init__(self, path: str | Path, tree: str) -> None:
        self._tree = open_tree(path, tree)
        try:
            columns = {}
            for branch in self._tree.branches:
                kind = _branch_type(branch.interpretation)
                if kind is not None:
                    columns[branch.name] = kind
        except BaseException:
            self._tree.file.close()
            raise
        super().__init__(path, columns, int(self._tree.num_entries))

    def _iterate(self, names: list[str], first: int, last: int, size: int) -> Iterator[pa.Table]:
        span = {"entry_start": first, "entry_stop": last}
        for arrays in self._tree.iterate(names, step_size=size, how=dict, **span):
            yield pa.table({name: _plain(ak.to_arrow(arrays[name])) for name in names})

    def close(self) -> None:
        """Close the file."""
        self._tree.file.close()


class HdfFile(ColumnFile):
    """Data sets with a row per jet: as many rows as `JETS`, or else as most columns have."""

    def __init__(self, path: str | Path) -> None:
        self._file = h5py.File(path, "r")
        try:
            sets = _data_sets(self._file)
            rows = len(sets[JETS]) if JETS in sets else _commonest_length(sets)
            columns: dict[str, pa.DataType] = {}
            self._places: dict[str, tuple[str, str]] = {}
            for name, data in sets.items():
                if JETS in sets and data.dtype.names and len(data) != rows:
                    raise InputError(
                        path,
                        name,
                        f"has {len(data)} rows, {JETS} has {rows}",
                        "Fetch or make the file again",
                    )
                found = _fields(name, data, rows)
                columns |= found
                self._places |= {column: (name, column[len(name) + 1 :]) for column in found}
        except BaseException:
            self._file.close()
            raise
        super().__init__(path, columns, rows)

    def _iterate(self, names: list[str], first: int, last: int, size: int) -> Iterator[pa.Table]:
        wanted: dict[str, list[str]] = {}
        for name in names:
            data, field = self._places[name]
            wanted.setdefault(data, []).append(field)
        for start in range(first, last, size):
            rows = slice(start, min(start + size, last))
            columns: dict[str, Any] = {}
            for data, fields in wanted.items():
                columns |= self._read(data, fields, rows)
            yield pa.table({name: columns[name] for name in names})

    def _read(self, data: str, fields: list[str], rows: slice) -> dict[str, Any]:
        if fields == [""]:
            return {data: _array(self._file[data][rows])}
        padded = self._file[data].ndim == 2
        block = self._file[data].fields([*fields, *(["valid"] if padded else [])])[rows]
        if not padded:
            return {f"{data}/{name}": _array(block[name]) for name in fields}
        valid = block["valid"].astype(bool)
        offsets = pa.array(np.concatenate([[0], np.cumsum(valid.sum(axis=1))]), pa.int32())
        return {
            f"{data}/{name}": pa.ListArray.from_arrays(offsets, pa.array(block[name][valid]))
            for name in fields
        }

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class ParquetFile(ColumnFile):
    """A table."""

    def __init__(self, path: str | Path) -> None:
        self._file = tables.open_table(path)
        schema = self._file.schema_arrow
        columns = {field.name: field.type for field in schema if _is_column(field.type)}
        super().__init__(path, columns, tables.row_count(path))

    def _iterate(self, names: list[str], first: int, last: int, size: int) -> Iterator[pa.Table]:
        begin = 0
        groups = range(self._file.metadata.num_row_groups)
        for group in groups:  # those before and behind are not even read
            end = begin + self._file.metadata.row_group(group).num_rows
            if begin < last and end > first:
                row = begin
                for batch in self._file.iter_batches(size, row_groups=[group], columns=names):
                    head = max(first - row, 0)
                    table = pa.Table.from_batches([batch]).select(names)
                    piece = table.slice(head, max(min(last - row, len(table)) - head, 0))
                    row += len(table)
                    if len(piece):
                        yield piece
            begin = end

    def close(self) -> None:
        """Close the file."""
        self._file.close()


_MAGIC: dict[bytes, type[Any]] = {
    b"root": RootFile,
    b"\x89HDF\r\n\x1a\n": HdfFile,
    b"PAR1": ParquetFile,
}


def _branch_type(interpretation: Any) -> pa.DataType | None:
    """Return the type of a branch: numbers, or lists of them; None for anything else."""
    content = getattr(interpretation, "content", interpretation)
    kind = getattr(content, "to_dtype", None)
    if kind is None:
        return None
    number = _number(kind.base)
    if number is None or len(kind.shape) > 1 or (kind.shape and content is not interpretation):
        return None
    if kind.shape:
        return pa.list_(number, kind.shape[0])
    return number if content is interpretation else pa.list_(number)


def _number(kind: np.dtype[Any]) -> pa.DataType | None:
    """Return the type of numbers; None for anything else."""
    return pa.from_numpy_dtype(kind.newbyteorder("=")) if kind.kind in "iufb" else None


def _array(values: Any) -> Any:
    """Return an array (N,) or (N, D) as a column."""
    values = np.ascontiguousarray(values)
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if values.ndim == 1:
        return pa.array(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def _plain(array: Any) -> Any:
    """Return an array of Awkward's extension types as one of Arrow's own."""
    while isinstance(array.type, pa.ExtensionType):
        array = array.storage
    if pa.types.is_fixed_size_list(array.type):
        return type(array).from_arrays(_plain(array.flatten()), array.type.list_size)
    if pa.types.is_large_list(array.type) or pa.types.is_list(array.type):
        values = _plain(array.values)
        return type(array).from_arrays(array.offsets, values)
    return array


def _data_sets(file: Any) -> dict[str, Any]:
    """Return the data sets of an HDF5 file that have rows, by their paths."""
    found: dict[str, Any] = {}

    def visit(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and node.ndim:
            found[name] = node

    file.visititems(visit)
    return found


def _commonest_length(sets: dict[str, Any]) -> int:
    """Return how many rows most columns have; of several such numbers the largest."""
    columns: Counter[int] = Counter()
    for data in sets.values():
        columns[len(data)] += len(data.dtype.names or [""])
    return max(columns, key=lambda rows: (columns[rows], rows), default=0)


def _fields(name: str, data: Any, rows: int) -> dict[str, pa.DataType]:
    """Return the columns of a data set of an HDF5 file; none when it has no row per jet."""
    if len(data) != rows:
        return {}
    if data.dtype.names is None:
        number = _number(data.dtype)
        if number is None or data.ndim > 2:
            return {}
        return {name: number if data.ndim == 1 else pa.list_(number, data.shape[1])}
    if data.ndim > 2 or (data.ndim == 2 and "valid" not in data.dtype.names):
        return {}
    result = {}
    for field in data.dtype.names:
        kind = data.dtype[field]
        number = _number(kind.base)
        if number is None or len(kind.shape) > (1 if data.ndim == 1 else 0):
            continue
        if kind.shape:
            result[f"{name}/{field}"] = pa.list_(number, kind.shape[0])
        else:
            result[f"{name}/{field}"] = number if data.ndim == 1 else pa.list_(number)
    return result


def _is_column(kind: pa.DataType) -> bool:
    """Tell whether a Parquet column is one of numbers or of lists of numbers."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    )
