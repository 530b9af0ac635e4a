"""Warm starts against a family of known maps."""

from __future__ import annotations

import numpy as np
import torch

from otcal.transport.api import fit_map
from otcal.transport.metrics import l2_uvp
from otcal.transport.semidual import SemidualOptions

POINTS = 10_000
OPTIONS = SemidualOptions(hidden=(32, 32), batch=512, tolerance=0.002)


def exact(x: np.ndarray, strength: float) -> np.ndarray:
    """∇ of ½|x|² + s log(2 cosh a·x) + ...: convex in x for s ≥ 0."""
    axes = np.array([[1.0, 0.3], [-0.4, 0.9]])
    weights = np.array([1.0, 1.0 + strength])
    return x + (np.tanh(2.0 * x @ axes.T) * weights) @ axes


def uvp(moved: np.ndarray, truth: np.ndarray) -> float:
    return l2_uvp(torch.from_numpy(np.asarray(moved)), torch.from_numpy(truth).float())


def test_few_warm_steps_reach_the_changed_map() -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    source, other, fresh = rng.normal(size=(3, POINTS, 2)) * [0.8, 1.6]
    nominal = fit_map(source, exact(other, 0.0), steps=400, options=OPTIONS, evaluations=2)
    x = fresh
    assert uvp(nominal.transport(x), exact(x, 0.0)) < 0.2
    slow = SemidualOptions(batch=512, tolerance=0.002, learning_rate=0.01)
    target = exact(other, 0.15)
    warm = fit_map(source, target, steps=40, options=slow, initial=nominal.map, evaluations=1)
    # The change itself is resolved: common random numbers cancel most of the sampling noise.
    change = exact(x, 0.15) - exact(x, 0.0)
    seen = warm.transport(x) - nominal.transport(x)
    assert ((seen - change) ** 2).sum() < 0.1 * (change**2).sum()
    cold = fit_map(source, target, steps=40, options=slow, select=False, evaluations=1)
    assert uvp(warm.transport(x), exact(x, 0.15)) < 0.5 * uvp(cold.transport(x), exact(x, 0.15))
