"""Arrays that may exceed the memory: rows in a temporary file that is memory-mapped.

The operating system reads and drops the pages of such an array as it needs to. They are no memory
of the process' own: a limit on memory (a batch system's, too) makes them go, not the process.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from otcal.runtime.files import full_disk_named

PIECE = 16_384
"""Rows handled at a time: 8 MB of a 128-dimensional latent, which the allocator uses again."""


class Column:
    """Grows by blocks of rows, in memory or in a temporary file.

    Parameters
    ----------
    scratch
        Directory of the file, which disappears with the process; None keeps all in memory.
    named
        Whether other processes can open the file by its name.
    """

    def __init__(self, scratch: Path | None, named: bool = False) -> None:
        self.blocks: list[NDArray[Any]] = []
        # Open as long as the arrays that map it; the system removes it with the process.
        make = tempfile.NamedTemporaryFile if named else tempfile.TemporaryFile
        self.file = make(dir=scratch, prefix=".rows-") if scratch else None
        self.scratch, self.rows = scratch, 0

    def append(self, block: NDArray[Any]) -> None:
        """Add rows; all blocks have the same type and row shape (`InputError` on a full disk)."""
        self.rows += len(block)
        if self.file is None:
            self.blocks.append(block)
        else:
            self.blocks = [block[:0]]  # remembers type and row shape
            with full_disk_named(self.scratch or "file"):
                # Unlike tofile, write says why it fails.
                self.file.write(np.ascontiguousarray(block).data)
                self.file.flush()

    def array(self) -> NDArray[Any]:
        """Return all rows; `ValueError` when there was no block."""
        if self.file is None:
            return np.concatenate(self.blocks)
        return mapped(self.file, *self.place()[1:])

    def place(self) -> tuple[str, np.dtype[Any], tuple[int, ...]]:
        """Return name of the file, and type and shape of the array in it."""
        if not self.blocks or self.file is None:
            raise ValueError("no rows in a file")
        self.file.flush()
        like = self.blocks[0]
        return self.file.name, like.dtype, (self.rows, *like.shape[1:])


def mapped(file: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the array of this type and shape that a file holds."""
    if 0 in shape:
        return np.empty(shape, dtype)
    return np.memmap(file, dtype, "r+", shape=shape)  # torch warns of arrays that are read-only


def join(blocks: Iterable[NDArray[Any]], scratch: Path | None) -> NDArray[Any]:
    """Return blocks of rows, at least one, as one array; in a file of `scratch`, unless None."""
    column = Column(scratch)
    for block in blocks:
        column.append(block)
    return column.array()


def slices(count: int, size: int = PIECE) -> Iterator[slice]:
    """Yield slices of at most `size` rows that cover `count` of them, at least one."""
    for start in range(0, max(count, 1), size):
        yield slice(start, min(start + size, count))


def select(values: NDArray[Any], keep: NDArray[np.bool_], scratch: Path | None) -> NDArray[Any]:
    """Return the rows of a mask (N,), piece by piece."""
    return join((values[rows][keep[rows]] for rows in slices(len(values))), scratch)


def empty(shape: tuple[int, ...], place: torch.device, scratch: Path | None) -> Tensor:
    """Return a tensor (float32) to be filled; on the CPU in a file of `scratch`, unless None.

    A full disk is an `InputError` here; without the space, writing to the array would be fatal.
    """
    if place.type != "cpu":
        return torch.empty(shape, device=place)
    if scratch is None or 0 in shape:
        return torch.from_numpy(np.empty(shape, np.float32))  # in huge pages, unlike torch.empty
    with tempfile.TemporaryFile(dir=scratch, prefix=".rows-") as file:
        with full_disk_named(scratch):
            _reserve(file.fileno(), 4 * int(np.prod(shape)))
        return torch.from_numpy(mapped(file, np.dtype(np.float32), shape))


def _reserve(file: int, size: int) -> None:
    """Give a file its size, and the space where the system can (macOS cannot)."""
    getattr(os, "posix_fallocate", lambda file, _, size: os.truncate(file, size))(file, 0, size)


def copy(tensor: Tensor, scratch: Path | None) -> Tensor:
    """Return a copy (float32) of a tensor's rows on its device; where, see `empty`."""
    result = empty(tuple(tensor.shape), tensor.device, scratch)
    for rows in slices(len(tensor)):
        result[rows] = tensor[rows]
    return result
