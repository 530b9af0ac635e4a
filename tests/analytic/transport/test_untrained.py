"""Maps that need no training, where the optimal one is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import norm

from otcal.transport.api import fit_map
from otcal.transport.candidates import choose
from otcal.transport.entropic import EntropicPotential, entropic_path
from otcal.transport.fitted import TransportMap
from otcal.transport.metrics import l2_uvp
from otcal.transport.quantiles import QuantilePotential, match_quantiles
from otcal.transport.semidual import SemidualOptions

FEW = SemidualOptions(hidden=(8, 8), pieces=0, batch=128)


def normal(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def test_quantiles_of_an_exponential() -> None:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(50_000, 1)).astype(np.float32))
    y = torch.from_numpy(rng.exponential(size=(40_000, 1)).astype(np.float32))
    potential = match_quantiles(x, y)
    fresh = rng.normal(size=(20_000, 1))
    moved = potential.value_and_gradient(torch.from_numpy(fresh).float())[1]
    assert l2_uvp(moved.double(), torch.from_numpy(-np.log(norm.sf(fresh)))) < 0.1


def test_the_quantile_potential_is_convex_and_its_derivative_the_map() -> None:
    potential = match_quantiles(normal(2000, 1, 0), normal(3000, 1, 1) ** 3).double()
    u = torch.linspace(-8.0, 8.0, 4001, dtype=torch.float64)[:, None].requires_grad_(True)
    value, height = potential.value_and_gradient(u.detach())
    slope = torch.autograd.grad(potential(u).sum(), u)[0]
    torch.testing.assert_close(slope, height)
    assert (height.diff(dim=0) >= potential.strong_convexity() * 0.9 * u.detach().diff(dim=0)).all()
    # The value is the integral of the map, across all knots.
    trapezia = (0.5 * (height[1:] + height[:-1]) * u.detach().diff(dim=0)).sum()
    assert float(value[-1] - value[0]) == pytest.approx(float(trapezia), rel=1e-4)


@pytest.mark.parametrize("constant", ["source", "target"])
def test_quantiles_of_a_constant(constant: str) -> None:
    samples = {name: normal(500, 1, 0) for name in ("source", "target")}
    samples[constant] = torch.full((500, 1), 2.0)
    potential = match_quantiles(**samples)
    moved = potential.value_and_gradient(samples["source"])[1]
    assert torch.isfinite(moved).all()
    if constant == "target":
        assert (moved - 2.0).abs().max() < 0.01


def test_the_entropic_map_of_gaussians() -> None:
    # From N(0, 1) to N(0, s²) in each coordinate: linear, of slope (√(ε² + 4 s²) − ε) / 2
    # (Janati et al., arXiv:2006.02572).
    x, y = normal(2000, 2, 0), 0.5 * normal(2000, 2, 1)
    for potential in entropic_path(x, y, largest=1.0, last=0.25):
        epsilon = potential.epsilon
        slope = 0.5 * (np.sqrt(epsilon**2 + 4 * 0.25) - epsilon)
        inside = normal(500, 2, 3).clamp(-1.0, 1.0)
        moved = potential.value_and_gradient(inside)[1]
        found = float((moved * inside).sum() / inside.square().sum())
        assert found == pytest.approx(slope, rel=0.05)


def test_the_source_marginal_is_met() -> None:
    x, y = normal(400, 2, 0), normal(300, 2, 1) + 1.0
    potential = list(entropic_path(x, y, largest=1.0, last=0.1, iterations=500, tolerance=1e-5))[-1]
    exponents = (x @ potential.points.T - potential.offsets) / potential.epsilon
    plan = torch.softmax(exponents, dim=1) / len(x)
    torch.testing.assert_close(plan.sum(0), torch.full((300,), 1 / 300), rtol=0.02, atol=0)


@pytest.mark.parametrize(("d", "kind"), [(1, QuantilePotential), (2, EntropicPotential)])
def test_a_network_without_time_loses_to_a_map_that_needs_none(d: int, kind: type) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(10_000, d)), 2.0 * norm.cdf(rng.normal(size=(10_000, d)))
    fitted = fit_map(x, y, steps=2, options=FEW)
    assert isinstance(fitted.map.potentials[0], kind)
    fresh = rng.normal(size=(2000, d))
    exact = torch.from_numpy(2.0 * norm.cdf(fresh))
    gaussian = fit_map(x, y, method="gaussian").transport(fresh)
    error = l2_uvp(torch.from_numpy(fitted.transport(fresh)).double(), exact)
    assert error < 0.2 * l2_uvp(torch.from_numpy(gaussian).double(), exact)
    assert {"gaussian", "entropic", "convex"} <= set(fitted.diagnostics["candidates"])


def test_candidates_survive_saving(tmp_path: Path) -> None:
    x, y = normal(1000, 1, 0).numpy(), normal(1000, 1, 1).numpy() ** 3
    fitted = fit_map(x, y, steps=2, options=FEW)
    fitted.save(tmp_path / "map.safetensors")
    again = TransportMap.load(tmp_path / "map.safetensors")
    np.testing.assert_array_equal(again.transport(x), fitted.transport(x))
    back = again.inverse(fitted.transport(x))
    # An entropic map is all but constant beyond the last of its points: an inverse may fail there.
    assert back.converged.mean() > 0.99
    returned = again.transport(back.points)
    np.testing.assert_allclose(
        returned[back.converged], fitted.transport(x)[back.converged], rtol=0, atol=0.01 * x.std()
    )


def test_the_lowest_dual_value_is_compared_with_the_gaussian_map() -> None:
    clear = {"energy_gain": -1.0, "energy_error": 0.1, "dual": -1.0, "dual_error": 0.1}
    tie = {"energy_gain": 0.0, "energy_error": 0.1, "dual": -1.1, "dual_error": 1.0}
    assert choose({"convex": clear})[0] == "convex"
    assert choose({"convex": clear, "entropic": tie})[0] is None
    assert choose({"convex": {**clear, "dual": -1.2}, "entropic": tie})[0] == "convex"
