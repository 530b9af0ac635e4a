"""Weights that take the linear part of a batch's fluctuation away."""

from __future__ import annotations

import torch

from otcal.transport.balance import LARGEST, Balance


def sample(count: int = 20_000, d: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, d, generator=generator) * torch.linspace(0.1, 10.0, d) + 3.0


def test_means_of_batches_scatter_less_and_stay_unbiased() -> None:
    x = sample()
    balance = Balance(x)
    slope = torch.linspace(1.0, 2.0, 8) / balance.unit
    values = x @ slope + torch.sin(5.0 * x[:, 0])  # mostly linear
    exact, errors = float(values.mean()), []
    for rows in torch.randperm(20_000, generator=torch.Generator().manual_seed(2)).split(100):
        weights = balance.weights(x[rows])
        assert weights.min() >= 0.0
        assert abs(float(weights.sum()) - 1.0) < 1e-5
        errors.append([float(weights @ values[rows]) - exact, float(values[rows].mean()) - exact])
    balanced, plain = torch.tensor(errors).T
    assert balanced.std() < 0.3 * plain.std()
    assert abs(float(balanced.mean())) < 3.0 * float(balanced.std()) / len(balanced) ** 0.5


def test_points_that_do_not_count_have_no_weight() -> None:
    x = sample(500)
    usable = (torch.arange(500) % 3 > 0).float()
    weights = Balance(x).weights(x, usable)
    assert torch.equal(weights > 0, usable > 0)
    torch.testing.assert_close(weights @ x, x.mean(0), rtol=1e-2, atol=1e-2)
    assert torch.equal(Balance(x).weights(x, torch.zeros(500)), torch.zeros(500))


def test_a_few_points_in_many_dimensions_and_far_ones_keep_weights_in_bounds() -> None:
    x = torch.cat([sample(60, 128), torch.full((60, 1), 7.0)], dim=1)
    x[0] = 1e4
    weights = Balance(x).weights(x[:20])
    assert torch.isfinite(weights).all()
    assert abs(float(weights.sum()) - 1.0) < 1e-5
    assert weights.min() >= 0.0
    assert weights.max() <= LARGEST / 10
