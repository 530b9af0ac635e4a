from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ks_2samp, norm
from sklearn.metrics import roc_auc_score

from otcal.closure.metrics import auc, ks_distance, ks_noise, roc


def test_auc_of_shifted_gaussians_is_phi_of_shift_over_root_two() -> None:
    r = np.random.default_rng(1)
    for shift in (-1.0, 0.0, 0.5, 2.0):
        area = auc(r.normal(size=40_000), r.normal(shift, size=30_000))
        assert abs(area.mean - norm.cdf(shift / np.sqrt(2))) < 4 * area.stat
        assert area.stat < 0.003


def test_auc_is_not_folded_and_counts_ties_as_half() -> None:
    assert auc(np.array([1.0, 2.0]), np.array([-1.0, 0.0])).mean == 0.0
    assert auc(np.array([0.0, 1.0]), np.array([0.0, 1.0])).mean == 0.5
    assert auc(np.zeros(5), np.zeros(7)).mean == 0.5


def test_weighted_auc_agrees_with_scikit_learn() -> None:
    r = np.random.default_rng(2)
    other, target = r.normal(size=500).round(1), r.normal(0.4, 1.3, size=300).round(1)
    weights = r.exponential(size=500)
    expected = roc_auc_score(
        np.repeat([0, 1], [500, 300]),
        np.concatenate([other, target]),
        sample_weight=np.concatenate([weights, np.ones(300)]),
    )
    assert auc(other, target, weights).mean == pytest.approx(expected, abs=1e-12)


def test_delong_variance_is_the_one_of_the_placements() -> None:
    """Against the definition: means of the kernel [x < y] + [x = y]/2 over each sample."""
    r = np.random.default_rng(3)
    other, target = r.normal(size=40).round(1), r.normal(0.5, size=25).round(1)
    kernel = (other[:, None] < target) + 0.5 * (other[:, None] == target)
    variance = kernel.mean(1).var(ddof=1) / 40 + kernel.mean(0).var(ddof=1) / 25
    assert auc(other, target).stat == pytest.approx(np.sqrt(variance), rel=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_uncertainty_is_the_spread_of_repeated_samples(weighted: bool) -> None:
    r = np.random.default_rng(4)
    areas = []
    for _ in range(400):
        x = r.normal(size=400)
        weights = np.exp(0.8 * x) if weighted else None
        areas.append(auc(x, r.normal(0.5, size=300), weights))
    spread = np.std([area.mean for area in areas], ddof=1)
    # 400 repetitions know a standard deviation to 3.5 %.
    assert np.mean([area.stat for area in areas]) == pytest.approx(spread, rel=0.14)


def test_fits_on_the_same_jets_share_their_uncertainty() -> None:
    r = np.random.default_rng(5)
    other, target = r.normal(size=(1, 900)), r.normal(0.7, size=(1, 800))
    single = auc(other, target)
    twice = auc(np.repeat(other, 3, 0), np.repeat(target, 3, 0))
    assert twice.stat == pytest.approx(single.stat, rel=1e-12)
    assert twice.std == pytest.approx(0.0, abs=1e-15)
    assert twice.per_fit.shape == (3,)


@pytest.mark.parametrize(
    ("other", "target", "message"),
    [
        (np.zeros(1), np.zeros(9), "two jets"),
        (np.zeros(9), np.zeros(0), "two jets"),
        (np.array([0.0, np.nan]), np.zeros(2), "not finite"),
    ],
)
def test_auc_refuses_what_it_cannot_rank(
    other: np.ndarray, target: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        auc(other, target)


def test_roc_has_the_exact_curve_and_area() -> None:
    r = np.random.default_rng(6)
    other, target = r.normal(size=20_000), r.normal(1.0, size=20_000)
    grid = np.linspace(0.0, 1.0, 401)
    curve = roc(other, target, grid)
    np.testing.assert_allclose(curve, norm.sf(norm.isf(grid) - 1.0), atol=0.02)
    assert np.all(np.diff(curve) >= 0)
    assert curve[-1] == 1.0
    assert np.trapezoid(curve, grid) == pytest.approx(auc(other, target).mean, abs=1e-3)


def test_ks_agrees_with_scipy_and_integer_weights_are_copies() -> None:
    r = np.random.default_rng(7)
    x, y = r.normal(size=300).round(1), r.normal(0.2, size=200).round(1)
    assert ks_distance(x, y) == pytest.approx(ks_2samp(x, y).statistic, abs=1e-12)
    copies = r.integers(1, 4, size=300)
    expected = ks_2samp(np.repeat(x, copies), y).statistic
    assert ks_distance(x, y, copies) == pytest.approx(expected, abs=1e-12)
    assert ks_distance(y, x, None, copies) == pytest.approx(expected, abs=1e-12)
    assert ks_distance(np.zeros(3), np.ones(4)) == 1.0


def test_ks_noise_is_the_mean_distance_of_equal_samples() -> None:
    r = np.random.default_rng(8)
    found = [ks_distance(r.normal(size=2000), r.normal(size=1000)) for _ in range(300)]
    assert np.mean(found) == pytest.approx(ks_noise(2000, 1000), rel=0.05)
