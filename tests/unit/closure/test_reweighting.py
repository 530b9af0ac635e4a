from __future__ import annotations

import numpy as np
import pytest

from otcal.closure.metrics import auc, ks_distance, ks_noise
from otcal.closure.reweighting import (
    IDENTITY,
    Calibration,
    calibrate,
    density_ratio,
    dilution,
    reliability,
    reweight,
)
from otcal.closure.scores import Scores


def test_rho_of_known_weights() -> None:
    assert dilution(np.full(50, 3.0)).rho == pytest.approx(1.0)
    assert dilution(np.array([1.0, 0.0, 0.0, 0.0])).rho == pytest.approx(0.25)
    # (1 + 2 + 3)² / (3 · (1 + 4 + 9))
    assert dilution(np.array([1.0, 2.0, 3.0])).rho == pytest.approx(36.0 / 42.0)


@pytest.mark.parametrize("shift", [0.0, 0.4, 0.8])
def test_rho_of_shifted_gaussians_is_exp_of_minus_shift_squared(shift: float) -> None:
    z = np.random.default_rng(1).normal(size=200_000)
    found = dilution(np.exp(shift * z - shift**2 / 2.0))
    assert abs(found.rho - np.exp(-(shift**2))) <= 4 * found.stat + 1e-12


def test_uncertainty_of_rho_is_the_spread_of_repeated_samples() -> None:
    r = np.random.default_rng(2)
    found = [dilution(np.exp(0.5 * r.normal(size=2000))) for _ in range(300)]
    spread = np.std([one.rho for one in found])
    assert np.mean([one.stat for one in found]) == pytest.approx(spread, rel=0.15)


def gaussian_scores(shift: float, slope: float, offset: float, jets: int = 30_000) -> Scores:
    """Scores that are a line through the true ln s = shift · z − shift²/2, for two fits."""
    r = np.random.default_rng(3)
    z = np.concatenate([r.normal(size=jets), r.normal(shift, size=jets)])
    fold = np.tile(np.repeat([1, 2], jets // 2), 2).astype(np.int8)
    score = slope * (shift * z - shift**2 / 2.0) + offset
    return Scores(
        fold=fold,
        sample=np.repeat([0, 1], jets).astype(np.int8),
        jet_id=np.arange(2 * jets),
        score=np.stack([score, score]).astype(np.float32),
    )


def test_an_overconfident_logit_is_calibrated() -> None:
    scores = gaussian_scores(0.7, slope=2.5, offset=-0.4)
    source, target = (scores.of(name, "validation")[0] for name in ("source", "target"))
    line = calibrate(source, target)
    assert line.slope == pytest.approx(0.4, abs=0.02)
    assert line.offset == pytest.approx(0.16, abs=0.02)
    before = reliability(source, target, IDENTITY)
    after = reliability(source, target, line)
    assert after["loss"] < before["loss"]
    assert after["error"] < 0.02 < before["error"]
    assert after["mean_weight"] == pytest.approx(1.0, abs=0.03)


def test_reliability_of_an_uninformative_score() -> None:
    nothing = reliability(np.zeros(50), np.zeros(80), Calibration(1.0, 0.0))
    assert nothing == pytest.approx({"loss": np.log(2.0), "error": 0.0, "mean_weight": 1.0})


def test_reweighting_closes_for_overlapping_gaussians() -> None:
    shift = 0.6
    scores = gaussian_scores(shift, slope=1.8, offset=0.3)
    weights, summary = reweight(scores)
    source, target = scores.of("source"), scores.of("target")
    assert weights.mean() == pytest.approx(1.0)
    assert summary["rho"] == pytest.approx(np.exp(-(shift**2)), abs=0.02)
    assert summary["rho_raw"] < summary["rho"] - 0.2  # the overconfident ratio dilutes more
    assert summary["effective_jets"] == pytest.approx(summary["rho"] * len(weights))
    unweighted, weighted = auc(source, target), auc(source, target, weights)
    assert unweighted.mean > 0.6
    assert abs(weighted.mean - 0.5) < 4 * weighted.stat
    distance = ks_distance(source[0], target[0], weights)
    assert distance < 2.0 * ks_noise(summary["effective_jets"], target.shape[1])
    assert ks_distance(source[0], target[0]) > 0.2


def test_weights_of_disjoint_samples_are_finite() -> None:
    line = calibrate(np.linspace(-60, -50, 40), np.linspace(50, 60, 40))
    weights = density_ratio(np.linspace(-900, 900, 100), line)
    assert np.isfinite(weights).all()
    assert dilution(weights).rho < 0.1
