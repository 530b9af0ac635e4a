"""Whatever the samples, a fit returns a finite monotone map with an inverse."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otcal.transport.api import fit_map
from otcal.transport.semidual import SemidualOptions

OPTIONS = SemidualOptions(hidden=(16, 16), pieces=4, squares=8, batch=64)

DEFECTS = {
    "constant feature": lambda x, rng: np.c_[x[:, :-1], np.full(len(x), 3.0)],
    "collinear features": lambda x, rng: np.c_[x[:, :-1], 2.0 * x[:, 0] - 1.0],
    "duplicated points": lambda x, rng: x[rng.integers(5, size=len(x))],
    "rounded values": lambda x, rng: np.round(x),
    "heavy tails": lambda x, rng: x * np.abs(rng.standard_cauchy((len(x), 1))),
    "an outlier": lambda x, rng: np.r_[x[:-1], 1e4 * x[-1:]],
    "far away": lambda x, rng: x + 1e3,
    "tiny": lambda x, rng: 1e-4 * x,
    "unequal scales": lambda x, rng: x * np.geomspace(1e-3, 1e3, x.shape[1]),
    "two clumps": lambda x, rng: x + 20.0 * rng.integers(2, size=(len(x), 1)),
}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    d=st.integers(1, 70),
    sizes=st.tuples(st.integers(50, 300), st.integers(50, 300)),
    defects=st.tuples(*2 * [st.lists(st.sampled_from(sorted(DEFECTS)), max_size=2)]),
    seed=st.integers(0, 1000),
)
def test_any_samples_give_a_finite_monotone_map(
    d: int, sizes: tuple[int, int], defects: tuple[list[str], list[str]], seed: int
) -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    source, target = (rng.normal(size=(size, d)) for size in sizes)
    for defect in defects[0]:
        source = DEFECTS[defect](source, rng)
    for defect in defects[1]:
        target = DEFECTS[defect](target, rng)
    fitted = fit_map(source, target, steps=25, seed=seed, options=OPTIONS, diagnostics=False)
    moved = fitted.transport(source).astype(np.float64)
    assert np.isfinite(moved).all()
    pairs = rng.permutation(len(source))
    change, answer = source - source[pairs], moved - moved[pairs]
    # Single precision of coordinates that can be 10⁴ of their spread away from zero.
    extent = np.abs(change) * (np.abs(moved).max(0) + np.abs(moved - source).max(0))
    assert ((change * answer).sum(1) >= -1e-5 * extent.sum(1) - 1e-12).all()
    back = fitted.inverse(moved)
    assert np.isfinite(back.points).all()
    assert (back.error_bound >= 0).all()
