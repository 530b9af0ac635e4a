"""Conditioning of the compositions: norm identities and the bound on random perturbations."""

from __future__ import annotations

import numpy as np
import pytest

from otcal.mixture.conditioning import condition_number, enriched_proxy, perturbation_bound

PI = np.array([[0.90, 0.04, 0.06], [0.05, 0.8886, 0.0614], [0.0505, 0.0887, 0.8608]])


def test_condition_number_is_the_product_of_norms() -> None:
    expected = np.linalg.norm(PI, 2) * np.linalg.norm(np.linalg.inv(PI), 2)
    assert condition_number(PI) == pytest.approx(expected, rel=1e-13)
    assert condition_number(np.eye(3)) == 1.0
    assert condition_number(np.array([[0.8, 0.2], [0.8, 0.2]])) == np.inf


def test_bound_holds_and_is_not_far_from_the_worst_case() -> None:
    rng = np.random.default_rng(5)
    worst = 0.0
    for _ in range(3000):
        q = rng.exponential(size=3)
        delta_pi = 0.02 * rng.standard_normal((3, 3))
        delta_p = 0.02 * rng.standard_normal(3)
        p = PI @ q
        moved = np.linalg.solve(PI + delta_pi, p + delta_p)
        error = np.linalg.norm(moved - q) / np.linalg.norm(q)
        bound = perturbation_bound(PI, delta_pi, np.linalg.norm(delta_p) / np.linalg.norm(p))
        assert bound.value is not None
        worst = max(worst, error / bound.value)
    assert 0.5 < worst <= 1.0


def test_bound_does_not_exist_for_large_errors() -> None:
    bound = perturbation_bound(PI, 0.9 * np.eye(3))
    assert bound.value is None
    assert bound.amplification is None


@pytest.mark.parametrize("enriched", [[0, 1, 2], [2, 0, 1]])
def test_proxy_is_the_exact_response_to_first_order_in_the_impurities(enriched: list[int]) -> None:
    rng = np.random.default_rng(2)
    impurity, shift = 1e-3, 1e-6
    q = rng.uniform(0.5, 2.0, (50, 3))
    pi = np.full((3, 3), impurity / 2)
    pi[range(3), enriched] = 1.0 - impurity
    delta = rng.standard_normal((3, 3)) * shift
    delta -= delta.mean(axis=1, keepdims=True)
    moved = np.linalg.solve(pi + delta, pi @ q.T).T  # densities of the same regions
    exact = np.log(moved) - np.log(q)
    np.testing.assert_allclose(
        enriched_proxy(np.log(q), delta, enriched), exact, atol=20 * impurity * shift
    )
