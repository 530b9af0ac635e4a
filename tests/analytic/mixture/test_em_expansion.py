"""Moves along which the likelihood does not change, on densities that can follow exactly.

Three regions of three histograms in B cells have as many free densities as the data have numbers:
the likelihood is at its largest possible value for a continuum of compositions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from otcal.config.mixture import EmConfig
from otcal.mixture import em
from otcal.mixture.composition import Prior, compositions, logits, perturbed
from otcal.mixture.events import Events
from otcal.mixture.expansion import _Problem, expand
from support.em_models import (
    ENRICHED,
    FLAVOURS,
    PI,
    Gaussians,
    Histograms,
    events_of,
    gaussian_events,
)

CELLS = np.array(
    [
        [0.02, 0.08, 0.10, 0.20, 0.25, 0.35],
        [0.10, 0.20, 0.30, 0.20, 0.12, 0.08],
        [0.45, 0.25, 0.14, 0.08, 0.05, 0.03],
    ]
)
SEPARATE = np.array(
    [
        [0.00, 0.00, 0.10, 0.20, 0.30, 0.40],
        [0.00, 0.40, 0.40, 0.20, 0.00, 0.00],
        [0.70, 0.20, 0.10, 0.00, 0.00, 0.00],
    ]
)
SIMULATED = np.array(
    [
        [0.01, 0.05, 0.08, 0.20, 0.28, 0.38],
        [0.08, 0.22, 0.34, 0.22, 0.10, 0.04],
        [0.50, 0.26, 0.12, 0.07, 0.03, 0.02],
    ]
)
N = 4_000


def histogram_events(cells: np.ndarray, n: int = N) -> Events:
    """Return events whose numbers per cell are the expected ones, rounded."""
    counts = np.round(PI @ cells * n).astype(int)
    return events_of([np.repeat(np.arange(6.0), row)[:, None] for row in counts])


def run(events: Events, prior: Prior, start: np.ndarray, **options: Any) -> em.Fit:
    return em.fit(
        events,
        Histograms(SIMULATED),
        prior,
        start,
        ENRICHED,
        EmConfig(**{"expansion": True, **options}),
        flavours=FLAVOURS,
    )


def saturated(events: Events) -> float:
    """Return the largest log-likelihood that any densities can have."""
    total = 0.0
    for r in range(3):
        counts = np.bincount(events.z[events.region == r, 0].astype(int))
        counts = counts[counts > 0]
        total += float(counts @ np.log(counts / counts.sum()))
    return total


@pytest.mark.parametrize("start", [1, 2, 3])
def test_prior_decides_where_the_data_are_silent(start: int) -> None:
    """Nominal compositions, the saturated likelihood, whatever the start."""
    events = histogram_events(CELLS)
    nominal = perturbed(PI, 0.1, np.random.default_rng(7))
    cells = np.linalg.solve(nominal, PI @ CELLS)
    assert cells.min() > 0.0  # densities of the nominal compositions exist
    first = perturbed(nominal, 0.2, np.random.default_rng(start))
    fit = run(
        events,
        Prior.around(nominal, ENRICHED, 0.3),
        first,
        max_iterations=200,
        tolerance_likelihood=1e-10,
    )
    assert fit.converged
    np.testing.assert_allclose(fit.pi, nominal, atol=1e-6)
    assert fit.history[-1]["log_likelihood"] == pytest.approx(saturated(events), abs=0.05)


def test_em_alone_goes_the_same_way_much_more_slowly() -> None:
    events = histogram_events(CELLS, 10_000)
    prior = Prior.around(PI, ENRICHED, 0.3)
    start = perturbed(PI, 0.2, np.random.default_rng(1))
    options = {"settle": 5, "tolerance_likelihood": 1e-30}
    quick = run(events, prior, start, max_iterations=20, **options)
    slow = run(events, prior, start, expansion=False, max_iterations=20, **options)
    distance = [np.abs(fit.logits - prior.mean).max() for fit in (quick, slow)]
    assert distance[0] < 1e-6
    assert distance[1] > 0.5 * np.abs(logits(start) - prior.mean).max()
    slower = run(events, prior, start, expansion=False, max_iterations=200, **options)
    assert np.abs(slower.logits - prior.mean).max() < 0.1 * distance[1]


def test_objective_does_not_fall_with_expansion() -> None:
    """The histograms can become what the expansion asks for, so that EM's theorem holds."""
    events = histogram_events(CELLS)
    start = perturbed(PI, 0.2, np.random.default_rng(2))
    fit = run(
        events,
        Prior.around(PI, ENRICHED, 0.3),
        start,
        settle=0,
        max_iterations=30,
        tolerance_likelihood=1e-30,
    )
    assert np.diff([row["objective"] for row in fit.history]).min() > -1e-6


def test_impossible_compositions_are_pulled_back_by_the_data() -> None:
    """Where flavours are alone in a cell, more contamination than there is shows as a hole.

    Nominal contaminations are half too large; the truth is the most that densities allow.
    """
    events = histogram_events(SEPARATE)
    nominal = PI + 0.5 * (PI - np.diag(np.diag(PI)))
    nominal[range(3), range(3)] -= nominal.sum(axis=1) - 1.0
    assert np.linalg.solve(nominal, PI @ SEPARATE).min() < -1e-3
    prior = Prior.around(nominal, ENRICHED, 0.3)
    fit = run(events, prior, nominal, max_iterations=30, tolerance_likelihood=1e-30)
    error = np.abs(fit.pi - PI)
    assert (error < 0.25 * np.abs(nominal - PI)).all()
    assert fit.history[-1]["log_likelihood"] == pytest.approx(saturated(events), abs=10.0)


def test_too_little_contamination_is_not_noticed() -> None:
    """The likelihood is flat on that side: the same data accept half the contamination."""
    events = histogram_events(SEPARATE)
    nominal = PI - 0.5 * (PI - np.diag(np.diag(PI)))
    nominal[range(3), range(3)] += 1.0 - nominal.sum(axis=1)
    prior = Prior.around(nominal, ENRICHED, 0.3)
    fit = run(events, prior, PI, max_iterations=200, tolerance_likelihood=1e-30)
    np.testing.assert_allclose(fit.pi, nominal, atol=1e-3)
    assert fit.history[-1]["log_likelihood"] == pytest.approx(saturated(events), abs=1.0)


def _problem(seed: int) -> tuple[_Problem, np.ndarray]:
    rng = np.random.default_rng(seed)
    events = histogram_events(SEPARATE, 500)
    log_q = Histograms(SIMULATED).log_prob(events.z) + 0.3 * rng.standard_normal((len(events), 3))
    pi = perturbed(PI, 0.2, rng)
    log_p, _ = em.expectation(log_q, events.region, pi)
    problem = _Problem(log_q, log_p, events.region, pi, Prior.around(PI, ENRICHED, 0.3))
    return problem, pi


@pytest.mark.parametrize("seed", range(4))
def test_gradient_is_the_derivative_where_densities_are_cut_off_and_where_not(seed: int) -> None:
    problem, _ = _problem(seed)
    t = 2.0 * np.random.default_rng(seed).standard_normal(6)
    numeric = approx_fprime(t, lambda x: problem.negative(x)[0], 1e-7)
    np.testing.assert_allclose(problem.negative(t)[1], numeric, rtol=1e-4, atol=2e-3)


def test_gradient_test_covers_both_cases() -> None:
    cuts = []
    for seed in range(4):
        problem, _ = _problem(seed)
        t = 2.0 * np.random.default_rng(seed).standard_normal(6)
        cuts.append(problem.densities(problem.colour(t))[1].max())
    assert max(cuts) > 1e-3


def test_without_cut_the_likelihood_is_exactly_that_of_before() -> None:
    problem, pi = _problem(0)
    zero = problem.whiten(logits(pi))
    prior_only = 0.5 * zero @ zero
    assert problem.negative(zero)[0] == pytest.approx(prior_only, abs=1e-9)
    near = zero * 0.999
    assert problem.densities(problem.colour(near))[1].max() == 0.0
    assert problem.negative(near)[0] == pytest.approx(0.5 * near @ near, abs=1e-9)


def test_responsibilities_are_those_of_the_new_compositions_and_densities() -> None:
    events = histogram_events(CELLS, 400)
    prior = Prior.around(PI, ENRICHED, 0.3)
    pi = perturbed(PI, 0.2, np.random.default_rng(4))
    log_q = np.log(CELLS.T[events.z[:, 0].astype(int)])
    log_p, _ = em.expectation(log_q, events.region, pi)
    wider = expand(log_q, log_p, events.region, pi, prior)
    np.testing.assert_allclose(wider.logits, prior.mean, atol=1e-8)
    assert wider.gain == pytest.approx(-prior.log_density(logits(pi)), abs=1e-8)
    np.testing.assert_array_equal(wider.cut, 0.0)
    new = np.linalg.solve(compositions(wider.logits), pi) @ CELLS
    joint = compositions(wider.logits)[events.region] * new.T[events.z[:, 0].astype(int)]
    np.testing.assert_allclose(wider.gamma, joint / joint.sum(axis=1, keepdims=True), atol=1e-12)
    np.testing.assert_allclose(np.log(joint.sum(axis=1)), log_p, atol=1e-12)


def test_gaussians_cannot_follow_and_the_fit_says_how_far_it_is_off() -> None:
    """Densities with few parameters do determine compositions: the imbalance stays large."""
    events = gaussian_events(3000, 3)
    nominal = perturbed(PI, 0.2, np.random.default_rng(8))
    fits = {
        expansion: em.fit(
            events,
            Gaussians(),
            Prior.around(nominal, ENRICHED, 0.3),
            nominal,
            ENRICHED,
            EmConfig(expansion=expansion, max_iterations=40, tolerance_composition=1e-5),
            flavours=FLAVOURS,
        )
        for expansion in (False, True)
    }
    plain, expanded = (fits[key].history[-1] for key in (False, True))
    assert expanded["imbalance"] > 2 * plain["imbalance"]
    assert expanded["objective"] < plain["objective"] - 1.0


def test_compositions_far_out_in_the_prior_are_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their matrix saturates; densities this wrong sent an unbounded search 68 deviations out."""
    tried = []
    original = _Problem.negative

    def watched(problem: _Problem, t: np.ndarray) -> tuple[float, np.ndarray]:
        tried.append(np.abs(t).max())
        return original(problem, t)

    monkeypatch.setattr(_Problem, "negative", watched)
    model = Gaussians()
    model.means += np.random.default_rng(64).normal(0.0, 1.0, model.means.shape)
    prior = Prior.around(PI, ENRICHED, 0.3)
    settings = EmConfig(expansion=True, max_iterations=10)
    fit = em.fit(gaussian_events(1000, 64), model, prior, PI, ENRICHED, settings, flavours=FLAVOURS)
    assert max(tried) <= 10.0
    assert np.isfinite(fit.logits).all()
