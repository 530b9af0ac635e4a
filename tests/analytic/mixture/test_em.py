"""EM against known answers: exact maxima, an objective that never falls, exact continuation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from otcal.config.mixture import EmConfig
from otcal.mixture import em
from otcal.mixture.composition import Prior, compositions, logits, perturbed
from otcal.mixture.events import Events
from otcal.runtime.errors import InputError
from support.em_models import COVARIANCES, ENRICHED, FLAVOURS, MEANS, PI, Gaussians, gaussian_events

NOMINAL = perturbed(PI, 0.2, np.random.default_rng(8))
START = perturbed(NOMINAL, 0.2, np.random.default_rng(9))
PRIOR = Prior.around(NOMINAL, ENRICHED, 0.3)
PLAIN: dict[str, Any] = {"expansion": False, "settle": 0, "window": 3}


def run(events: Events, model: em.Model, **options: Any) -> em.Fit:
    known = {name: options.pop(name) for name in ("recorder", "checkpoint_path") if name in options}
    settings = EmConfig(**{**PLAIN, **options})
    return em.fit(events, model, PRIOR, START, ENRICHED, settings, flavours=FLAVOURS, **known)


def test_expectation_is_bayes_theorem() -> None:
    events = gaussian_events(50, 1)
    log_q = Gaussians().log_prob(events.z)
    log_p, gamma = em.expectation(log_q, events.region, PI)
    joint = PI[events.region] * np.exp(log_q)
    np.testing.assert_allclose(gamma, joint / joint.sum(axis=1, keepdims=True), rtol=1e-12)
    np.testing.assert_allclose(np.exp(log_p), joint.sum(axis=1), rtol=1e-12)
    far, _ = em.expectation(log_q - 2000.0, events.region, PI)
    np.testing.assert_allclose(far + 2000.0, log_p, rtol=1e-12)


def test_fixed_densities_lead_to_the_maximum_of_the_penalised_likelihood() -> None:
    """The problem is then concave in each region: any optimiser finds the same point."""
    events = gaussian_events(2000, 2)
    fit = run(
        events,
        Gaussians(fixed=True),
        max_iterations=500,
        tolerance_likelihood=1e-15,
        tolerance_composition=1e-10,
    )
    log_q = Gaussians().log_prob(events.z)

    def negative(a: np.ndarray) -> float:
        log_p, _ = em.expectation(log_q, events.region, compositions(a.reshape(3, 2)))
        return -float(log_p.sum()) - PRIOR.log_density(a.reshape(3, 2))

    best = minimize(negative, PRIOR.mean.ravel(), method="BFGS", options={"gtol": 1e-4})
    assert fit.converged
    np.testing.assert_allclose(fit.logits.ravel(), best.x, atol=2e-6)
    assert fit.history[-1]["objective"] == pytest.approx(-best.fun, abs=1e-6)


@pytest.mark.parametrize("seed", [3, 4])
def test_objective_never_falls_and_log_likelihood_is_what_it_says(seed: int) -> None:
    events = gaussian_events(1500, seed)
    model = Gaussians(MEANS + 0.4, COVARIANCES * 0.7)
    fit = run(events, model, max_iterations=120, tolerance_likelihood=1e-14)
    objectives = np.array([row["objective"] for row in fit.history])
    assert len(objectives) > 30
    assert np.diff(objectives).min() > -1e-9
    assert objectives[-1] - objectives[0] > 100.0
    log_p, gamma = em.expectation(model.log_prob(events.z), events.region, fit.pi)
    assert fit.history[-1]["log_likelihood"] == pytest.approx(log_p.sum(), abs=1e-9)
    shift = [gamma[events.region == r].mean(axis=0) - fit.pi[r] for r in range(3)]
    assert fit.history[-1]["imbalance"] == pytest.approx(np.abs(shift).max(), abs=1e-15)


def test_identifiable_mixture_is_recovered() -> None:
    """Gaussians of unknown mean and covariance, a prior that says little: truth within errors."""
    events = gaussian_events(20_000, 5)
    model = Gaussians(MEANS + 0.3, COVARIANCES * 1.3)
    prior = Prior.around(NOMINAL, ENRICHED, 5.0)
    options = EmConfig(
        **PLAIN, max_iterations=300, tolerance_likelihood=1e-9, tolerance_composition=1e-5
    )
    fit = em.fit(events, model, prior, START, ENRICHED, options, flavours=FLAVOURS)
    assert fit.converged
    np.testing.assert_allclose(fit.pi, PI, atol=0.006)
    np.testing.assert_allclose(model.means, MEANS, atol=0.03)
    np.testing.assert_allclose(model.covariances, COVARIANCES, atol=0.05)
    # The nominal compositions are further off.
    assert np.linalg.norm(fit.pi - PI) < 0.5 * np.linalg.norm(NOMINAL - PI)


def test_compositions_wait_until_the_densities_have_settled() -> None:
    events = gaussian_events(500, 6)
    fit = run(events, Gaussians(), settle=3, max_iterations=5)
    for row in fit.history[:4]:
        np.testing.assert_allclose(row["pi"], START, rtol=1e-14)
    assert np.abs(np.array(fit.history[4]["pi"]) - START).max() > 1e-3


def test_limit_of_iterations_is_not_convergence() -> None:
    events = gaussian_events(500, 6)
    fit = run(events, Gaussians(), max_iterations=4, tolerance_likelihood=1e-15)
    assert not fit.converged
    assert [row["iteration"] for row in fit.history] == [0, 1, 2, 3, 4]


def test_convergence_needs_both_likelihood_and_compositions() -> None:
    events = gaussian_events(500, 6)
    loose = run(events, Gaussians(), max_iterations=300, tolerance_composition=1e-3)
    tight = run(events, Gaussians(), max_iterations=300, tolerance_composition=1e-5)
    assert loose.converged
    assert tight.converged
    for fit, tolerance in ((loose, 1e-3), (tight, 1e-5)):
        fractions = np.array([row["pi"] for row in fit.history])
        assert np.ptp(fractions[-4:], axis=0).max() <= tolerance
        assert np.ptp(fractions[-5:-1], axis=0).max() > tolerance
    assert len(tight.history) > len(loose.history)


class Broken(Gaussians):
    """Gaussians that fail once."""

    failures = 1

    def update(self, z: np.ndarray, gamma: np.ndarray) -> None:
        super().update(z, gamma)
        if self.failures and np.abs(self.means[0] - MEANS[0]).max() < 0.2:
            self.failures -= 1
            raise KeyboardInterrupt


class Memory:
    """Keeps responsibilities."""

    def __init__(self) -> None:
        self.gamma: dict[int, np.ndarray] = {}

    def write(self, iteration: int, gamma: np.ndarray) -> None:
        self.gamma[iteration] = gamma


def test_continued_fit_ends_with_the_same_bits(tmp_path: Path) -> None:
    events = gaussian_events(400, 7, held_out=0.2)
    whole_model, whole_memory = Gaussians(MEANS + 0.5), Memory()
    whole = run(events, whole_model, recorder=whole_memory, max_iterations=25)
    path, memory = tmp_path / "checkpoint.safetensors", Memory()
    with pytest.raises(KeyboardInterrupt):
        run(
            events,
            Broken(MEANS + 0.5),
            recorder=memory,
            checkpoint_path=path,
            max_iterations=25,
        )
    before = max(memory.gamma)
    assert 0 < before < whole.history[-1]["iteration"]
    model = Gaussians(MEANS + 0.5)
    fit = run(events, model, recorder=memory, checkpoint_path=path, max_iterations=25)
    assert fit.history == whole.history
    assert fit.annealed == whole.annealed
    np.testing.assert_array_equal(model.means, whole_model.means)
    assert sorted(memory.gamma) == sorted(whole_memory.gamma)
    for iteration, gamma in whole_memory.gamma.items():
        np.testing.assert_array_equal(memory.gamma[iteration], gamma)


def test_held_out_events_are_not_fitted_and_slow_the_densities_down() -> None:
    class Watched(Gaussians):
        def update(self, z: np.ndarray, gamma: np.ndarray) -> None:
            assert len(z) == len(gamma) == (~events.held_out).sum()
            super().update(z, gamma)

    events = gaussian_events(400, 8, held_out=0.3)
    model = Watched(MEANS + 0.5)
    fit = run(events, model, max_iterations=60, tolerance_composition=1e-9)
    assert model.annealed == len(fit.annealed) > 0
    held_out = [row["held_out"] for row in fit.history]
    for before, after in zip([0, *fit.annealed], fit.annealed, strict=False):
        best = int(np.argmax(held_out[: after + 1]))
        assert after - max(best, before) >= 2


def test_components_that_change_places_are_refused() -> None:
    class Swapping(Gaussians):
        def update(self, z: np.ndarray, gamma: np.ndarray) -> None:
            self.means = MEANS[[1, 0, 2]]

    with pytest.raises(InputError, match="label switching"):
        run(gaussian_events(500, 6), Swapping(fixed=True), settle=5)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_divergence_is_named() -> None:
    class Diverging(Gaussians):
        def update(self, z: np.ndarray, gamma: np.ndarray) -> None:
            self.means = self.means * np.nan

    with pytest.raises(InputError, match="learning_rate: diverges"):
        run(gaussian_events(500, 6), Diverging())


def test_start_is_the_first_row() -> None:
    events = gaussian_events(300, 6)
    first = run(events, Gaussians(), max_iterations=1).history[0]
    log_p, _ = em.expectation(Gaussians().log_prob(events.z), events.region, START)
    assert first["log_likelihood"] == pytest.approx(log_p.sum(), abs=1e-9)
    assert first["objective"] - first["log_likelihood"] == pytest.approx(
        PRIOR.log_density(logits(START)), abs=1e-9
    )
