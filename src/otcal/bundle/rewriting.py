"""What the writers of all formats share: copy a file, and add columns to one of its tables."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otcal.runtime.errors import InputError
from otcal.runtime.files import full

CHUNK = 65_536
"""Most rows of a table that are in memory at once."""


@dataclass(frozen=True)
class Request:
    """Columns to add to a table.

    Attributes
    ----------
    columns
        Names that `compute` knows its inputs by, and the names of the file's columns.
    widths
        Numbers per jet in each of them.
    compute
        Function of the inputs of n jets to the new columns, by name; called with pieces of the
        table in order, and with no jets to learn names, types and widths.
    table
        Name of the tree or data set; None takes the only one.
    chunk
        Most rows to have in memory.
    beside
        ROOT only: write the new columns to a tree of their own, a friend of the first, and leave
        everything else in the file as it is.
    """

    columns: Mapping[str, str]
    widths: Mapping[str, int]
    compute: Callable[[dict[str, NDArray[Any]]], dict[str, NDArray[Any]]]
    table: str | None = None
    chunk: int = CHUNK
    beside: bool = False

    def empty(self) -> dict[str, NDArray[Any]]:
        """Return the new columns of no jets."""
        shapes = {name: (0,) if width == 1 else (0, width) for name, width in self.widths.items()}
        return self.compute({name: np.empty(shape) for name, shape in shapes.items()})

    def check(self, path: Path, present: Collection[str]) -> None:
        """Refuse a table without the inputs, or with a column of a new one's name.

        Raises
        ------
        InputError
            Names file and column.
        """
        for name, column in self.columns.items():
            if column not in present:
                raise InputError(
                    path,
                    column,
                    "column is missing",
                    f"Name the column that holds {name} (--columns {name}=…, --label …); "
                    f"there are: {_listed(present)}",
                )
            if list(present).count(column) > 1:
                raise InputError(
                    path, column, "is there more than once", "Name a column that is there once"
                )
        for column in self.empty():
            if column in present:
                raise InputError(
                    path, column, "exists already", "Choose another --prefix for the new columns"
                )

    def check_values(self, path: Path, name: str, values: NDArray[Any]) -> NDArray[Any]:
        """Return the values of an input when they are numbers of the expected width.

        Raises
        ------
        InputError
            Names file and column.
        """
        width = self.widths[name]
        shape = () if width == 1 else (width,)
        if values.dtype.kind not in "biuf" or values.shape[1:] != shape:
            found = (
                f"{values.dtype} of shape {values.shape[1:]}" if values.ndim > 1 else values.dtype
            )
            raise InputError(
                path,
                self.columns[name],
                f"has values of {found}",
                f"{name} takes {'one number' if width == 1 else f'{width} numbers'} per jet",
            )
        return values


@contextmanager
def readable(path: Path, *kinds: type[Exception]) -> Iterator[None]:
    """Turn a library's errors about a file into one that names it.

    Errors that name it already stay, and those of a full disk or memory.

    Raises
    ------
    InputError
        In place of exceptions of the given kinds.
    """
    try:
        yield
    except kinds as error:
        if isinstance(error, InputError | MemoryError) or full(error) is not None:
            raise
        problem = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(
            path,
            "file",
            f"cannot be read ({problem})",
            "It is damaged or cut off: fetch or make it again",
        ) from error


def choose(path: Path, names: Iterable[str], wanted: str | None, what: str) -> str:
    """Return the table that is asked for, or the only one.

    Raises
    ------
    InputError
        When there is none, or several and no choice.
    """
    names = list(names)
    if wanted is not None:
        if wanted not in names:
            raise InputError(path, wanted, f"is no {what}", f"There are: {_listed(names)}")
        return wanted
    if len(names) != 1:
        raise InputError(path, what, f"can be any of {_listed(names)}", "Choose one with --table")
    return names[0]


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f", … ({len(names)} in all)" if len(names) > 20 else ""
    return (", ".join(names[:20]) or "none") + more
