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
from otcal.samples.columns import numbered

CHUNK = 65_536
"""Most rows of a table that are in memory at once."""


@dataclass(frozen=True)
class Request:
    """Columns to add to a table.

    Attributes
    ----------
    columns
        Names that `compute` knows its inputs by, and the names of the file's columns; an input of
        several numbers may be as many columns, ``z_{0..127}``.
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
        for name, width in self.widths.items():
            columns = numbered(self.columns[name])
            for column in columns:
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
            if len(columns) not in (1, width):
                raise InputError(
                    path,
                    self.columns[name],
                    f"are {len(columns)} columns",
                    f"{name} takes {_numbers(width)} per jet",
                )
        for column in self.empty():
            if column in present:
                raise InputError(
                    path, column, "exists already", "Choose another --prefix for the new columns"
                )

    @property
    def needed(self) -> dict[str, int]:
        """Columns of the file that are read, and the numbers per jet in each."""
        found: dict[str, int] = {}
        for name, width in self.widths.items():
            columns = numbered(self.columns[name])
            found |= dict.fromkeys(columns, width if len(columns) == 1 else 1)
        return found

    def inputs(
        self, path: Path, read: Callable[[str, int], NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """Return the inputs of some jets.

        Parameters
        ----------
        path
            The file.
        read
            Function of the name of a column, and the numbers per jet in it, to its values.

        Raises
        ------
        InputError
            For values that are no numbers, or too many or few; names file and column.
        """
        needed = self.needed
        found = {}
        for name in self.widths:
            parts = [
                _checked(path, name, column, read(column, needed[column]), needed[column])
                for column in numbered(self.columns[name])
            ]
            found[name] = parts[0] if len(parts) == 1 else np.stack(parts, axis=1)
        return found


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


def _checked(path: Path, name: str, column: str, values: NDArray[Any], width: int) -> NDArray[Any]:
    shape = () if width == 1 else (width,)
    if values.dtype.kind not in "biuf" or values.shape[1:] != shape:
        found = f"{values.dtype} of shape {values.shape[1:]}" if values.ndim > 1 else values.dtype
        raise InputError(
            path, column, f"has values of {found}", f"{name} takes {_numbers(width)} per jet"
        )
    return values


def _numbers(width: int) -> str:
    return "one number" if width == 1 else f"{width} numbers"


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f", … ({len(names)} in all)" if len(names) > 20 else ""
    return (", ".join(names[:20]) or "none") + more
