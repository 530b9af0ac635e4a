"""The closed-form map between Gaussians."""

from __future__ import annotations

import numpy as np
import pytest

from otcal.transport import rows
from otcal.transport.gaussian import bures, fit_gaussian, power


def closed_form(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return bures(np.linalg.cholesky(first), np.linalg.cholesky(second))


def random_covariance(rng: np.random.Generator, d: int, rank: int | None = None) -> np.ndarray:
    factor = rng.normal(size=(d, rank or 2 * d))
    return factor @ factor.T / factor.shape[1]


@pytest.mark.parametrize("d", [1, 2, 16, 64])
def test_bures_matrix_pushes_one_covariance_onto_the_other(d: int) -> None:
    rng = np.random.default_rng(d)
    first, second = random_covariance(rng, d), random_covariance(rng, d)
    a = closed_form(first, second)
    np.testing.assert_allclose(a @ first @ a, second, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(a, a.T)
    assert np.linalg.eigvalsh(a).min() > 0


def test_bures_matrix_of_commuting_covariances_is_the_ratio_of_spreads() -> None:
    a = closed_form(np.diag([1.0, 4.0, 9.0]), np.diag([4.0, 1.0, 9.0]))
    np.testing.assert_allclose(a, np.diag([2.0, 0.5, 1.0]), atol=1e-12)


@pytest.mark.parametrize("d", [2, 16, 64])
def test_fitted_map_is_the_closed_form_of_the_populations(d: int) -> None:
    rng = np.random.default_rng(10 + d)
    first, second = random_covariance(rng, d), random_covariance(rng, d)
    mean = rng.normal(size=d)
    x = rng.normal(size=(40_000, d)) @ power(first, 0.5)
    y = rng.normal(size=(40_000, d)) @ power(second, 0.5) + mean
    fitted = fit_gaussian(x, y)
    fresh = rng.normal(size=(5000, d)) @ power(first, 0.5)
    exact = fresh @ closed_form(first, second) + mean
    error = ((fitted(fresh) - exact) ** 2).sum(1).mean() / np.trace(second)
    # Each of the d(d + 1)/2 entries of a covariance is known to 1/√n: relative error ~ d/n.
    assert error < 3.0 * d / len(x)


def test_narrow_directions_are_mapped_as_well_as_wide_ones() -> None:
    # Variances over eight decades, as in a tagger's latent: squaring them would exceed a double.
    rng = np.random.default_rng(5)
    d, n = 32, 20_000
    widths = np.logspace(0, -4, d)
    axes = np.linalg.qr(rng.normal(size=(d, d)))[0]
    growth = rng.uniform(0.8, 1.25, size=d)
    x = (rng.normal(size=(n, d)) * widths) @ axes.T
    y = (rng.normal(size=(n, d)) * widths * growth) @ axes.T
    moved = fit_gaussian(x, y)(x) @ axes
    np.testing.assert_allclose(moved.std(0), widths * growth, rtol=0.03)


def test_rank_deficient_samples_are_mapped_within_their_support_only() -> None:
    rng = np.random.default_rng(1)
    basis = np.linalg.qr(rng.normal(size=(12, 5)))[0]
    x = (rng.normal(size=(3000, 5)) @ basis.T).astype(np.float32)
    y = (2.0 * rng.normal(size=(3000, 5)) @ basis.T + 1.0).astype(np.float32)
    fitted = fit_gaussian(x, y)
    assert fitted.support.shape == (12, 5)
    np.testing.assert_allclose(fitted.support @ fitted.support.T, basis @ basis.T, atol=1e-4)
    moved = fitted(x)
    residue = (moved - moved.mean(0)) @ (np.eye(12) - basis @ basis.T)
    assert np.abs(residue).max() < 1e-4
    np.testing.assert_allclose(moved.mean(0), y.mean(0, dtype=float), atol=1e-6)
    # Truth: A = 2 in the support; each of its entries is known to about 2/√n = 0.04.
    np.testing.assert_allclose(basis.T @ fitted.linear @ basis, 2.0 * np.eye(5), atol=0.12)


def test_more_dimensions_than_points_give_a_moderate_map() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(30, 100)), rng.normal(size=(30, 100)) + 3.0
    fitted = fit_gaussian(x, y)
    values = np.linalg.eigvalsh(fitted.linear)
    # Truth: A = 1. Unregularised, some directions would be stretched without bound.
    assert values.min() > 0.5
    assert values.max() < 2.0
    fresh = rng.normal(size=(500, 100))
    assert ((fitted(fresh) - fresh - 3.0) ** 2).mean() < 0.2


def heavy_tailed(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Points with covariance 1 and unequal lengths, as those of a tagger's latent have."""
    length = np.exp(0.5 * rng.normal(size=(n, 1)))
    return rng.normal(size=(n, d)) * length / np.sqrt(np.exp(0.5))


def test_noise_of_the_covariances_is_not_mapped() -> None:
    rng = np.random.default_rng(7)
    n, d = 2000, 64
    x, y = heavy_tailed(rng, n, d), heavy_tailed(rng, n, d)
    fitted = fit_gaussian(x, y)
    # Truth: A = 1. What is left is mostly one factor for all directions: the lengths' own noise.
    samples = closed_form(np.cov(x.T), np.cov(y.T))
    error = np.linalg.norm(fitted.linear - np.eye(d))
    assert error < 0.2 * np.linalg.norm(samples - np.eye(d))
    assert fitted.shrinkage > 0.9


def test_differences_beyond_noise_are_kept() -> None:
    rng = np.random.default_rng(8)
    n, d = 10_000, 64
    axes = np.linalg.qr(rng.normal(size=(d, 3)))[0]
    factors = np.array([0.5, 1.6, 2.0])
    truth = np.eye(d) + (axes * (factors - 1.0)) @ axes.T
    x, y = heavy_tailed(rng, n, d), heavy_tailed(rng, n, d) @ truth
    fitted = fit_gaussian(x, y)
    # The axes, too, are known to about √(d / n) only, which leaves a bias of some per cent.
    np.testing.assert_allclose(np.diag(axes.T @ fitted.linear @ axes), factors, rtol=0.1)
    samples = closed_form(np.cov(x.T), np.cov(y.T))
    assert np.linalg.norm(fitted.linear - truth) < 0.4 * np.linalg.norm(samples - truth)


def test_shrinkage_does_not_depend_on_the_scale_of_the_features() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(200, 6)), 1.5 * rng.normal(size=(200, 6))
    unit = np.array([1.0, 10.0, 0.1, 3.0, 1e-2, 1e2])
    one, other = fit_gaussian(x, y), fit_gaussian(x * unit, y * unit)
    np.testing.assert_allclose(one.shrinkage, other.shrinkage, rtol=1e-6)


def test_inverse_undoes_the_map_and_constant_samples_are_shifted() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(50, 4)), rng.normal(size=(60, 4)) @ rng.normal(size=(4, 4))
    fitted = fit_gaussian(x, y)
    np.testing.assert_allclose(fitted.inverse(fitted(x)), x, atol=1e-9)
    shift = fit_gaussian(np.ones((20, 3)), np.full((20, 3), 4.0))
    np.testing.assert_allclose(shift(np.zeros((1, 3))), [[3.0, 3.0, 3.0]])


def test_the_size_of_the_pieces_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    x = (rng.normal(size=(1000, 3)) @ rng.normal(size=(3, 3)) + 10.0).astype(np.float32)
    y, unit = rng.normal(size=(700, 3)) ** 3, np.array([1.0, 10.0, 0.1])
    whole = fit_gaussian(x, y, unit)
    np.testing.assert_array_equal(rows.spread(x), x.std(axis=0, dtype=np.float64))
    monkeypatch.setattr(rows, "PIECE", 64)
    assert max(len(piece) for piece in rows.pieces(x)) == 64
    fitted = fit_gaussian(x, y, unit)
    np.testing.assert_allclose(fitted.linear, whole.linear, rtol=1e-9)
    np.testing.assert_allclose(fitted.source_mean * unit, x.mean(0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(fitted.shrinkage, whole.shrinkage, rtol=1e-9)
    np.testing.assert_allclose(rows.spread(x), x.std(axis=0, dtype=np.float64), rtol=1e-12)
