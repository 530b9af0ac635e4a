"""Arrays in temporary files are those in memory, and leave nothing behind."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest
import torch

from otcal.runtime.scratch import Column, copy, empty, join, mapped, select, slices

BLOCKS = [np.arange(12, dtype=np.float32).reshape(4, 3) + 100 * k for k in range(3)]


@pytest.mark.parametrize("blocks", [BLOCKS, [BLOCKS[0][:0]], [BLOCKS[0][:0], *BLOCKS]])
def test_a_file_holds_what_memory_holds(tmp_path: Path, blocks: list[np.ndarray]) -> None:
    expected = np.concatenate(blocks)
    for scratch in (None, tmp_path):
        found = join(iter(blocks), scratch)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    assert not list(tmp_path.iterdir())


def test_another_process_can_map_a_named_file(tmp_path: Path) -> None:
    column = Column(tmp_path, named=True)
    for block in BLOCKS:
        column.append(block)
    name, *like = column.place()
    other = mapped(name, *like)
    assert [str(path) for path in tmp_path.iterdir()] == [name]
    del column
    assert not list(tmp_path.iterdir())
    np.testing.assert_array_equal(other, np.concatenate(BLOCKS))


def test_rows_are_selected_in_pieces(tmp_path: Path) -> None:
    values = np.arange(300_000)[:, None] * np.ones(2, dtype=np.int64)
    keep = np.random.default_rng(0).random(len(values)) < 0.3
    for scratch in (None, tmp_path):
        np.testing.assert_array_equal(select(values, keep, scratch), values[keep])
    assert sum(len(range(*rows.indices(10))) for rows in slices(10, 3)) == 10
    assert list(slices(0)) == [slice(0, 0)]


def test_a_tensor_in_a_file_can_be_written(tmp_path: Path) -> None:
    filled = torch.arange(30.0).view(10, 3)
    for scratch in (None, tmp_path):
        twin = copy(filled, scratch)
        twin[3] += 1.0
        assert torch.equal(twin - filled, (torch.arange(10) == 3).float()[:, None].expand(10, 3))
        assert empty((0, 3), torch.device("cpu"), scratch).shape == (0, 3)
    assert not list(tmp_path.iterdir())


def test_rows_in_memory_are_in_pages_as_large_as_numpy_gets_them() -> None:
    def faults(rows: np.ndarray) -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        rows.fill(1.0)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    shape = (1 << 17, 128)  # 64 MiB
    expected = faults(np.empty(shape, np.float32))
    assert faults(empty(shape, torch.device("cpu"), None).numpy()) <= expected + 100
