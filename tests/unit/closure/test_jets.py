from __future__ import annotations

import numpy as np

from otcal.closure.jets import FOLDS, Sample, fold, halves
from otcal.config.splits import Splits
from otcal.samples import splits

IDS = np.arange(200_000, dtype=np.int64)


def test_folds_have_their_shares() -> None:
    shares = np.bincount(fold(IDS, Splits(train=0.5, validation=0.2, test=0.3))) / len(IDS)
    np.testing.assert_allclose(shares, [0.5, 0.2, 0.3], atol=0.005)


def test_a_fold_hangs_on_the_id_alone() -> None:
    shuffled = np.random.default_rng(1).permutation(IDS)
    np.testing.assert_array_equal(fold(shuffled, Splits()), fold(IDS, Splits())[shuffled])


def test_folds_and_halves_are_independent_of_the_calibration_split() -> None:
    """Every division cuts every other one in its own shares (up to binomial fluctuations)."""
    held_out = splits.select(IDS, {"train": 0.7, "test": 0.3}, "test")
    folds = fold(IDS, Splits())
    first, _ = halves(Sample(IDS, folds, {}))
    in_first = np.isin(IDS, first.jet_id)
    for number, share in enumerate((0.5, 0.1, 0.4)):
        chosen = folds == number
        assert abs((held_out & chosen).mean() - 0.3 * share) < 0.005
        assert abs((in_first & chosen).mean() - 0.5 * share) < 0.005


def test_halves_and_folds_divide_without_overlap_or_loss() -> None:
    sample = Sample(IDS, fold(IDS, Splits()), {"z10": IDS[:, None] * np.ones(10)})
    first, second = halves(sample)
    parts = [half.only(name) for half in (first, second) for name in FOLDS]
    joined = np.concatenate([part.jet_id for part in parts])
    np.testing.assert_array_equal(np.sort(joined), IDS)
    for part in parts:
        np.testing.assert_array_equal(part.columns["z10"][:, 3], part.jet_id)
