"""Figures of maps that are known, and solvers in Gaussian coordinates."""

from __future__ import annotations

import numpy as np
import pytest

from accuracy.clock import Clock, Fit
from accuracy.measure import figures
from accuracy.ours import gaussian, preconditioned
from accuracy.problems import build


def test_exact_map_has_no_error() -> None:
    problem = build("mixture-2", 1)
    found = figures(problem, Fit(lambda x: problem.exact(x.astype(float)).astype(np.float32)))
    assert found["l2_uvp"] < 1e-6
    assert found["cosine"] == pytest.approx(1.0, abs=1e-5)
    assert abs(found["energy"]) < 0.005
    assert found["sliced_w2"] < 0.06
    assert found["points_per_s"] > 0


def test_identity_has_the_variance_of_the_displacement() -> None:
    problem = build("quantile-1", 1)
    x, exact, _ = problem.test()
    found = figures(problem, Fit(lambda x: x))
    expected = 100.0 * np.square(exact - x).mean() / exact.var()
    assert found["l2_uvp"] == pytest.approx(expected, rel=1e-4)


def test_identity_in_gaussian_coordinates_is_the_gaussian_map() -> None:
    problem = build("lse-16", 1)
    source, target = problem.training(5000)
    clock = Clock(1.0)
    solver = preconditioned(lambda u, v, clock, seed: Fit(lambda x: x))
    # `fit_map` holds out a tenth of the points.
    expected = gaussian(source, target, clock, 0).transport(source)
    found = solver(source, target, clock, 0).transport(source)
    assert np.square(found - expected).mean() < 0.01 * expected.var()
