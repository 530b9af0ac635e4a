"""Fits against maps that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm

from otcal.transport.api import FittedMap, fit_map
from otcal.transport.gaussian import power
from otcal.transport.heldout import HeldOut
from otcal.transport.metrics import l2_uvp
from otcal.transport.minimax import MinimaxFit, MinimaxOptions
from otcal.transport.potentials import QuadraticPotential, hessian
from otcal.transport.problem import Conditioned, prepare
from otcal.transport.semidual import SemidualOptions

pytestmark = pytest.mark.heavy


def uvp(fitted: FittedMap, x: np.ndarray, exact: np.ndarray) -> float:
    return l2_uvp(torch.from_numpy(fitted.transport(x)), torch.from_numpy(exact).float())


class LogSumExp:
    """y = ∇φ(x), φ = τ log Σ exp((½ xᵀA_k x + b_kᵀx)/τ) + ½ε|x|², x from a Gaussian mixture."""

    def __init__(self, d: int, seed: int = 0, pieces: int = 4, tau: float = 1.0) -> None:
        rng = np.random.default_rng(seed)
        turn = np.linalg.qr(rng.normal(size=(pieces, d, d)))[0]
        values = np.exp(rng.uniform(np.log(0.2), np.log(2.0), (pieces, d)))
        self.a = np.einsum("kij,kj,klj->kil", turn, values, turn)
        self.b = rng.normal(size=(pieces, d))
        self.centres = 2.0 * rng.normal(size=(3, d)) / np.sqrt(d) ** 0.5
        self.tau = tau

    def sample(self, n: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        d = self.b.shape[1]
        return self.centres[rng.integers(3, size=n)] + rng.normal(size=(n, d))

    def map(self, x: np.ndarray) -> np.ndarray:
        slopes = np.einsum("kij,nj->nki", self.a, x) + self.b
        values = 0.5 * np.einsum("nki,ni->nk", slopes + self.b, x) / self.tau
        weights = np.exp(values - values.max(1, keepdims=True))
        weights /= weights.sum(1, keepdims=True)
        return np.einsum("nk,nki->ni", weights, slopes) + 0.1 * x


@pytest.mark.parametrize(("d", "steps", "percent"), [(2, 200, 0.8), (8, 400, 2.5)])
def test_known_map_is_recovered(d: int, steps: int, percent: float) -> None:
    truth = LogSumExp(d)
    fitted = fit_map(
        truth.sample(8_000, 1),
        truth.map(truth.sample(8_000, 2)),
        steps=steps,
        options=SemidualOptions(hidden=(48, 48), batch=256),
    )
    x = truth.sample(4000, 3)
    exact = truth.map(x)
    gaussian = fit_map(truth.sample(8_000, 1), truth.map(truth.sample(8_000, 2)), method="gaussian")
    assert fitted.diagnostics["winner"] == "convex"
    assert uvp(fitted, x, exact) < percent
    assert uvp(fitted, x, exact) < 0.3 * uvp(gaussian, x, exact)
    # The inverse comes with the map, and its certificate holds.
    back = fitted.inverse(fitted.transport(x))
    assert back.converged.all()
    assert np.abs(back.points - x).max() < 0.05 * x.std()
    jacobian = hessian(fitted.map.potentials[0], torch.randn(50, d) * 5.0)
    assert torch.linalg.eigvalsh(jacobian.double()).min() > 0


def test_products_in_bfloat16_do_no_harm() -> None:
    truth, errors = LogSumExp(8), []
    for precision in ("float32", "bfloat16"):
        options = SemidualOptions(hidden=(32, 32), squares=32, batch=128, precision=precision)
        fitted = fit_map(
            truth.sample(8_000, 1),
            truth.map(truth.sample(8_000, 2)),
            steps=300,
            options=options,
            diagnostics=False,
        )
        assert fitted.diagnostics["winner"] == "convex"
        assert fitted.diagnostics["options"]["precision"] == precision
        x = truth.sample(4000, 3)
        errors.append(uvp(fitted, x, truth.map(x)))
    assert errors[1] != errors[0]
    assert errors[1] < 1.2 * errors[0]


def test_one_dimension_is_quantile_matching() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8_000, 1)), rng.exponential(size=(8_000, 1))
    fitted = fit_map(x, y, steps=300, options=SemidualOptions(hidden=(32, 32), batch=256))
    fresh = rng.normal(size=(4000, 1))
    assert uvp(fitted, fresh, -np.log(norm.sf(fresh))) < 1.5
    assert (np.diff(fitted.transport(np.linspace(-4, 4, 500)[:, None])[:, 0]) > 0).all()


@pytest.mark.parametrize("d", [8, 32])
def test_gaussians_keep_the_linear_map(d: int) -> None:
    rng = np.random.default_rng(d)
    mix = rng.normal(size=(d, d)) / np.sqrt(d) + np.eye(d)
    x, y = rng.normal(size=(4000, d)), rng.normal(size=(4000, d)) @ mix
    options = SemidualOptions(hidden=(32, 32), batch=256)
    fitted = fit_map(x, y, steps=100, options=options)
    assert fitted.diagnostics["winner"] == "gaussian"
    linear = fit_map(x, y, method="gaussian")
    np.testing.assert_array_equal(fitted.transport(x), linear.transport(x))
    # With the covariance of y equal to mixᵀ mix the exact map is its square root.
    assert uvp(fitted, x, x @ power(mix.T @ mix, 0.5)) < 300.0 * d / len(x)


@pytest.mark.parametrize(("d", "standardise"), [(2, True), (4, False)])
def test_the_linear_map_is_found_from_the_identity_too(d: int, standardise: bool) -> None:
    rng = np.random.default_rng(d)
    scale = np.linspace(1.0, 3.0, d)
    mix = rng.normal(size=(d, d)) / np.sqrt(d) + 2.0 * np.eye(d)
    x = rng.normal(size=(8_000, d)) * scale
    y = rng.normal(size=(8_000, d)) @ mix * scale + scale
    # In units of the target's spread (or not) both are Gaussian still.
    unit = np.sqrt(np.square(mix).sum(0)) * scale if standardise else np.ones(d)
    first, second = np.diag((scale / unit) ** 2), mix.T @ mix * np.outer(scale / unit, scale / unit)
    root = power(first, 0.5)
    linear = power(first, -0.5) @ power(root @ second @ root, 0.5) @ power(first, -0.5)
    exact = (x / unit) @ linear * unit + scale
    options = SemidualOptions(hidden=(32, 32), batch=256)
    settings = {"steps": 250, "standardise": standardise, "precondition": False}
    fitted = fit_map(x, y, select=False, options=options, **settings)
    assert fitted.diagnostics["winner"] == "convex"
    assert uvp(fitted, x, x) > 100.0  # the start
    assert uvp(fitted, x, exact) < 0.4
    # Selection knows that the closed form is no worse, and takes it as it is.
    chosen = fit_map(x, y, options=options, **settings)
    assert chosen.diagnostics["winner"] == "gaussian"
    closed = fit_map(x, y, method="gaussian", standardise=standardise)
    np.testing.assert_array_equal(chosen.transport(x), closed.transport(x))


def test_the_dual_value_of_the_identity_is_half_the_squared_distance_of_gaussians() -> None:
    rng = np.random.default_rng(0)
    width, shift = np.array([0.5, 1.0, 2.0]), np.array([1.0, 0.0, -1.0])
    x, y = rng.normal(size=(20_000, 3)) * width, rng.normal(size=(20_000, 3)) + shift
    place = torch.device("cpu")
    settings = {"in_spreads": True, "seed": 0, "place": place}
    both, held = Conditioned((x, y)), Conditioned((x[:4096], y[:4096]))
    held_out = prepare(both, held, preconditioned=False, **settings).held_out
    distance = 0.5 * (np.square(width - 1.0).sum() + np.square(shift).sum())
    assert held_out.identity == pytest.approx(distance, rel=0.1)
    found = held_out.semidual(QuadraticPotential(3))["dual"]
    assert found == pytest.approx(held_out.identity, abs=1e-4)
    assert prepare(both, None, preconditioned=True, **settings).held_out.identity == 0.0


def test_minimax_reduces_the_error_of_a_gaussian_problem() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y, x_held, y_held = torch.randn(4, 4000, 2, generator=generator)
    factors, shift = torch.tensor([0.5, 1.5]), torch.tensor([0.5, -0.5])
    held_out = HeldOut(x_held, y_held * factors + shift, torch.ones(2))
    options = MinimaxOptions(blocks=1, hidden=(32, 32), learning_rate=2e-2, batch=256)
    trainee = MinimaxFit(x, y * factors + shift, held_out, options, steps=560, seed=0)
    exact = x_held * factors + shift

    def error() -> float:
        return l2_uvp(trainee.map.transport(x_held).detach(), exact)

    before = error()
    for number in range(560):
        trainee.step(number)
    assert error() < 0.05 * before
