"""Diagnostics of a map where their values are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from otcal.transport.api import fit_map
from otcal.transport.diagnostics import c2st, diagnose, unreached
from otcal.transport.fitted import TransportMap
from otcal.transport.potentials import QuadraticPotential
from otcal.transport.problem import Conditioned, Problem, prepare


def normal(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def problem(x: torch.Tensor, y: torch.Tensor) -> Problem:
    place = torch.device("cpu")
    held, train = (
        Conditioned((x[part].numpy(), y[part].numpy())) for part in (slice(1000), slice(1000, None))
    )
    settings = {"in_spreads": False, "preconditioned": False, "seed": 0, "place": place}
    return prepare(train, held, **settings)


def test_a_classifier_tells_what_can_be_told() -> None:
    x = normal(1500, 3, 0)
    assert c2st(x, normal(1500, 3, 1), 0) == pytest.approx(0.5, abs=0.04)
    # Two Gaussians that are d apart along one axis: AUC = Φ(d / √2).
    assert c2st(x, normal(1500, 3, 2) + torch.tensor([2.0, 0.0, 0.0]), 0) == pytest.approx(
        0.921, abs=0.03
    )


def test_target_mass_that_the_map_misses_is_counted() -> None:
    x, y = normal(2000, 4, 0), normal(2000, 4, 1)
    chance = unreached(x, y)
    assert chance["unreached"] == pytest.approx(chance["unreached_by_chance"], abs=0.015)
    y[:600] += 30.0
    assert unreached(x, y)["unreached"] == pytest.approx(0.3 + 0.7 / 32, abs=0.03)


def test_the_gap_of_a_map_that_falls_short() -> None:
    # The identity from N(0, 1) to N(0, 2²), in units of the target's spread: with φ = |u|²/2,
    # E φ*(v) − E φ*(u) = d (1 − ¼) / 2.
    given = problem(normal(9000, 3, 0), 2.0 * normal(9000, 3, 1))
    identity = TransportMap(given.coordinates, [QuadraticPotential(3)])
    figures = diagnose(given, identity, seed=0)
    assert abs(figures["dual_gap"] - 1.125) < 4.0 * figures["dual_gap_error"]
    assert figures["dual_gap_error"] < 0.1
    assert figures["cycle_error"] < 1e-5
    assert figures["energy_distance"]["before"] == pytest.approx(
        figures["energy_distance"]["after"], rel=1e-3
    )


def test_the_gap_of_the_optimal_map_is_zero() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9000, 3)), rng.normal(size=(9000, 3)) @ np.diag([0.5, 1.0, 3.0]) + 1.0
    figures = fit_map(x, y, method="gaussian").diagnostics
    assert abs(figures["dual_gap"]) < 4.0 * figures["dual_gap_error"]
    assert figures["cycle_converged"] == 1.0
    assert figures["c2st"]["before"] > 0.75
    assert figures["c2st"]["after"] < 0.55
    assert figures["energy_distance"]["after"] < 0.05 * figures["energy_distance"]["before"]
    assert "c2st" not in fit_map(x, y, method="gaussian", diagnostics=False).diagnostics
