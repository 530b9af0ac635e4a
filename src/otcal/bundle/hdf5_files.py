"""Add columns to a table of an HDF5 file; everything else in it stays as it is.

A table is a data set of a compound type, whose fields are the columns (as in ATLAS's files for
flavour tagging), or a group, whose data sets are the columns.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import FileIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from otcal.bundle.rewriting import Request, choose, readable
from otcal.runtime.errors import InputError

Columns = dict[str, NDArray[Any]]
Compute = Callable[[Columns], Columns]

_BESIDE = "_otcal_new"
_UNREADABLE = (OSError, RuntimeError)


def rewrite(source: Path, output: Path, request: Request) -> None:
    """Write a copy of `source` with the new columns.

    The file is copied byte by byte. A compound data set is then replaced by a wider one of the same
    layout, filters and attributes; the room of the old one stays in the file (`h5repack` frees it).

    Raises
    ------
    InputError
        When the file cannot be read, or its columns are not those that the request needs.
    """
    with readable(source, *_UNREADABLE), h5py.File(source, "r") as file:
        name = choose(source, _tables(file, request.table), request.table, "table")
    shutil.copyfile(source, output)
    with _Output(output, "r+b") as stream:
        stoppable = replace(request, compute=stream.checked(request.compute))
        try:
            with h5py.File(stream, "r+") as file:
                if isinstance(file[name], h5py.Group):
                    _extend_group(source, file[name], stoppable)
                else:
                    _replace(source, file, name, stoppable)
        except _UNREADABLE as error:
            stream.check()
            problem = " ".join(str(error).split())[:200]
            raise InputError(
                output.parent, "file", f"cannot be written ({problem})", "Check the space there"
            ) from error
        stream.check()


class _Output(FileIO):
    """A file that HDF5 writes, which keeps the first failure to itself.

    HDF5 does not get over a full disk: it holds what it could not write and tries again whenever
    something is closed, which fails again in destructors, and may end the process.
    """

    _failure: OSError | None = None

    def check(self) -> None:
        """Raise the first failure (`OSError`), if there was one."""
        if self._failure is not None:
            raise self._failure

    def checked(self, compute: Compute) -> Compute:
        """Return a function that does the same, unless a write has failed before."""

        def checking(given: Columns) -> Columns:
            self.check()
            return compute(given)

        return checking

    def write(self, data: Any) -> int:
        """Write all bytes, or pretend to."""
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while len(left) and self._failure is None:
                left = left[super().write(left) :]
        except OSError as error:
            self._failure = error
        return size

    def truncate(self, size: int | None = None) -> int:
        """Change the size, or pretend to."""
        try:
            if self._failure is None:
                return super().truncate(size)
        except OSError as error:
            self._failure = error
        return size or 0


def _tables(file: h5py.File, wanted: str | None) -> list[str]:
    """Return compound data sets with one row per jet, and the group that is asked for."""
    found: list[str] = []

    def visit(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and node.dtype.names and node.ndim == 1:
            found.append(name)

    file.visititems(visit)
    if wanted is not None and isinstance(file.get(wanted), h5py.Group):
        found.append(wanted)
    return found


def _slices(rows: int, chunk: int) -> Iterator[slice]:
    for start in range(0, rows, chunk):
        yield slice(start, min(start + chunk, rows))


def _extend_group(path: Path, group: h5py.Group, request: Request) -> None:
    sets = {name: node for name, node in group.items() if isinstance(node, h5py.Dataset)}
    request.check(path, list(group))
    for column in request.needed:
        if column not in sets:
            raise InputError(path, column, "is not a data set", "Name another one")
        if not sets[column].shape:
            raise InputError(path, column, "is a single value", "Name another one")
    lengths = {column: len(sets[column]) for column in request.needed}
    if len(set(lengths.values())) > 1:
        raise InputError(path, group.name, f"has columns of lengths {lengths}", "Choose one table")
    rows = next(iter(lengths.values()))
    layout = {"chunks": True, "shuffle": True, "compression": "gzip"} if rows else {}
    new = {
        name: group.create_dataset(name, (rows, *values.shape[1:]), values.dtype, **layout)
        for name, values in request.empty().items()
    }
    for piece in _slices(rows, request.chunk):
        with readable(path, *_UNREADABLE):
            read = {column: sets[column][piece] for column in request.needed}
        for name, values in request.compute(_inputs(path, read, request)).items():
            new[name][piece] = values


def _inputs(path: Path, rows: Columns | NDArray[Any], request: Request) -> Columns:
    return request.inputs(path, lambda column, _: rows[column])


def _replace(path: Path, file: h5py.File, name: str, request: Request) -> None:
    old = file[name]
    request.check(path, old.dtype.names)
    if h5py.h5o.get_info(old.id).rc > 1:
        raise InputError(
            path, name, "has other names (hard links) that would keep the old table", "Remove them"
        )
    wider = file.create_dataset(
        name + _BESIDE,
        old.shape,
        _wider(old.dtype, request.empty()),
        maxshape=old.maxshape if old.chunks else None,
        chunks=old.chunks,
        dcpl=_filters(old),
    )
    for key in old.attrs:
        # With its own type, as h5py would choose another one for some.
        wider.attrs.create(key, old.attrs[key], dtype=old.attrs.get_id(key).dtype)
    for piece in _slices(len(old), request.chunk):
        with readable(path, *_UNREADABLE):
            rows = old[piece]
        wider[piece] = _widened(path, rows, wider.dtype, request)
    del file[name]
    file.move(name + _BESIDE, name)


def _filters(old: h5py.Dataset) -> h5py.h5p.PropDCID:
    """Return creation properties with the filters of a data set, in their order."""
    theirs = old.id.get_create_plist()
    ours = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    for code, flags, values, _ in map(theirs.get_filter, range(theirs.get_nfilters())):
        ours.set_filter(code, flags, values)
    return ours


def _wider(kind: np.dtype[Any], new: dict[str, NDArray[Any]]) -> np.dtype[Any]:
    fields: list[Any] = [(field, kind[field]) for field in kind.names or ()]
    fields += [(name, values.dtype, values.shape[1:]) for name, values in new.items()]
    return np.dtype(fields)


def _widened(path: Path, rows: NDArray[Any], kind: np.dtype[Any], request: Request) -> NDArray[Any]:
    given = _inputs(path, rows, request)
    result = np.empty(rows.shape, kind)
    for field in rows.dtype.names or ():
        result[field] = rows[field]
    for name, values in request.compute(given).items():
        result[name] = values
    return result
