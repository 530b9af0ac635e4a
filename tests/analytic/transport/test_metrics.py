"""Two-sample figures against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from otcal.transport.heldout import HeldOut, better_than_gaussian
from otcal.transport.metrics import (
    DistanceTo,
    energy,
    energy_distance,
    l2_uvp,
    sliced_wasserstein,
)
from otcal.transport.potentials import QuadraticPotential


def normal(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def test_energy_distance_of_shifted_normals_in_one_dimension() -> None:
    shift = 1.5
    # X − Y ~ N(shift, 2): E|X − Y| = 2 φ(t) √2 ... with t = shift/√2; E|X − X'| = 2/√π.
    t = shift / math.sqrt(2.0)
    density = math.exp(-t * t / 2.0) / math.sqrt(2.0 * math.pi)
    between = math.sqrt(2.0) * (2.0 * density + t * math.erf(t / math.sqrt(2.0)))
    expected = 2.0 * between - 4.0 / math.sqrt(math.pi)
    got = energy_distance(normal(3000, 1, 0), normal(3000, 1, 1) + shift)
    assert got == pytest.approx(expected, rel=0.06)


def test_energy_distance_is_unbiased_under_equality() -> None:
    values = torch.tensor(
        [energy_distance(normal(60, 4, 2 * i), normal(80, 4, 2 * i + 1)) for i in range(200)]
    )
    assert abs(float(values.mean())) < 4.0 * float(values.std()) / math.sqrt(200)


def test_standard_error_of_a_paired_difference_covers() -> None:
    pulls = []
    for i in range(100):
        x, y = normal(200, 3, 2 * i), normal(200, 3, 2 * i + 1)
        near, far = energy(x + 0.5, y), energy(x + 1.0, y)
        difference, error = near.minus(far)
        pulls.append((difference, error))
    differences, errors = torch.tensor(pulls).T
    assert float(differences.std() / errors.mean()) == pytest.approx(1.0, abs=0.25)


def test_sliced_distance_of_shifted_samples_is_the_projected_shift() -> None:
    x = normal(4000, 3, 0)
    shift = torch.tensor([1.0, 2.0, -2.0])
    # A unit vector's mean square component is 1/d.
    assert sliced_wasserstein(x, x + shift, 1000) == pytest.approx(3.0 / math.sqrt(3.0), rel=0.05)


def test_distances_to_one_sample_do_not_depend_on_what_was_compared_before() -> None:
    y = normal(80, 3, 0)
    distance = DistanceTo(y)
    for i in range(1, 4):
        x = i * normal(60, 3, i)
        between = torch.stack([(x - one).norm(dim=1) for one in y], dim=1)
        within = [(z[:, None] - z).norm(dim=2).sum() / len(z) / (len(z) - 1) for z in (x, y)]
        got = distance.energy(x)
        assert got.value == pytest.approx(float(2.0 * between.mean() - sum(within)), abs=1e-5)
        assert got.value == energy_distance(x, y)
        assert distance.sliced_wasserstein(x) == sliced_wasserstein(x, y)


def test_gains_are_measured_from_the_start() -> None:
    start = QuadraticPotential(4)
    held_out = HeldOut(2.0 * normal(300, 4, 0), normal(300, 4, 1), torch.ones(4), start=start)
    again = held_out.figures(start.value_and_gradient(held_out.source)[1].clone())
    for figures in (held_out.figures(held_out.begun), again):
        assert figures["energy"] == pytest.approx(energy_distance(held_out.source, held_out.target))
        assert (figures["energy_gain"], figures["energy_error"]) == (0.0, 0.0)
    half = held_out.figures(0.5 * held_out.source)
    assert half["energy_gain"] == pytest.approx(half["energy"] - again["energy"])
    assert half["energy_gain"] < -5.0 * half["energy_error"]


def test_l2_uvp_is_100_for_the_best_constant() -> None:
    exact = normal(1000, 5, 0)
    assert l2_uvp(exact, exact) == 0.0
    assert l2_uvp(exact.mean(0).expand_as(exact), exact) == pytest.approx(100.0, rel=1e-5)


def test_identity_has_no_gain_over_itself_and_selection_needs_significance() -> None:
    held_out = HeldOut(normal(300, 4, 0), normal(300, 4, 1), torch.ones(4))
    figures = held_out.semidual(QuadraticPotential(4))
    assert figures["energy_gain"] == 0.0
    assert figures["dual"] == pytest.approx(0.0, abs=1e-5)
    assert not better_than_gaussian(figures)[0]
    base = {"energy_gain": 0.0, "energy_error": 1.0, "dual": 0.0, "dual_error": 1.0}
    assert better_than_gaussian({**base, "energy_gain": -2.5})[0]
    assert better_than_gaussian({**base, "energy_gain": -1.2, "dual": -1.2})[0]
    assert not better_than_gaussian({**base, "energy_gain": 2.5, "dual": -3.0})[0]
    assert not better_than_gaussian({**base, "energy_gain": -1.5})[0]
    assert better_than_gaussian({"energy_gain": -3.0, "energy_error": 1.0})[0]
