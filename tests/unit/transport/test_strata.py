"""Batches with one point of every cell."""

from __future__ import annotations

import pytest
import torch

from otcal.transport import strata
from otcal.transport.strata import Batches


def points(count: int, d: int) -> torch.Tensor:
    return torch.randn(count, d, generator=torch.Generator().manual_seed(3))


def first(batches: Batches, count: int) -> torch.Tensor:
    return torch.stack([batches.rows(number) for number in range(count)])


@pytest.mark.parametrize(
    ("count", "size", "batches", "cells"), [(1000, 256, 3, 256), (50, 256, 1, 32), (90, 40, 2, 32)]
)
def test_a_pass_visits_no_point_twice(count: int, size: int, batches: int, cells: int) -> None:
    rows = first(Batches(points(count, 3), size, seed=1), 2 * batches)
    assert rows.shape == (2 * batches, cells)
    for one in rows.split(batches):
        assert len(one.unique()) == batches * cells
    assert not torch.equal(*rows.split(batches))


def test_blocks_share_a_pass_among_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strata, "BLOCK", 300)
    batches = Batches(points(1000, 2), 64, seed=1)
    assert (batches.blocks, batches.per_block) == (3, 5)
    assert len(first(batches, 15).unique()) == 15 * 64


def test_every_batch_has_one_point_of_every_interval() -> None:
    x = points(1024, 1)
    order = x.squeeze(1).argsort().argsort()
    for batch in first(Batches(x, 64, seed=1), 32):
        assert sorted((order[batch] // 16).tolist()) == list(range(64))


def test_a_batch_depends_on_its_number_and_the_seed_alone() -> None:
    x = points(500, 2)
    expected = first(Batches(x, 64, seed=1), 20)
    again = Batches(x, 64, seed=1)
    for number in (19, 3, 8, 9):
        torch.testing.assert_close(again.rows(number), expected[number])
    assert not torch.equal(first(Batches(x, 64, seed=2), 20), expected)


def test_all_points_are_equally_likely() -> None:
    counts = first(Batches(points(50, 2), 32, seed=0), 500).flatten().bincount(minlength=50)
    # 500 draws of probability 0.64 each: 320 ± 11.
    assert (counts.float() - 320.0).abs().max() < 50.0


@pytest.mark.parametrize(("d", "share"), [(1, 0.02), (2, 0.1), (64, 1.1)])
def test_means_over_batches_scatter_less(d: int, share: float) -> None:
    """The variance of a batch's mean against that of a random one, for a smooth function."""
    x = points(65536, d)
    value = (x.square() + x).sum(1)
    means = value[first(Batches(x, 256, seed=1), 256)].mean(1)
    assert float(means.var() / (value.var() / 256)) < share


def test_cells_serve_several_passes_in_another_order_each() -> None:
    x = points(1000, 1)
    batches = Batches(x, 16, seed=1)
    assert batches.per_block == 62 > strata.MANY
    passes = first(batches, 62 * 2 * strata.PASSES).split(62)
    cells = [{frozenset(column.tolist()) for column in one.T} for one in passes]
    assert all(found == cells[0] for found in cells[: strata.PASSES])
    assert all(found == cells[-1] for found in cells[strata.PASSES :])
    assert cells[0] != cells[-1]
    assert all(not torch.equal(one, passes[0]) for one in passes[1:])


def test_equal_points_are_no_obstacle() -> None:
    assert first(Batches(torch.zeros(100, 2), 32, seed=0), 3).shape == (3, 32)
