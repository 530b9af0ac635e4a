from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otcal.figures.histograms import Histogram, chi2, ratio

RNG = np.random.default_rng(11)


def filled(edges, values, weights=None):
    histogram = Histogram.empty(edges)
    histogram.fill(values, weights=weights)
    return histogram


def test_counts_are_numpys_with_weights_in_one_and_two_dimensions():
    x, y, w = RNG.normal(size=(3, 5000))
    edges, other = np.linspace(-2, 2, 21), np.array([-1.0, -0.2, 0.0, 2.5])
    one = filled(edges, x, w)
    np.testing.assert_allclose(one.weights, np.histogram(x, edges, weights=w)[0], atol=1e-10)
    np.testing.assert_allclose(one.variances, np.histogram(x, edges, weights=w**2)[0])
    two = Histogram.empty(edges, other)
    two.fill(x, y, weights=w)
    expected, _, _ = np.histogram2d(x, y, (edges, other), weights=w)
    np.testing.assert_allclose(two.weights, expected, atol=1e-10)


def test_values_on_edges_belong_where_numpy_puts_them():
    edges = np.array([0.0, 1.0, 2.0])
    np.testing.assert_array_equal(filled(edges, [0.0, 1.0, 2.0, 2.1, -0.1]).weights, [1, 2])


def test_filling_in_pieces_equals_filling_at_once():
    x = RNG.normal(size=1000)
    edges = np.linspace(-3, 3, 13)
    pieces = Histogram.empty(edges)
    for piece in np.array_split(x, 7):
        pieces.fill(piece)
    np.testing.assert_array_equal(pieces.weights, filled(edges, x).weights)


@given(st.lists(st.floats(0.1, 0.9), min_size=1, max_size=60), st.floats(0.1, 10.0))
@settings(max_examples=40, deadline=None)
def test_density_integrates_to_one_whatever_the_weights(values, weight):
    edges = np.array([0.0, 0.15, 0.5, 0.55, 1.0])
    density, _ = filled(edges, values, np.full(len(values), weight)).density()
    assert np.sum(density * np.diff(edges)) == pytest.approx(1.0)


def test_empty_histogram_has_density_zero():
    density, error = Histogram.empty(np.linspace(0, 1, 5)).density()
    assert (density == 0).all()
    assert (error == 0).all()


def test_error_is_the_spread_of_repeated_experiments():
    edges = np.linspace(0, 1, 6)
    weights = RNG.exponential(size=(400, 3000))
    # A Poisson number of jets per experiment: the histogram's own model of its error.
    sums, errors = [], []
    for row in weights:
        size = RNG.poisson(2000)
        histogram = filled(edges, RNG.uniform(size=size), row[:size])
        sums.append(histogram.weights)
        errors.append(np.sqrt(histogram.variances))
    np.testing.assert_allclose(np.std(sums, axis=0), np.mean(errors, axis=0), rtol=0.12)


def test_ratio_propagates_each_part_on_its_own():
    edges = np.linspace(0, 1, 3)
    top, bottom = filled(edges, [0.1] * 64 + [0.6] * 36), filled(edges, [0.1] * 25 + [0.6] * 75)
    value, error, band = ratio(top, bottom)
    np.testing.assert_allclose(value, [0.64 / 0.25, 0.36 / 0.75])
    np.testing.assert_allclose(error / value, [1 / 8, 1 / 6])  # 1/sqrt(n) of the numerator
    np.testing.assert_allclose(band, [1 / 5, 1 / np.sqrt(75)])  # and of the denominator


def test_ratio_is_nan_where_the_denominator_is_empty():
    edges = np.linspace(0, 1, 3)
    value, error, band = ratio(filled(edges, [0.1, 0.6]), filled(edges, [0.1]))
    assert np.isnan([value[1], error[1], band[1]]).all()
    assert value[0] == 0.5


def test_chi2_of_equal_populations_is_one_per_degree_of_freedom():
    edges = np.linspace(-2, 2, 21)
    values = [
        chi2(filled(edges, RNG.normal(size=4000)), filled(edges, RNG.normal(size=3000)))
        for _ in range(100)
    ]
    assert {freedom for _, freedom in values} == {19}
    # 100 values with mean 19 and standard deviation sqrt(38): the mean is good to 0.62.
    assert np.mean([value for value, _ in values]) == pytest.approx(19.0, abs=2.5)
    shifted = chi2(filled(edges, RNG.normal(0.3, size=4000)), filled(edges, RNG.normal(size=4000)))
    assert shifted[0] > 60
