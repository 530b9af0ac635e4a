"""Vertical baselines on densities that are known."""

from __future__ import annotations

import numpy as np
import pytest

from otcal.closure.simplex_jets import Sample
from otcal.closure.simplex_versions import Densities, add_shortcut, make_versions
from otcal.closure.vertical import (
    b_score,
    density_ratio,
    scale_factors,
    working_points,
)
from otcal.simplex import ilr, ilr_inverse
from otcal.transport.simplex_maps import Calibrated
from support.gaussian_mixtures import Gaussians, ring

JETS = 40_000
MC = ring(3, 3.0)
DATA = Gaussians(MC.means * 0.9, MC.widths * 0.95)


def test_exact_densities_turn_simulation_into_data() -> None:
    z = MC.sample(0, JETS, 1)
    weights = density_ratio(DATA.log_prob(z)[:, 0], MC.log_prob(z)[:, 0])
    assert weights.mean() == pytest.approx(1.0, rel=1e-12)
    for moment, expected in (
        (z, DATA.means[0]),
        ((z - DATA.means[0]) ** 2, np.full(2, DATA.widths[0] ** 2)),
    ):
        mean = (weights[:, None] * moment).mean(axis=0)
        error = (weights[:, None] * (moment - mean)).std(axis=0) / np.sqrt(JETS)
        assert (np.abs(mean - expected) < 4.0 * error).all()


def test_dilution_of_shifted_gaussians_is_the_known_one() -> None:
    """For N(δ, 1)/N(0, 1) the mean of the squared ratio is exp(δ²)."""
    z = np.random.default_rng(0).normal(size=(JETS, 1))
    weights = density_ratio(-0.5 * ((z - 0.6) ** 2)[:, 0], -0.5 * (z**2)[:, 0])
    size = Sample(np.ones((JETS, 3)) / 3, weights).effective_size()
    assert size / JETS == pytest.approx(np.exp(-0.36), rel=0.02)


def test_equal_densities_keep_every_jet() -> None:
    log_q = MC.log_prob(MC.sample(0, 100, 0))[:, 0]
    np.testing.assert_array_equal(density_ratio(log_q, log_q), np.ones(100))


def test_working_points_pass_the_asked_share() -> None:
    score = b_score(ilr_inverse(MC.sample(0, JETS, 2)), 0.2)
    efficiencies = (0.85, 0.77, 0.70, 0.60)
    thresholds = working_points(score, efficiencies)
    passed = [(score > t).mean() for t in thresholds]
    np.testing.assert_allclose(passed, efficiencies, atol=2.0 / JETS)
    assert (np.diff(thresholds) > 0).all()


def test_b_score_is_the_log_ratio() -> None:
    p = np.array([[0.7, 0.1, 0.2]])
    assert b_score(p, 0.3)[0] == pytest.approx(np.log(0.7 / (0.3 * 0.1 + 0.7 * 0.2)))


def test_scale_factors_give_each_bin_the_share_of_the_target() -> None:
    rng = np.random.default_rng(3)
    simulation, target = rng.normal(size=5_000), rng.normal(0.3, 1.2, size=7_000)
    thresholds = np.array([-1.0, 0.0, 0.5, 1.5])
    weights = scale_factors(simulation, target, thresholds).weights(simulation)
    for low, high in zip([-np.inf, *thresholds], [*thresholds, np.inf], strict=True):
        inside = (simulation >= low) & (simulation < high)
        share = ((target >= low) & (target < high)).mean()
        assert weights[inside].sum() / weights.sum() == pytest.approx(share, rel=1e-12)
    # Within a bin nothing is told apart.
    assert len(np.unique(weights)) == 5


def test_versions_carry_weights_and_leakage() -> None:
    p = ilr_inverse(MC.sample(1, 2_000, 4))
    target = b_score(ilr_inverse(DATA.sample(1, 2_000, 5)), 0.2)
    score = b_score(p, 0.2)
    factors = scale_factors(score, target, working_points(score, (0.7, 0.5)))

    def nudge(q: np.ndarray) -> Calibrated:
        return Calibrated(ilr_inverse(ilr(q) + 0.1), np.full(len(q), 0.05))

    jets, leaks = make_versions(
        p,
        1,
        {"calibrated": nudge},
        {"eigen1_up": nudge},
        Densities(lambda q: MC.log_prob(ilr(q)), lambda q: DATA.log_prob(ilr(q))),
        factors,
        0.2,
    )
    np.testing.assert_allclose(ilr(jets.moved["calibrated"]), ilr(p) + 0.1, atol=1e-9)
    np.testing.assert_array_equal(jets.varied["eigen1_up"], jets.moved["calibrated"])
    z = ilr(p)
    expected = density_ratio(DATA.log_prob(z)[:, 1], MC.log_prob(z)[:, 1])
    np.testing.assert_allclose(jets.weights["reweighted"], expected)
    assert leaks["calibrated"] == pytest.approx(
        {"mean": 0.05, "q50": 0.05, "q95": 0.05, "max": 0.05, "above_0.01": 1.0, "above_0.1": 0.0}
    )
    shift = np.array([0.01, -0.03, 0.02])
    add_shortcut(jets, 1, {"eigen1_up": shift}, lambda q: DATA.log_prob(ilr(q)), 20.0)
    q = np.exp(DATA.log_prob(ilr(jets.moved["calibrated"])))
    # exp(δ log q) is 1 + δ log q to first order (KY 49).
    linear = 1.0 + np.minimum(q / q[:, [1]], 20.0) @ -shift
    linear /= linear.mean()
    close = np.abs(linear - 1.0) < 0.1
    assert close.mean() > 0.9
    np.testing.assert_allclose(jets.shortcut["eigen1_up"][close], linear[close], atol=0.02)
    assert jets.shortcut["eigen1_up"].mean() == pytest.approx(1.0)
