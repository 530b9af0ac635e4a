from __future__ import annotations

import numpy as np
import pytest

from otcal.figures.contours import levels, smooth

MASSES = (0.05, 0.5, 0.8, 0.9, 0.95)


def gaussian(bins):
    """Exact bin contents of a standard two-dimensional Gaussian."""
    edges = np.linspace(-5, 5, bins + 1)
    centres = 0.5 * (edges[1:] + edges[:-1])
    profile = np.exp(-0.5 * centres**2)
    density = np.outer(profile, profile)
    return density / density.sum() / (edges[1] - edges[0]) ** 2


def test_levels_of_a_gaussian_are_the_analytic_ones():
    # Mass m is inside radius^2 = -2 ln(1 - m), where the density is (1 - m) / 2 pi.
    found = levels(gaussian(200), MASSES)
    np.testing.assert_allclose(found, (1.0 - np.array(MASSES)) / (2.0 * np.pi), rtol=0.01)


def test_regions_above_the_levels_hold_the_stated_mass():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(40_000, 2)) @ np.array([[1.0, 0.6], [0.0, 0.5]])
    counts, _, _ = np.histogram2d(*x.T, bins=30)
    for mass, level in zip(MASSES, levels(counts, MASSES), strict=True):
        inside = counts[counts >= level].sum() / counts.sum()
        assert inside == pytest.approx(mass, abs=counts.max() / counts.sum())


def test_levels_fall_with_the_mass_and_survive_an_empty_histogram():
    counts = np.random.default_rng(1).poisson(5.0, size=(12, 12)).astype(float)
    assert (np.diff(levels(counts, MASSES)) <= 0).all()
    assert (levels(np.zeros((4, 4)), MASSES) == 0).all()


def test_smoothing_keeps_the_sum_and_widens_by_the_kernel():
    counts = np.zeros((41, 31))
    counts[20, 15] = 7.0
    blurred = smooth(counts, 1.5)
    assert blurred.sum() == pytest.approx(7.0)
    position = np.arange(41)
    variance = np.sum(blurred.sum(axis=1) * (position - 20.0) ** 2) / 7.0
    assert variance == pytest.approx(1.5**2, rel=1e-3)


def test_smoothing_keeps_the_sum_at_the_border_too():
    counts = np.random.default_rng(2).poisson(3.0, size=(9, 9)).astype(float)
    assert smooth(counts, 2.0).sum() == pytest.approx(counts.sum())


def test_no_smoothing_changes_nothing():
    counts = np.random.default_rng(2).poisson(3.0, size=(5, 6)).astype(float)
    np.testing.assert_array_equal(smooth(counts, 0.0), counts)
