"""Maps that depend on conditions: convex for each, and right for each whatever their shares."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from otcal.runtime.errors import InputError
from otcal.transport.api import fit_map
from otcal.transport.conditional import ConditionalPotential
from otcal.transport.conditions import match
from otcal.transport.conjugate import conjugate
from otcal.transport.fitted import TransportMap
from otcal.transport.gaussian import GaussianMap, fit_gaussian
from otcal.transport.potentials import hessian
from otcal.transport.semidual import SemidualOptions

Array = NDArray[np.float64]

SMALL = SemidualOptions(hidden=(32, 32), pieces=4, squares=16)


def potential(pieces: int, seed: int = 0) -> ConditionalPotential:
    """Three coordinates and two conditions, with weights as a fit would leave them."""
    torch.manual_seed(seed)
    squares = 7 if pieces else 0
    scales = torch.linspace(0.3, 2.0, 3)
    network = ConditionalPotential(5, 2, 8, (12, 8), scales=scales, pieces=pieces, squares=squares)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return network


@pytest.mark.parametrize("pieces", [0, 4])
@pytest.mark.parametrize("reach", [1.0, 1e3, 1e6])
def test_jacobian_is_symmetric_and_positive_for_any_condition(pieces: int, reach: float) -> None:
    network = potential(pieces)
    rows = reach * torch.randn(200, 5)
    jacobian = hessian(network, rows)[:, :3, :3]
    size = jacobian.abs().amax((1, 2))
    assert ((jacobian - jacobian.mT).abs().amax((1, 2)) <= 1e-5 * size).all()
    smallest = torch.linalg.eigvalsh(jacobian.double())[:, 0]
    assert (smallest >= network.strong_convexity() - 1e-5 * size).all()


@given(seed=st.integers(0, 10_000), reach=st.floats(0.01, 1e4), condition=st.floats(-1e4, 1e4))
@settings(max_examples=60, deadline=None)
def test_gradient_is_monotone_at_equal_conditions(
    seed: int, reach: float, condition: float
) -> None:
    network = potential(4, seed)
    a, b = (reach * torch.randn(64, 5) for _ in range(2))
    a[:, 3:] = b[:, 3:] = condition
    first, second = (network.value_and_gradient(rows)[1] for rows in (a, b))
    assert torch.equal(first[:, 3:], a[:, 3:])  # conditions stay
    change, step = (first - second)[:, :3], (a - b)[:, :3]
    inner, length = (change * step).sum(1), step.square().sum(1)
    largest = a[:, :3].norm(dim=1) + b[:, :3].norm(dim=1) + 1.0
    rounding = 1e-6 * (first[:, :3].norm(dim=1) + second[:, :3].norm(dim=1)) * largest
    assert (inner >= network.strong_convexity() * length - rounding).all()


@pytest.mark.parametrize("pieces", [0, 4])
def test_written_out_gradients_agree_with_autograd(pieces: int) -> None:
    network = potential(pieces).double()
    rows = torch.randn(40, 5, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(40, dtype=torch.float64)
    (weights * network(rows)).sum().backward()
    expected = [parameter.grad for parameter in network.parameters()]
    network.zero_grad(set_to_none=True)
    torch.testing.assert_close(network.accumulate(rows.detach(), weights), network(rows).detach())
    for parameter, gradient in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
    moved = network.value_and_gradient(rows.detach())[1]
    torch.testing.assert_close(weights[:, None] * moved[:, :3], rows.grad[:, :3])


def test_the_conjugate_is_that_of_the_potential_at_the_condition() -> None:
    network = potential(4).double()
    rows = torch.randn(100, 5, dtype=torch.float64)
    value, moved = network.value_and_gradient(rows)
    found = conjugate(network, moved, tolerance=1e-8)
    torch.testing.assert_close(found.points, rows, atol=1e-6, rtol=1e-6)
    # Fenchel's equality at c: φ*(∇φ(u)) = ⟨u, ∇φ(u)⟩ − φ(u), each plus |c|²/2.
    c = 0.5 * rows[:, 3:].square().sum(1)
    inner = (rows * moved)[:, :3].sum(1)
    torch.testing.assert_close(found.value - c, inner - (value - c), atol=1e-9, rtol=1e-9)


def bent(x: Array, c: Array) -> Array:
    """Gradient in x of a convex function whose bend turns and grows with c."""
    axis = np.stack([np.cos(c), np.sin(c)], axis=1)
    along = (x * axis).sum(1, keepdims=True)
    bend = 1.5 * (1.0 + c[:, None]) * axis * along / np.sqrt(0.1 + along**2)
    return (0.6 + 0.4 * c[:, None] ** 2) * x + bend + np.stack([c**2, 0 * c], axis=1)


def sample(n: int, centre: float, seed: int) -> tuple[Array, Array]:
    """Points whose mean and width depend on the condition, and the condition."""
    rng = np.random.default_rng(seed)
    c = rng.normal(centre, 0.5, n).clip(-0.95, 1.6)
    x = rng.normal(size=(n, 2)) * (1.0 + 0.3 * np.abs(c))[:, None]
    return x + np.stack([c, -c], axis=1), c[:, None]


def error(moved: NDArray[np.floating], exact: Array) -> float:
    return float(100 * ((moved - exact) ** 2).sum(1).mean() / exact.var(0).sum())


def test_a_known_map_is_recovered_where_conditions_occur_in_other_shares() -> None:
    (x, c), (before, d), (fresh, e) = (
        sample(5000, 0.0, 1),
        sample(5000, 0.25, 2),
        sample(4000, 0.2, 3),
    )
    y, exact = bent(before, d[:, 0]), bent(fresh, e[:, 0])
    fitted = fit_map(x, y, conditions=(c, d), steps=250, seed=1, options=SMALL, diagnostics=False)
    inclusive = fit_map(x, y, steps=100, seed=1, options=SMALL, diagnostics=False)
    assert fitted.diagnostics["winner"] == "convex"
    assert 0.5 < fitted.diagnostics["conditions_matched"]["effective"] < 0.95
    assert error(fitted.transport(fresh, e), exact) < 2.5
    assert error(inclusive.transport(fresh), exact) > 15
    back = fitted.inverse(fitted.transport(fresh[:500], e[:500]), e[:500])
    assert back.converged.all()
    assert np.abs(back.points - fresh[:500]).max() < 0.02


@pytest.fixture(scope="module")
def at_momentum_and_eta(tmp_path_factory: pytest.TempPathFactory) -> list[Callable[..., Array]]:
    """A fitted map at jets' pT and η, and the same as an ONNX model."""

    def jets(seed: int) -> tuple[Array, Array]:
        rng = np.random.default_rng(seed)
        c = np.stack([rng.gamma(3.0, 30.0, 3000) + 20.0, rng.uniform(-2.5, 2.5, 3000)], axis=1)
        return rng.normal(size=(3000, 2)) + 0.01 * c[:, :1] + 0.2 * c[:, 1:], c

    (x, c), (before, d) = jets(1), jets(2)
    y = bent(before, 0.01 * (d[:, 0] - 100.0)) * (1.0 + 0.1 * np.abs(d[:, 1:]))
    choices = {"options": SMALL, "diagnostics": False, "select": False}
    fitted = fit_map(x, y, conditions=(c, d), steps=80, seed=1, **choices)
    assert fitted.diagnostics["winner"] == "convex"
    path = tmp_path_factory.mktemp("models") / "map.onnx"
    fitted.to_onnx(path)
    session = onnxruntime.InferenceSession(path)

    def exported(x: Array, c: Array) -> Array:
        values = (x.astype(np.float32), c.astype(np.float32))
        names = (one.name for one in session.get_inputs())
        return session.run(None, dict(zip(names, values, strict=True)))[0]

    return [fitted.transport, exported]


@given(
    seed=st.integers(0, 10_000),
    reach=st.floats(0.01, 1e3),
    pt=st.floats(-1e3, 1e4),
    eta=st.floats(-100.0, 100.0),
)
@settings(max_examples=60, deadline=None)
def test_a_fitted_map_and_its_export_are_monotone_at_any_momentum_and_eta(
    at_momentum_and_eta: list[Callable[..., Array]],
    seed: int,
    reach: float,
    pt: float,
    eta: float,
) -> None:
    """In features, with Gaussian coordinates around the potential, far outside the sample too."""
    points = reach * np.random.default_rng(seed).normal(size=(2, 64, 2))
    first, second = points.astype(np.float32)
    c = np.tile(np.float32([pt, eta]), (64, 1))
    step = np.float64(first) - second
    assert np.abs(step).sum(1).min() > 0
    for transport in at_momentum_and_eta:
        one, other = (np.float64(transport(x, c)) for x in (first, second))
        assert np.isfinite(one).all()
        sizes = np.abs(one).sum(1) + np.abs(other).sum(1) + np.abs(c).sum(1)
        rounding = 2e-6 * sizes * np.linalg.norm(step, axis=1)
        assert (((one - other) * step).sum(1) > -rounding).all()


def test_gaussians_that_move_with_the_condition_keep_the_closed_form() -> None:
    rng = np.random.default_rng(1)
    d, k, n = 4, 2, 20_000
    first, second = (np.linalg.qr(rng.normal(size=(d, d)))[0] * (0.5 + rng.random(d)) for _ in "ab")
    lines = [rng.normal(size=(k, d)) for _ in "ab"]
    c = [rng.normal(1.0, 2.0, (n, k)), rng.normal(1.5, 1.8, (n, k))]
    x, y = (
        rng.normal(size=(n, d)) @ factor.T + conditions @ line + shift
        for factor, line, conditions, shift in zip((first, second), lines, c, (1, -2), strict=True)
    )
    fitted = fit_map(x, y, conditions=(c[0], c[1]), steps=60, seed=1, options=SMALL)
    assert fitted.diagnostics["winner"] == "gaussian"
    exact: GaussianMap = fit_gaussian(
        rng.normal(size=(400_000, d)) @ first.T, rng.normal(size=(400_000, d)) @ second.T
    )
    wanted = (x - c[0] @ lines[0] - 1) @ exact.linear + c[0] @ lines[1] - 2
    assert error(fitted.transport(x, c[0]), wanted) < 0.05


@pytest.mark.parametrize("shift", [0.0, 0.8])
def test_source_points_are_drawn_in_the_target_s_shares(shift: float) -> None:
    rng = np.random.default_rng(2)
    source, target = rng.normal(size=(20_000, 1)), rng.normal(shift, 1.0, (30_000, 1))
    rows, figures = match(source, target, seed=3)
    if shift == 0.0:
        assert (rows == np.arange(20_000)).all()
        assert figures["effective"] == 1.0
        return
    drawn = source[rows, 0]
    assert drawn.mean() == pytest.approx(shift, abs=0.05)
    assert drawn.std() == pytest.approx(1.0, abs=0.05)
    # Of unit normals shifted by s, the classifier's area is Φ(s/√2) and the weights' effective
    # share exp(−s²).
    assert figures["auc"] == pytest.approx(0.714, abs=0.01)
    assert figures["effective"] == pytest.approx(np.exp(-(shift**2)), abs=0.05)


def test_a_conditional_map_survives_saving_and_starts_another_fit(tmp_path: Path) -> None:
    (x, c), (before, d) = sample(2000, 0.0, 1), sample(2000, 0.25, 2)
    settings = {"conditions": (c, d), "seed": 1, "options": SMALL, "diagnostics": False}
    fitted = fit_map(x, bent(before, d[:, 0]), steps=30, select=False, **settings)
    fitted.save(tmp_path / "map.safetensors")
    loaded = TransportMap.load(tmp_path / "map.safetensors")
    assert loaded.conditions == 1
    assert loaded.dimension == 2
    assert np.array_equal(loaded.transport(x, c), fitted.transport(x, c))
    warm = fit_map(x, bent(before, d[:, 0]) + 0.05, steps=5, initial=loaded, **settings)
    assert warm.diagnostics["winner"] == "convex"


@pytest.mark.parametrize(
    ("given", "says"),
    [(None, "are missing"), ((5, 2), "shape (5, 2)"), ((4, 1), "shape (4, 1)")],
)
def test_wrong_conditions_are_named(given: tuple[int, int] | None, says: str) -> None:
    (x, c), (y, d) = sample(100, 0.0, 1), sample(100, 0.0, 2)
    fitted = fit_map(x, y, conditions=(c, d), method="gaussian", diagnostics=False)
    with pytest.raises(InputError) as caught:
        fitted.transport(x[:5], None if given is None else np.zeros(given))
    assert says in str(caught.value)
    assert "takes (5, 1)" in str(caught.value)


def test_bad_conditions_of_a_fit_are_named() -> None:
    (x, c), (y, d) = sample(100, 0.0, 1), sample(100, 0.0, 2)
    with pytest.raises(InputError, match="target conditions: have 99 rows, the points 100"):
        fit_map(x, y, conditions=(c, d[1:]))
    with pytest.raises(InputError, match="column 0: is constant"):
        fit_map(x, y, conditions=(c, 0 * d))
    with pytest.raises(InputError, match="not for method minimax"):
        fit_map(x, y, conditions=(c, d), method="minimax")
    c[3] = np.nan
    with pytest.raises(InputError, match=r"source conditions: has NaN .* 1 of 100"):
        fit_map(x, y, conditions=(c, d))
