"""Splits by hash: uniform, stable, independent of each other and of the company a jet keeps."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from otcal.samples.splits import select, uniform

FRACTIONS = {"train": 0.6, "validation": 0.15, "test": 0.25}
IDS = {
    "consecutive": np.arange(50_000),
    "strided": np.arange(50_000) * 4096 + 7,
    "shard in the high bits": (np.arange(50_000) % 50 << 40) + np.arange(50_000) // 50,
    "negative": np.arange(-50_000, 0),
}


def test_the_hash_is_splitmix64() -> None:
    # First and second output of the public reference implementation for seed 0.
    reference = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]
    zero = np.array([0])
    for salt, value in enumerate(reference):
        assert uniform(zero, salt)[0] == (value >> 11) / 2**53


def test_values_are_the_same_on_every_machine() -> None:
    np.testing.assert_array_equal(
        uniform(np.array([1, 2, 2**40, 2**63 - 1])),
        [0.5665615751722809, 0.5911897341980794, 0.12447268724196459, 0.16564699010451844],
    )


@pytest.mark.parametrize("ids", IDS.values(), ids=IDS.keys())
def test_hashes_are_uniform(ids: np.ndarray) -> None:
    u = uniform(ids)
    assert u.min() >= 0
    assert u.max() < 1
    assert stats.kstest(u, "uniform").pvalue > 1e-3
    assert stats.chisquare(np.histogram(u, 1000, (0, 1))[0]).pvalue > 1e-3
    # Neighbours have nothing to do with each other.
    pairs = np.histogram2d(u[:-1:2], u[1::2], 20, ((0, 1), (0, 1)))[0]
    assert stats.chisquare(pairs.ravel()).pvalue > 1e-3


def test_one_bit_of_the_id_changes_half_of_the_hash() -> None:
    ids = np.arange(1000)
    bits = (uniform(ids) * 2**53).astype(np.int64)
    for bit in (0, 7, 31, 47, 62):
        other = (uniform(ids ^ (1 << bit)) * 2**53).astype(np.int64)
        flipped = np.bitwise_count(bits ^ other).sum() / (53 * len(ids))
        assert abs(flipped - 0.5) < 5 * 0.5 / np.sqrt(53 * len(ids))


@pytest.mark.parametrize("ids", IDS.values(), ids=IDS.keys())
def test_splits_have_their_shares_and_are_disjoint(ids: np.ndarray) -> None:
    masks = np.array([select(ids, FRACTIONS, name) for name in FRACTIONS])
    np.testing.assert_array_equal(masks.sum(axis=0), 1)
    expected = np.array(list(FRACTIONS.values())) * len(ids)
    assert stats.chisquare(masks.sum(axis=1), expected).pvalue > 1e-3


def test_a_jet_keeps_its_split_in_any_selection_and_order() -> None:
    ids = np.arange(1000)
    whole = select(ids, FRACTIONS, "test")
    some = np.random.default_rng(1).permutation(ids)[:300]
    np.testing.assert_array_equal(select(some, FRACTIONS, "test"), whole[some])


def test_a_larger_share_keeps_what_the_smaller_had() -> None:
    ids = np.arange(5000)
    small = select(ids, {"train": 0.5, "test": 0.5}, "train")
    large = select(ids, {"train": 0.7, "test": 0.3}, "train")
    assert np.all(large[small])


def test_another_salt_is_an_independent_split() -> None:
    ids = np.arange(50_000)
    one, other = (select(ids, FRACTIONS, "train", salt) for salt in (0, 1))
    table = [[np.sum((one == a) & (other == b)) for a in (0, 1)] for b in (0, 1)]
    assert stats.chi2_contingency(table).pvalue > 1e-3
    assert stats.pearsonr(uniform(ids, 0), uniform(ids, 1)).pvalue > 0.001


def test_an_unknown_split_is_an_error() -> None:
    with pytest.raises(KeyError, match="no split 'tset', only"):
        select(np.arange(3), FRACTIONS, "tset")
