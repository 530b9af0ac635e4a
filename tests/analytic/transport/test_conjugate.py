"""Convex conjugation: Fenchel–Young equality, inverses and honest certificates."""

from __future__ import annotations

import pytest
import torch

from otcal.transport.conjugate import conjugate
from otcal.transport.convex import ConvexPotential
from otcal.transport.potentials import QuadraticPotential


@pytest.mark.parametrize("d", [1, 8, 128])
def test_conjugate_point_inverts_the_gradient(d: int) -> None:
    torch.manual_seed(d)
    network, u = ConvexPotential(d), 2.0 * torch.randn(500, d)
    value, v = network.value_and_gradient(u)
    found = conjugate(network, v, tolerance=1e-3)
    assert found.converged.all()
    assert ((found.points - u).norm(dim=1) <= found.error_bound + 1e-4 * d**0.5).all()
    # Fenchel–Young: φ(u) + φ*(v) = ⟨u, v⟩ exactly where v = ∇φ(u).
    torch.testing.assert_close(value + found.value, (u * v).sum(1), rtol=1e-5, atol=1e-3)


def test_conjugate_of_a_quadratic_is_itself() -> None:
    v = torch.randn(50, 3)
    found = conjugate(QuadraticPotential(3), v, start=torch.zeros(50, 3))
    torch.testing.assert_close(found.points, v)
    torch.testing.assert_close(found.value, 0.5 * v.square().sum(1))


def test_far_points_are_reached_and_rows_do_not_wait_for_each_other() -> None:
    torch.manual_seed(0)
    network = ConvexPotential(8)
    u = torch.randn(300, 8) * torch.logspace(-2, 2, 300)[:, None]
    v = network.value_and_gradient(u)[1]
    found = conjugate(network, v, start=torch.zeros_like(v), max_iterations=500)
    scale = v.norm(dim=1).clamp_min(1.0)
    assert (found.residual <= 1e-3 * 8**0.5 * scale).all()


class Counting(ConvexPotential):
    """A potential that notes how many points it is asked for."""

    def __init__(self, dimension: int) -> None:
        super().__init__(dimension)
        self.counts: list[int] = []

    def value_and_gradient(self, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.counts.append(len(u))
        return super().value_and_gradient(u)


def test_rows_may_leave_in_blocks() -> None:
    torch.manual_seed(0)
    network = Counting(8)
    u = torch.randn(300, 8) * torch.logspace(-2, 1, 300)[:, None]
    v = network.value_and_gradient(u)[1]
    start = torch.where(torch.arange(300)[:, None] < 20, u, 0.0)  # some leave before the first step
    found = conjugate(network, v, start=start, compact_every=1, block=16)
    assert found.converged.all()
    sizes = set(network.counts) - {300}
    assert sizes
    assert all(size % 16 == 0 for size in sizes)
    alone = conjugate(network, v, start=torch.zeros_like(v))
    distance = (found.points - alone.points).norm(dim=1)
    assert (distance <= found.error_bound + alone.error_bound).all()


def test_unfinished_rows_say_so() -> None:
    torch.manual_seed(0)
    network = ConvexPotential(16)
    v = 50.0 * torch.randn(100, 16)
    found = conjugate(network, v, start=torch.zeros_like(v), tolerance=1e-6, max_iterations=1)
    assert not found.converged.any()
    residual = (network.value_and_gradient(found.points)[1] - v).norm(dim=1)
    torch.testing.assert_close(found.residual, residual)
    better = conjugate(network, v, max_iterations=500)
    # The bound of the unfinished rows holds against the (nearly) exact points.
    distance = (found.points - better.points).norm(dim=1)
    assert (distance <= found.error_bound + better.error_bound).all()
    # A lower bound of φ*, by the definition of the maximum.
    assert (found.value <= better.value + 1e-2).all()


def test_a_step_that_is_not_evaluated_brings_unfinished_rows_closer() -> None:
    torch.manual_seed(0)
    network = Counting(16)
    network.readout.data.mul_(30.0)  # curved enough that four steps do not do
    u = 2.0 * torch.randn(200, 16)
    v, start = network.value_and_gradient(u)[1], torch.zeros_like(u)
    passes, reported, residuals = [], [], []
    for extrapolate in (False, True):
        network.counts.clear()
        found = conjugate(network, v, start=start, max_iterations=4, extrapolate=extrapolate)
        passes.append(len(network.counts))
        reported.append(found.residual)
        residuals.append((network.value_and_gradient(found.points)[1] - v).norm(dim=1))
    assert passes == [5, 5]
    torch.testing.assert_close(reported[0], residuals[0])
    torch.testing.assert_close(reported[1], residuals[0])
    assert residuals[1].mean() < 0.7 * residuals[0].mean()
    assert (residuals[1] < residuals[0]).float().mean() > 0.95


def test_a_row_that_starts_at_its_solution_is_left_alone() -> None:
    torch.manual_seed(0)
    network, u = ConvexPotential(4), torch.randn(10, 4)
    v = network.value_and_gradient(u)[1]
    assert torch.equal(conjugate(network, v, start=u).points, u)
