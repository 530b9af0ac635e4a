from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from otcal.figures.components import PrincipalAxes


def sample(rows=3000, offset=50.0):
    rng = np.random.default_rng(8)
    mixing = rng.normal(size=(6, 6)) * np.array([5.0, 3.0, 2.0, 1.0, 0.5, 0.1])[:, None]
    return (rng.normal(size=(rows, 6)) @ mixing + offset).astype(np.float32)


def test_components_are_scikit_learns_up_to_sign():
    z = sample()
    axes = PrincipalAxes.fit(np.array_split(z, 7), 4)
    reference = PCA(4, whiten=True).fit(z.astype(np.float64))
    np.testing.assert_allclose(axes.mean, reference.mean_, rtol=1e-9)
    np.testing.assert_allclose(axes.variances, reference.explained_variance_, rtol=1e-6)
    np.testing.assert_allclose(axes.shares, reference.explained_variance_ratio_, rtol=1e-6)
    np.testing.assert_allclose(
        np.abs(axes.project(z)), np.abs(reference.transform(z.astype(np.float64))), atol=1e-4
    )


def test_own_components_are_white():
    z = sample()
    components = PrincipalAxes.fit([z], 5).project(z)
    np.testing.assert_allclose(np.cov(components.T), np.eye(5), atol=1e-3)


def test_pieces_do_not_matter_and_signs_are_fixed():
    z = sample()
    whole, pieces = PrincipalAxes.fit([z], 3), PrincipalAxes.fit(np.array_split(z, 50), 3)
    np.testing.assert_allclose(whole.axes, pieces.axes, atol=1e-6)
    largest = np.argmax(np.abs(whole.axes), axis=1)
    assert (whole.axes[np.arange(3), largest] > 0).all()


def test_singular_covariance_gives_finite_components():
    z = np.repeat(sample()[:, :1], 4, axis=1)
    components = PrincipalAxes.fit([z], 3).project(z)
    assert np.isfinite(components).all()
    assert components[:, 0].var() == pytest.approx(1.0, rel=1e-3)


def test_too_few_rows_are_refused():
    with pytest.raises(ValueError, match="2 principal components of 1 rows"):
        PrincipalAxes.fit([sample(1)], 2)
    with pytest.raises(ValueError, match="of 0 rows"):
        PrincipalAxes.fit([], 1)
