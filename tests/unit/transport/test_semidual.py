"""Steps of the semi-dual solver."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from otcal.transport.convex import ConvexPotential
from otcal.transport.heldout import HeldOut
from otcal.transport.schedule import FALL, Schedule
from otcal.transport.semidual import (
    FIRST_ITERATIONS,
    PERIOD,
    MapPrecision,
    SemidualFit,
    SemidualOptions,
)

STEPS = 200


def fit(steps: int, precision: MapPrecision = "float32") -> SemidualFit:
    generator = torch.Generator().manual_seed(0)
    source = torch.randn(2000, 4, generator=generator)
    target = torch.randn(2000, 4, generator=generator)
    target = target + 0.5 * target.tanh()
    return SemidualFit(
        source,
        target,
        HeldOut(source[:500], target[:500], torch.ones(4)),
        torch.ones(4),
        SemidualOptions(hidden=(16, 16), pieces=4, squares=8, batch=128, precision=precision),
        Schedule(steps),
        seed=1,
    )


def weights(network: torch.nn.Module) -> Tensor:
    return parameters_to_vector(network.parameters()).detach()


def test_the_mean_follows_the_weights_as_their_rate_falls() -> None:
    trained, start = fit(STEPS), round((1.0 - FALL) * STEPS)
    for number in range(start):
        trained.step(number)
    before = weights(trained.potential)
    lag = (weights(trained.average) - before).norm()
    for number in range(start, STEPS):
        trained.step(number)
    after = weights(trained.potential)
    end = (weights(trained.average) - after).norm()
    # At the full rate the mean is far from the last weights, at the end it is where they are.
    assert lag > 0.1 * (after - before).norm()
    assert end < 0.01 * (after - before).norm()


@pytest.mark.parametrize(
    ("number", "iterations"),
    [(0, FIRST_ITERATIONS), (PERIOD, FIRST_ITERATIONS + 1), (20 * PERIOD, 5)],
)
def test_conjugations_get_longer_as_a_fit_goes_on(
    number: int, iterations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, calls = fit(STEPS), []
    original = ConvexPotential.value_and_gradient

    def count(self: ConvexPotential, u: Tensor) -> tuple[Tensor, Tensor]:
        calls.append(len(u))
        return original(self, u)

    monkeypatch.setattr(ConvexPotential, "value_and_gradient", count)
    trained.tolerance = 1e-9  # which no point reaches
    trained.step(number)
    assert len(calls) == 1 + iterations


def test_figures_of_a_fit_in_bfloat16_are_those_in_float32() -> None:
    trained = fit(STEPS, "bfloat16")
    for number in range(STEPS):
        trained.step(number)
    cold = HeldOut(trained.source[:500], trained.target[:500], torch.ones(4))
    expected = cold.semidual(trained.average)
    found = trained.evaluate()
    assert found["conjugate_converged"] == 1.0
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)
