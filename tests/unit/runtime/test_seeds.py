"""Random streams are named, stable and independent."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from otcal.runtime.seeds import derive, numpy_generator


@pytest.mark.parametrize(
    ("arguments", "seed"),
    [
        ((0,), 872845860),
        ((1, "simulate"), 1363029546),
        ((1, "simulate", "QCD", 0), 619139025),
        ((2, "simulate", "QCD", 0), 1844306312),
    ],
)
def test_seeds_are_the_same_on_every_machine(arguments: tuple[int | str, ...], seed: int) -> None:
    assert derive(*arguments) == seed  # type: ignore[arg-type]


def test_seeds_fit_into_31_bits_and_differ() -> None:
    seeds = [derive(s, process, n) for s in (1, 2) for process in ("a", "b") for n in range(2000)]
    assert min(seeds) >= 0
    assert max(seeds) < 2**31
    # 8000 draws from 2^31 share 0.015 pairs on average.
    assert len(set(seeds)) == len(seeds)
    assert stats.kstest(np.array(seeds) / 2**31, "uniform").pvalue > 0.001


def test_joined_keys_are_not_the_same_as_separate_ones() -> None:
    names = [derive(1, "ab", "c"), derive(1, "a", "bc"), derive(1, "abc"), derive(11, "bc")]
    assert len(set(names)) == 4


def test_streams_of_neighbouring_keys_are_independent() -> None:
    streams = np.array([numpy_generator(5, "shard", n).normal(size=5000) for n in range(20)])
    off_diagonal = np.corrcoef(streams)[np.triu_indices(20, 1)]
    # 190 correlations of width 1/sqrt(5000): their chi2 has 190 degrees of freedom.
    assert 0.001 < stats.chi2.sf(5000 * np.sum(off_diagonal**2), 190) < 0.999


def test_a_stream_repeats() -> None:
    one, other = (numpy_generator(5, "x").random(4) for _ in range(2))
    np.testing.assert_array_equal(one, other)
