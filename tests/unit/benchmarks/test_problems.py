"""The benchmark's maps are what they are said to be: gradients of convex functions, by seed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp

from accuracy.maps import NormalScores
from accuracy.problems import FAMILIES, build
from otcal.transport.gaussian import fit_gaussian

SMALL = [name for name in FAMILIES if not name.endswith(("-64", "-128"))]


def jacobians(family: str, points: int = 16, step: float = 1e-5) -> np.ndarray:
    """Return central differences of the map at source points, shape (points, d, d)."""
    problem = build(family, 7)
    x = problem.sample(points, np.random.default_rng(0))
    columns = [
        (problem.exact(x + step * e) - problem.exact(x - step * e)) / (2.0 * step)
        for e in np.eye(x.shape[1])
    ]
    return np.stack(columns, axis=2)


@pytest.mark.parametrize("family", SMALL)
def test_map_is_the_gradient_of_a_strongly_convex_function(family: str) -> None:
    found = jacobians(family)
    np.testing.assert_allclose(found, found.transpose(0, 2, 1), atol=1e-6)
    values = np.linalg.eigvalsh(found)
    assert values.min() > 0.04
    assert values.max() < 60.0


def test_gradients_agree_with_differences_of_the_log_sum_exp() -> None:
    problem = build("lse-16", 3)
    x = problem.sample(8, np.random.default_rng(0))
    exact = problem.exact

    def value(x: np.ndarray) -> np.ndarray:
        exponents = [
            0.5 * np.einsum("ni,ij,nj->n", x, a, x) + x @ b + c
            for a, b, c in zip(exact.curvatures, exact.slopes, exact.offsets, strict=True)
        ]
        t = exact.temperature
        return t * logsumexp(np.array(exponents) / t, axis=0) + 0.5 * exact.floor * (x * x).sum(1)

    rng = np.random.default_rng(1)
    direction = rng.normal(size=x.shape)
    slope = (value(x + 1e-5 * direction) - value(x - 1e-5 * direction)) / 2e-5
    np.testing.assert_allclose((exact(x) * direction).sum(1), slope, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("family", SMALL)
def test_samples_depend_on_the_seed_alone(family: str) -> None:
    first, again, other = (build(family, seed) for seed in (5, 5, 6))
    for mine, same, another in zip(
        (*first.training(50), *first.test(50)),
        (*again.training(50), *again.test(50)),
        (*other.training(50), *other.test(50)),
        strict=True,
    ):
        np.testing.assert_array_equal(mine, same)
        assert not np.allclose(mine, another)


def test_training_is_unpaired_and_the_test_is_fresh() -> None:
    problem = build("lse-2", 1)
    source, target = problem.training(300)
    x, exact, fresh = problem.test(300)
    np.testing.assert_allclose(exact, problem.exact(x.astype(float)), rtol=1e-4, atol=1e-5)
    images = problem.exact(source.astype(float))
    for points in (target, fresh):
        assert np.abs(images - points).max(axis=1).min() > 1e-3
    assert not np.isin(x, source).any()


def test_quantile_map_pushes_the_source_to_the_target_distribution() -> None:
    problem = build("quantile-1", 4)
    assert isinstance(problem.exact, NormalScores)
    y = problem.training(50_000)[1][:, 0].astype(float)
    levels = np.linspace(0.01, 0.99, 25)
    reached = problem.exact.target_distribution(np.quantile(y, levels))
    # Five standard deviations of an empirical distribution function.
    assert (np.abs(reached - levels) < 5.0 * np.sqrt(levels * (1 - levels) / len(y))).all()


def test_quantile_map_keeps_its_digits_in_both_tails() -> None:
    exact = build("quantile-1", 4).exact
    x = np.linspace(-12.0, 12.0, 2001)[:, None]
    assert (np.diff(exact(x)[:, 0]) > 0).all()


@pytest.mark.parametrize(("family", "low", "high"), [("lse-2", 2, 12), ("mixture-16", 20, 60)])
def test_problem_is_far_from_gaussian(family: str, low: float, high: float) -> None:
    problem = build(family, 1)
    gaussian = fit_gaussian(*problem.training(20_000))
    x, exact, _ = problem.test(2000)
    error = ((gaussian(x) - exact) ** 2).sum(1).mean() / exact.var(axis=0).sum()
    assert low < 100.0 * error < high


def test_vertex_pull_makes_the_tagger_less_sure() -> None:
    problem = build("simplex-2", 1)
    z = problem.sample(5000, np.random.default_rng(0))
    before, after = (
        log_softmax(np.sqrt(2 / 3) * points @ problem.exact.directions.T, axis=1).max(axis=1)
        for points in (z, problem.exact(z))
    )
    assert (after <= before + 1e-9).mean() > 0.9
    assert after.mean() < before.mean()
