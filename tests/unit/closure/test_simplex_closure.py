"""Histograms, bands and distances of discriminants, against what is known of them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from otcal.closure.metrics import ks_distance
from otcal.closure.simplex_bands import Bands, make_bands
from otcal.closure.simplex_closure import Region, chi_squared, compare
from otcal.closure.simplex_floor import floor
from otcal.closure.simplex_jets import FlavourJets, Sample
from otcal.config.simplex_closure import SimplexClosureConfig
from otcal.simplex import discriminant, ilr_inverse

CONFIG = SimplexClosureConfig(kappas=(0.5, 2.0), bins=12, halvings=6)
COUNTS = np.array([1_000, 2_000, 1_000])


def jets(n: int, seed: int, shift: float = 0.0) -> np.ndarray:
    z = np.random.default_rng(seed).normal(shift, 1.0, (n, 2)) * [0.8, 1.5]
    return ilr_inverse(z)


def no_bands(config: SimplexClosureConfig = CONFIG) -> Bands:
    return make_bands([FlavourJets({"calibrated": jets(10, k)}) for k in range(3)], [], config)


NONE = no_bands()


def region(n: int = 4_000, **more: Sample) -> Region:
    samples = {
        "simulation": Sample(jets(n, 1, 0.3)),
        "calibrated": Sample(jets(n, 2)),
        "data": Sample(jets(n, 3)),
    }
    return Region("validation", {**samples, **more}, COUNTS)


def bands(
    size: float, jets_per_flavour: int = 5_000, config: SimplexClosureConfig = CONFIG
) -> Bands:
    """Bands of two eigenvectors whose maps shift all jets up or down by `size`."""
    pairs = [(f"eigen{e}_up", f"eigen{e}_down") for e in (1, 2)]
    flavours = []
    for k in range(3):
        p = jets(jets_per_flavour, 50 + k)
        varied, weights = {}, {}
        for e, pair in enumerate(pairs):
            for name, sign in zip(pair, (1.0, -1.0), strict=True):
                direction = ilr_inverse(np.eye(2)[[e]] * sign * size)
                moved = p * direction
                varied[name] = moved / moved.sum(axis=1, keepdims=True)
                weights[name] = 1.0 + sign * size * (p[:, e] - p[:, e].mean())
        flavours.append(FlavourJets({"calibrated": p}, {}, varied, weights))
    return make_bands(flavours, pairs, CONFIG)


def test_tables_have_a_row_per_bin_and_a_row_per_sample() -> None:
    histograms, metrics = compare(region(), NONE, CONFIG, 0)
    assert list(histograms)[:10] == [
        *("region", "discriminant", "kappa", "sample", "low", "high", "count", "variance"),
        *("up", "down"),
    ]
    assert list(metrics)[:13] == [
        *("region", "discriminant", "kappa", "sample", "w1", "ks", "chi2", "ndf", "w1_floor"),
        *("ks_floor", "in_band", "n_bins", "effective_size"),
    ]
    assert len(histograms) == 3 * 2 * 3 * 12
    assert len(metrics) == 3 * 2 * 2


def test_counts_conserve_the_number_of_jets() -> None:
    histograms, metrics = compare(region(), NONE, CONFIG, 0)
    totals = histograms.groupby(["discriminant", "kappa", "sample"])["count"].sum()
    np.testing.assert_allclose(totals, 4_000.0, rtol=1e-12)
    # Unweighted jets of the data's number: whole counts, Poisson variances.
    np.testing.assert_array_equal(histograms["count"], np.round(histograms["count"]))
    np.testing.assert_array_equal(histograms["variance"], histograms["count"])
    np.testing.assert_array_equal(metrics["effective_size"], 4_000.0)


def test_other_numbers_of_jets_are_scaled_to_the_data() -> None:
    one = region()
    histograms, _ = compare(
        region(calibrated=Sample(one.samples["calibrated"].p[:1_000])), NONE, CONFIG, 0
    )
    rows = histograms[histograms["sample"] == "calibrated"]
    np.testing.assert_allclose(rows["variance"], 4.0 * rows["count"])
    assert rows.groupby(["discriminant", "kappa"])["count"].sum().to_numpy() == pytest.approx(4_000)


def test_identical_samples_have_no_distance() -> None:
    one = region()
    _, metrics = compare(region(calibrated=one.samples["data"]), NONE, CONFIG, 0)
    rows = metrics[metrics["sample"] == "calibrated"]
    for column in ("w1", "ks", "chi2", "chi2_stat", "w1_logit", "w1_ratio"):
        np.testing.assert_allclose(rows[column], 0.0, atol=1e-12)
    np.testing.assert_array_equal(rows["in_band"], 1.0)


def test_distances_are_those_of_the_discriminant_itself() -> None:
    one = region()
    weights = np.random.default_rng(5).uniform(0.2, 2.0, 4_000)
    samples = {**one.samples, "reweighted": Sample(one.samples["simulation"].p, weights)}
    _, metrics = compare(Region("r", samples, COUNTS), NONE, CONFIG, 0)
    rows = metrics.set_index(["discriminant", "kappa", "sample"])
    x, y = (discriminant("hf_l", samples[s].p, 2.0) for s in ("simulation", "data"))
    expected = wasserstein_distance(x, y, weights)
    assert rows.loc[("hf_l", 2.0, "reweighted"), "w1"] == pytest.approx(expected, rel=1e-9)
    raw = wasserstein_distance(x, y)
    ratio = rows.loc[("hf_l", 2.0, "reweighted"), "w1_ratio"]
    assert ratio == pytest.approx(expected / raw, rel=1e-9)
    # Another κ only shifts ln b/c: the distance of log-odds does not see it.
    both = [rows.loc[("b_c", kappa, "simulation"), "w1_logit"] for kappa in (0.5, 2.0)]
    assert both[0] == pytest.approx(both[1], rel=1e-9)


def test_band_vanishes_when_variations_equal_the_nominal() -> None:
    histograms, metrics = compare(region(), bands(0.0), CONFIG, 0)
    rows = histograms[histograms["sample"] == "calibrated"]
    for edge in ("up", "down", "up_reweighted", "down_reweighted"):
        np.testing.assert_array_equal(rows[edge], rows["count"])
        assert histograms.loc[histograms["sample"] != "calibrated", edge].isna().all()
    np.testing.assert_allclose(metrics["chi2"], metrics["chi2_stat"], rtol=1e-12)


def test_without_variations_there_is_no_band() -> None:
    histograms, _ = compare(region(), NONE, CONFIG, 0)
    assert histograms[["up", "down", "up_reweighted", "down_reweighted"]].isna().all(axis=None)


def test_band_is_half_the_differences_in_quadrature() -> None:
    size = 0.2
    histograms, metrics = compare(region(), bands(size), CONFIG, 0)
    rows = histograms[
        (histograms["sample"] == "calibrated")
        & (histograms["discriminant"] == "c_l")
        & (histograms["kappa"] == 0.5)
    ]
    edges = np.linspace(0, 1, 13)
    shifts, weighted = np.zeros((2, 12)), np.zeros((2, 12))
    for k, count in enumerate(COUNTS):
        p = jets(5_000, 50 + k)
        d = discriminant("c_l", p, 0.5)
        for e in range(2):
            up, down = (
                discriminant("c_l", p * ilr_inverse(np.eye(2)[[e]] * s * size), 0.5)
                for s in (1, -1)
            )
            difference = np.histogram(up, edges)[0] - np.histogram(down, edges)[0]
            # All jets of a flavour measure the shift of the few that the region has.
            shifts[e] += count / 5_000 * difference / 2
            weights = size * (p[:, e] - p[:, e].mean())
            weighted[e] += count / 5_000 * np.histogram(d, edges, weights=weights)[0]
    np.testing.assert_allclose(rows["up"] - rows["count"], np.hypot(*shifts))
    np.testing.assert_allclose(rows["count"] - rows["down"], np.hypot(*shifts))
    np.testing.assert_allclose(rows["up_reweighted"] - rows["count"], np.hypot(*weighted))
    calibrated = metrics[metrics["sample"] == "calibrated"]
    assert (calibrated["chi2"] < calibrated["chi2_stat"]).all()
    # Other samples are compared without the band.
    others = metrics[metrics["sample"] != "calibrated"]
    np.testing.assert_array_equal(others["chi2"], others["chi2_stat"])


def test_more_jets_measure_the_band_better_not_wider() -> None:
    few, many = (bands(0.02, n)["hf_l", 2.0].maps for n in (500, 50_000))
    exact = bands(0.5, 50_000)["hf_l", 2.0].maps / 25.0
    assert np.abs(many - exact).max() < 0.3 * np.abs(few - exact).max()
    assert (few**2).sum() > 1.3 * (many**2).sum()


def test_correlated_shift_absorbs_a_difference_along_itself_only() -> None:
    variance, shift = np.full(4, 2.0), np.array([[10.0, -10.0, 10.0, -10.0]])
    along, across = shift[0], np.array([10.0, 10.0, 0.0, 0.0])
    free = np.zeros((0, 4))
    assert chi_squared(across, variance, free) == pytest.approx(100.0)
    assert chi_squared(across, variance, shift) == pytest.approx(100.0)
    # Sherman–Morrison: d·d/v / (1 + δ·δ/v).
    assert chi_squared(along, variance, shift) == pytest.approx(200.0 / 201.0)
    assert chi_squared(np.zeros(4), np.array([0.0, 1, 1, 1]), free) == 0.0


def test_floor_predicts_the_distance_of_two_samples_of_one_origin() -> None:
    rng = np.random.default_rng(0)
    reference = floor(rng.normal(size=4_000), 40, 0)
    w1, ks = [], []
    for _ in range(60):
        x, y = rng.normal(size=1_000), rng.normal(size=4_000)
        w1.append(wasserstein_distance(x, y))
        ks.append(ks_distance(x, y))
    scale = reference.scale(1_000)
    assert scale == pytest.approx(np.sqrt(1.25e-3 / 1e-3))
    for predicted, seen in ((reference.w1_logit, w1), (reference.ks, ks)):
        assert abs(predicted * scale - np.mean(seen)) < 4.0 * np.std(seen) / np.sqrt(60)


def test_floor_of_a_mixture_has_no_fluctuation_of_the_composition() -> None:
    """Two far flavours: halves in equal numbers differ by the widths of the flavours only."""
    rng = np.random.default_rng(1)
    strata = np.repeat([0, 1], [1_000, 1_001])
    values = np.where(strata == 0, -4.0, 4.0) + 0.01 * rng.normal(size=2_001)
    mixed, within = floor(values, 20, 0), floor(values, 20, 0, strata)
    assert within.w1_logit < 0.001
    assert mixed.w1_logit > 20.0 * within.w1_logit
    assert within.jets == 2_001


def test_chi2_of_one_origin_has_the_right_mean() -> None:
    config = SimplexClosureConfig(kappas=(1.0,), discriminants=("c_l",), bins=12, halvings=1)
    none = no_bands(config)
    values = []
    for k in range(20):
        samples = {
            name: Sample(jets(3_000, 100 * k + i))
            for i, name in enumerate(("simulation", "calibrated", "data"))
        }
        metrics = compare(Region("r", samples, COUNTS), none, config, k)[1].set_index("sample")
        values.append(metrics.loc["calibrated", "chi2"] - metrics.loc["calibrated", "ndf"])
    # χ² of 11 degrees of freedom: variance 22.
    assert abs(np.mean(values)) < 3.5 * np.sqrt(22 / 20)


def test_in_band_counts_bins_within_statistics_and_band() -> None:
    away = region(40_000)
    away = Region("r", {**away.samples, "calibrated": away.samples["simulation"]}, COUNTS)
    keys = ["sample", "discriminant", "kappa"]
    none, wide = (
        compare(away, band, CONFIG, 0)[1].set_index(keys).sort_index()
        for band in (NONE, bands(0.9))
    )
    assert (none.loc["calibrated", "in_band"] < 0.4).all()
    assert (wide.loc["calibrated", "in_band"] > 0.6).all()
    np.testing.assert_array_equal(none.loc["simulation"], wide.loc["simulation"])
