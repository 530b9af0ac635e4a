"""Batches of jets of unequal length, with little padding."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from otcal.tagger.constituents import Jets

Item = TypeVar("Item")
Output = TypeVar("Output")


def similar_lengths(
    jets: NDArray[np.int64], lengths: NDArray[np.int64], size: int
) -> list[NDArray[np.int64]]:
    """Cut jets into groups of nearly equal length, the longest first.

    Sorting the jets of a batch, not of the sample, leaves every batch a random sample of jets. Long
    groups take longest: begun first, they leave threads little to wait for at the end.

    Parameters
    ----------
    jets
        Positions of the jets of a batch, (B,).
    lengths
        Numbers of constituents of all jets, (N,).
    size
        Jets per group; the last one may have fewer.
    """
    ordered = jets[np.argsort(-lengths[jets], kind="stable")]
    return [ordered[first : first + size] for first in range(0, len(ordered), size)]


def padded(
    jets: Jets, group: NDArray[np.int64], device: torch.device
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the network's inputs for a group of G jets, padded to the longest of them.

    Returns
    -------
    tuple
        Constituent features (G, L, F), particle types (G, L), mask of constituents (G, L), jet
        features (G, J).
    """
    first = jets.offsets[group]
    lengths = jets.offsets[group + 1] - first
    position = np.arange(lengths.max(initial=0))
    mask = position < lengths[:, None]
    where = (first[:, None] + position)[mask]
    values = np.zeros((*mask.shape, jets.values.shape[1]), dtype=np.float32)
    kinds = np.zeros(mask.shape, dtype=np.uint8)
    values[mask] = jets.values[where]
    kinds[mask] = jets.kinds[where]
    arrays = values, kinds, mask, jets.features[group]
    a, b, c, d = (torch.from_numpy(array).to(device, non_blocking=True) for array in arrays)
    return a, b, c, d


class Map(Protocol):
    """The built-in `map`, for one iterable."""

    def __call__(self, function: Callable[[Item], Output], items: Sequence[Item], /) -> Any:
        """Return the outputs in the order of the items."""


@contextmanager
def workers(count: int | None, device: torch.device, processes: int = 1) -> Iterator[Map]:
    """Yield a `map` over threads that each compute with one core.

    Groups of jets are independent, so threads meet once per batch instead of once per kernel. That
    scales as well as torch's own threads on an idle machine, stays efficient where other processes
    want the same cores, and gives the same bits for any number of threads.

    Parameters
    ----------
    count
        Number of threads; None takes one per core.
    device
        An accelerator is fed by the calling thread alone, whatever `count`.
    processes
        Processes on this node that have those threads together.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    if count is None:
        count = os.cpu_count() or 1
    count = max(1, count // processes)
    try:
        if count == 1 or device.type != "cpu":
            yield map
        else:
            # The number of kernel threads is a setting of each thread.
            with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as it:
                yield it.map
    finally:
        torch.set_num_threads(before)
