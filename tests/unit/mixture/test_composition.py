"""Compositions in free logits: Jacobians, the prior for any reference flavour, the exact M-step."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from otcal.mixture.composition import (
    Prior,
    compositions,
    inverse_jacobian,
    jacobian,
    logits,
    most_probable,
    perturbed,
)

PI = np.array([[0.90, 0.04, 0.06], [0.05, 0.8886, 0.0614], [0.0505, 0.0887, 0.8608]])


def test_logits_and_compositions_are_inverse_of_each_other() -> None:
    np.testing.assert_allclose(compositions(logits(PI)), PI, rtol=1e-14)
    assert logits(PI)[0, 0] == pytest.approx(np.log(0.90 / 0.06), abs=1e-15)
    extreme = np.array([[800.0, -800.0]])
    np.testing.assert_allclose(compositions(extreme), [[1.0, 0.0, 0.0]], atol=1e-300)


def test_jacobian_is_the_derivative() -> None:
    for row in PI:
        numeric = approx_fprime(logits(row), compositions, 1e-7)
        np.testing.assert_allclose(jacobian(row), numeric, atol=1e-6)
    np.testing.assert_allclose(jacobian(PI).sum(axis=1), 0.0, atol=1e-16)


def test_inverse_jacobian_inverts_it_on_shifts_that_sum_to_zero() -> None:
    up, down = inverse_jacobian(PI), jacobian(PI)
    np.testing.assert_allclose(up @ down, np.broadcast_to(np.eye(2), (3, 2, 2)), atol=1e-13)
    shift = np.array([0.01, -0.03, 0.02])
    np.testing.assert_allclose((down @ up) @ shift, np.broadcast_to(shift, (3, 3)), atol=1e-15)


@pytest.mark.parametrize("signal", [0, 1, 2])
def test_prior_covariance_follows_from_independent_log_ratios(signal: int) -> None:
    """Σ_a gives each log(π_h/π_f), a linear function of a, the width, and no correlation."""
    flavours, width = 3, 0.3
    covariance = Prior.around(PI[signal : signal + 1], [signal], width).covariance[0]
    # log(π_h/π_f) = a_h − a_f with a_K = 0.
    ratios = np.array(
        [np.eye(flavours)[h] - np.eye(flavours)[signal] for h in range(flavours) if h != signal]
    )[:, : flavours - 1]
    np.testing.assert_allclose(
        ratios @ covariance @ ratios.T, width**2 * np.eye(flavours - 1), atol=1e-16
    )


@pytest.mark.parametrize(
    ("signal", "expected"),
    [(0, [[1, 1], [1, 2]]), (1, [[2, 1], [1, 1]]), (2, [[1, 0], [0, 1]])],
)
def test_prior_is_diagonal_only_when_the_signal_is_the_reference(
    signal: int, expected: list[list[int]]
) -> None:
    covariance = Prior.around(PI[signal : signal + 1], [signal], 0.5).covariance[0]
    np.testing.assert_allclose(covariance, 0.25 * np.array(expected), atol=1e-16)


@pytest.mark.parametrize("signal", [0, 1, 2, 3])
def test_prior_agrees_with_random_compositions(signal: int) -> None:
    """Sampled log-ratios to the signal, four flavours, turned into logits by normalising only."""
    nominal = np.full(4, 0.04)
    nominal[signal] = 0.88
    prior = Prior.around(nominal[None], [signal], 0.3)
    noise = 0.3 * np.random.default_rng(1).standard_normal((400_000, 4))
    noise[:, signal] = 0.0
    pi = nominal * np.exp(noise)
    a = logits(pi / pi.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(a.mean(axis=0), prior.mean[0], atol=2e-3)
    np.testing.assert_allclose(np.cov(a.T), prior.covariance[0], atol=1.5e-3)


def test_prior_density_is_that_of_the_log_ratios() -> None:
    prior = Prior.around(PI, [0, 1, 2], 0.3)
    pi = PI * np.array([[1.0, 1.2, 0.9], [1.1, 1.0, 1.3], [0.8, 0.9, 1.0]])
    pi /= pi.sum(axis=1, keepdims=True)
    expected = 0.0
    for r in range(3):
        for h in {0, 1, 2} - {r}:
            shift = np.log(pi[r, h] / pi[r, r]) - np.log(PI[r, h] / PI[r, r])
            expected -= 0.5 * (shift / 0.3) ** 2
    assert prior.log_density(logits(pi)) == pytest.approx(expected, rel=1e-13)


def test_composition_step_solves_its_equation() -> None:
    counts = np.array([[17000.3, 1100.2, 1899.5], [900.0, 18000.0, 1100.0], [5.0, 2.0, 0.5]])
    prior = Prior.around(PI, [0, 1, 2], 0.3)
    a = most_probable(counts, prior, prior.mean)
    totals = counts.sum(axis=1, keepdims=True)
    pull = np.einsum("rij,rj->ri", prior.precision, a - prior.mean)
    gradient = counts[:, :-1] - totals * compositions(a)[:, :-1] - pull
    np.testing.assert_allclose(gradient / totals, 0.0, atol=1e-12)
    # From far away to the same point: the problem has one maximum only.
    far = most_probable(counts, prior, np.full((3, 2), 25.0))
    np.testing.assert_allclose(far, a, atol=1e-10)


def test_composition_step_without_prior_is_the_mean_responsibility() -> None:
    counts = np.array([[17000.0, 1100.0, 1900.0]])
    prior = Prior.around(PI[:1], [0], 1e6)
    np.testing.assert_allclose(
        compositions(most_probable(counts, prior, prior.mean)), counts / 20000.0, atol=1e-10
    )


def test_composition_step_without_events_is_the_nominal() -> None:
    prior = Prior.around(PI, [0, 1, 2], 0.3)
    a = most_probable(np.zeros((3, 3)), prior, prior.mean + 1.0)
    np.testing.assert_allclose(a, prior.mean, atol=1e-12)


def test_perturbed_compositions_stay_within_the_limit_and_fill_it() -> None:
    generator = np.random.default_rng(3)
    draws = np.array([perturbed(PI, 0.2, generator) for _ in range(2000)])
    np.testing.assert_allclose(draws.sum(axis=2), 1.0, atol=1e-15)
    change = np.abs(draws / PI - 1.0)
    assert change.max() <= 0.2
    backgrounds = change[:, ~np.eye(3, dtype=bool)]
    np.testing.assert_allclose(backgrounds.mean(axis=0), 0.1, atol=0.006)


def test_perturbation_of_zero_changes_nothing() -> None:
    np.testing.assert_allclose(perturbed(PI, 0.0, np.random.default_rng(0)), PI, rtol=1e-15)
