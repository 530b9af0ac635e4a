"""Batches with one point of every cell."""

from __future__ import annotations

import pytest
import torch

from otcal.transport.strata import batches


def points(count: int, d: int) -> torch.Tensor:
    return torch.randn(count, d, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(("count", "size", "shape"), [(1000, 256, (3, 256)), (50, 256, (1, 32))])
def test_a_pass_visits_no_point_twice(count: int, size: int, shape: tuple[int, int]) -> None:
    rows = batches(points(count, 3), size, seed=1)
    assert rows.shape == shape
    assert len(set(rows.flatten().tolist())) == rows.numel()


def test_every_batch_has_one_point_of_every_interval() -> None:
    x = points(1024, 1)
    rows = batches(x, 64, seed=1)
    order = x.squeeze(1).argsort().argsort()
    for batch in rows:
        assert sorted((order[batch] // 16).tolist()) == list(range(64))


def test_passes_differ_and_depend_on_the_seed_alone() -> None:
    x = points(500, 2)
    torch.testing.assert_close(batches(x, 64, seed=1), batches(x, 64, seed=1))
    assert not torch.equal(batches(x, 64, seed=1), batches(x, 64, seed=2))


def test_all_points_are_equally_likely() -> None:
    x = points(50, 2)
    rows = torch.cat([batches(x, 32, seed).flatten() for seed in range(500)])
    counts = torch.bincount(rows, minlength=50).float()
    # 500 draws of probability 0.64 each: 320 ± 11.
    assert (counts - 320.0).abs().max() < 50.0


@pytest.mark.parametrize(("d", "share"), [(1, 0.01), (2, 0.1), (64, 1.1)])
def test_means_over_batches_scatter_less(d: int, share: float) -> None:
    """The variance of a batch's mean against that of a random one, for a smooth function."""
    x = points(65536, d)
    value = (x.square() + x).sum(1)
    means = value[batches(x, 256, seed=1)].mean(1)
    assert float(means.var() / (value.var() / 256)) < share


def test_equal_points_are_no_obstacle() -> None:
    assert batches(torch.zeros(100, 2), 32, seed=0).shape == (3, 32)
