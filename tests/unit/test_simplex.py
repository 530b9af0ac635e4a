"""Geometry of the simplex against the paper's examples and its own identities."""

from __future__ import annotations

import sys
from itertools import permutations
from subprocess import run

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from otcal import simplex
from otcal.runtime.errors import InputError


def positive(parts: int) -> st.SearchStrategy[np.ndarray]:
    """Return vectors of `parts` numbers over 16 orders of magnitude."""
    return arrays(np.float64, parts, elements=st.floats(-18, 18)).map(np.exp)


@st.composite
def compositions(draw, count: int) -> list[np.ndarray]:
    """Return `count` points of one simplex, and of 2 to 6 parts."""
    parts = draw(st.integers(2, 6))
    return [x / x.sum() for x in (draw(positive(parts)) for _ in range(count))]


def double_sum(x: np.ndarray, y: np.ndarray) -> float:
    """Return KY (6) as it is written."""
    a, b = np.log(x[:, None] / x), np.log(y[:, None] / y)
    return float(np.sqrt(((a - b) ** 2).sum() / (2 * len(x))))


def test_helmert_is_the_papers_matrix() -> None:
    a, b = np.sqrt(2), np.sqrt(6)
    expected = [[1 / a, -1 / a, 0], [1 / b, 1 / b, -2 / b]]
    np.testing.assert_allclose(simplex.helmert(3), expected, rtol=1e-15)


@pytest.mark.parametrize("parts", range(2, 7))
def test_helmert_is_an_orthonormal_basis_of_what_sums_to_zero(parts: int) -> None:
    H = simplex.helmert(parts)
    np.testing.assert_allclose(H @ H.T, np.eye(parts - 1), atol=1e-15)
    np.testing.assert_allclose(H.T @ H, np.eye(parts) - 1 / parts, atol=1e-15)


def test_a_simplex_has_two_parts_at_least() -> None:
    with pytest.raises(ValueError, match="at least 2 parts, not 1"):
        simplex.helmert(1)


def test_ilr_is_the_papers_formula() -> None:
    b, c, light = p = np.array([0.7, 0.2, 0.1])
    expected = [np.log(b / c) / np.sqrt(2), np.sqrt(2 / 3) * np.log(np.sqrt(b * c) / light)]
    np.testing.assert_allclose(simplex.ilr(p), expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("x", "y"),
    [((0.94, 0.04, 0.02), (0.94, 0.02, 0.04)), ((0.40, 0.40, 0.20), (0.40, 0.20, 0.40))],
)
def test_equal_ratios_are_equally_far_apart(x, y) -> None:
    x, y = np.array(x), np.array(y)
    distance = simplex.aitchison_distance(x, y)
    assert distance == pytest.approx(np.sqrt(2) * np.log(2), rel=1e-14)
    assert round(float(distance), 2) == 0.98
    assert np.linalg.norm(simplex.ilr(x) - simplex.ilr(y)) == pytest.approx(distance, rel=1e-14)


@given(compositions(2))
def test_ilr_is_an_isometry(points) -> None:
    x, y = points
    expected = double_sum(x, y)
    assert simplex.aitchison_distance(x, y) == pytest.approx(expected, rel=1e-12, abs=1e-13)
    distance = np.linalg.norm(simplex.ilr(x) - simplex.ilr(y))
    assert distance == pytest.approx(expected, rel=1e-12, abs=1e-13)


@given(compositions(1))
def test_there_and_back(points) -> None:
    (p,) = points
    z = simplex.ilr(p)
    np.testing.assert_allclose(simplex.ilr_inverse(z), p, rtol=1e-12)
    np.testing.assert_allclose(simplex.ilr(simplex.ilr_inverse(z)), z, rtol=1e-12, atol=1e-12)


@given(compositions(3))
def test_distance_sees_neither_order_nor_common_perturbation(points) -> None:
    x, y, factors = points
    distance = simplex.aitchison_distance(x, y)
    for order in list(permutations(range(len(x))))[:30]:
        there = simplex.aitchison_distance(x[list(order)], y[list(order)])
        assert there == pytest.approx(distance, rel=1e-12, abs=1e-13)
    moved = simplex.aitchison_distance(x * factors, y * factors)
    assert moved == pytest.approx(distance, rel=1e-12, abs=1e-12)


@given(compositions(3))
def test_distance_is_a_metric(points) -> None:
    x, y, w = points
    d = simplex.aitchison_distance
    assert d(x, x) == 0
    assert d(x, y) == d(y, x)
    assert d(x, w) <= (d(x, y) + d(y, w)) * (1 + 1e-12)


@given(compositions(2))
def test_another_prior_is_a_translation(points) -> None:
    p, kappa = points
    expected = kappa * p / (kappa * p).sum()
    moved = simplex.ilr_inverse(simplex.ilr(p) + simplex.kappa_translation(kappa))
    np.testing.assert_allclose(moved, expected, rtol=1e-12)


@pytest.mark.parametrize("kappa", [0.05, 0.5, 2.0, 30.0])
def test_weight_of_charm_is_the_papers_translation(kappa: float) -> None:
    shift = simplex.kappa_translation((1, kappa, 1))
    expected = [-np.log(kappa) / np.sqrt(2), np.log(kappa) / np.sqrt(6)]
    np.testing.assert_allclose(shift, expected, rtol=1e-14)
    p = np.random.default_rng(1).dirichlet([1, 1, 1], 50)
    moved = simplex.ilr_inverse(simplex.ilr(p) + shift)
    for name in simplex.DISCRIMINANTS:
        np.testing.assert_allclose(
            simplex.discriminant(name, moved, 1.0),
            simplex.discriminant(name, p, kappa),
            rtol=1e-12,
        )


def test_arrays_of_any_shape_are_done_at_once() -> None:
    p = np.random.default_rng(2).dirichlet([1, 1, 1, 1], (5, 4))
    z = simplex.ilr(p)
    assert z.shape == (5, 4, 3)
    np.testing.assert_allclose(z[3, 2], simplex.ilr(p[3, 2]), rtol=1e-13)
    assert simplex.aitchison_distance(p, p[0, 0]).shape == (5, 4)


def test_far_points_stay_finite() -> None:
    z = np.array([[800.0, -800.0], [0.0, 500.0]])
    p = simplex.ilr_inverse(z)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    # ln b/light = 800/√2 − 3·800/√6, and c is e^-1131 times as probable as b
    expected = np.exp(800 / np.sqrt(2) - 2400 / np.sqrt(6))
    np.testing.assert_allclose(p[0], [expected, 0, 1], rtol=1e-10)


def test_discriminants_by_hand() -> None:
    p = np.array([0.5, 0.3, 0.2])
    assert list(simplex.DISCRIMINANTS) == ["b_c", "c_l", "hf_l"]
    assert simplex.discriminant("b_c", p, 2.0) == pytest.approx(0.5 / 1.1)
    assert simplex.discriminant("c_l", p, 2.0) == pytest.approx(0.6 / 0.8)
    assert simplex.discriminant("hf_l", p, 2.0) == pytest.approx(1.1 / 1.3)
    np.testing.assert_allclose(
        simplex.discriminant("hf_l", np.stack([p, 7 * p]), 0.5), [0.65 / 0.85] * 2
    )
    with pytest.raises(KeyError, match="b_l"):
        simplex.discriminant("b_l", p, 1.0)
    with pytest.raises(ValueError, match="not of 4 classes"):
        simplex.discriminant("b_c", np.full(4, 0.25), 1.0)


@given(compositions(1))
def test_logits_of_probabilities_come_back_without_leakage(points) -> None:
    (p,) = points
    back, leakage = simplex.logit_inverse(simplex.logit(p))
    np.testing.assert_allclose(back, p, rtol=1e-12)
    assert leakage < 1e-14


def test_leakage_of_moved_logits_by_hand() -> None:
    p = np.array([[0.5, 0.3, 0.2], [0.25, 0.5, 0.25]])
    u = simplex.logit(p)
    u[0, 0] += np.log(3)  # odds of b from 1 to 3
    back, leakage = simplex.logit_inverse(u)
    np.testing.assert_allclose(back, [[0.75, 0.3, 0.2], [0.25, 0.5, 0.25]])
    np.testing.assert_allclose(leakage, [0.25, 0], atol=1e-15)


def test_logits_next_to_a_vertex_are_finite() -> None:
    p = np.array([1.0, 1e-30, 1e-40])
    np.testing.assert_allclose(simplex.logit(p), np.log([1e30, 1e-30, 1e-40]), rtol=1e-9)
    p, leakage = simplex.logit_inverse(np.array([800.0, -800.0]))
    assert p[0] == 1
    assert leakage == 0


GOOD = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.3, 0.3, 0.4], [0.2, 0.5, 0.3]])
NAMES = ("p_b", "p_c", "p_light")


def bad(row: int, *values: float) -> np.ndarray:
    p = GOOD.copy()
    p[row] = values
    return p


@pytest.mark.parametrize("parts", range(2, 7))
def test_good_probabilities_are_normalised_in_double_precision(parts: int) -> None:
    p = np.random.default_rng(parts).dirichlet(np.ones(parts), 100).astype(np.float32)
    checked, floored = simplex.check_probabilities(p, "scores.parquet")
    assert floored == 0
    np.testing.assert_allclose(checked.sum(axis=1), 1, atol=3e-16)
    np.testing.assert_allclose(checked, p, rtol=1e-6)


@pytest.mark.parametrize(
    ("p", "message"),
    [
        (bad(2, 1, 0, 0), r"p_c: is 0 in row 2 \(1 bad rows\)\. Set a floor"),
        (bad(1, 0.6, 0.6, -0.2), r"p_light: is -0\.2 in row 1 .*\. Give the softmax"),
        (bad(3, np.nan, 0.5, 0.5), r"p_b: is nan in row 3 .*\. Drop these jets"),
        (bad(3, 0.5, np.inf, 0.5), r"p_c: is inf in row 3 .*\. Drop these jets"),
        (bad(0, 0.5, 0.2, 0.1), r"p_b, p_c, p_light: sum to 0\.8 instead of 1 in row 0 .*divide"),
        (100 * GOOD, r"sum to 100 instead of 1 in row 0 \(4 bad rows\)"),
    ],
)
def test_a_bad_row_is_named(p, message: str) -> None:
    with pytest.raises(InputError, match=rf"^scores\.parquet: .*{message}"):
        simplex.check_probabilities(p, "scores.parquet", names=NAMES)
    if "is 0" not in message:
        with pytest.raises(InputError, match=message):
            simplex.check_probabilities(p, "scores.parquet", floor=1e-6, names=NAMES)


def test_the_first_bad_row_is_named_whatever_its_fault() -> None:
    p = bad(3, 1, 0, 0)
    p[1] *= 0.5
    with pytest.raises(InputError, match=r"p_0, p_1, p_2: sum to 0\.5 .* row 1 \(2 bad rows\)"):
        simplex.check_probabilities(p, "x")
    with pytest.raises(InputError, match=r"row 1001 "):
        simplex.check_probabilities(p, "x", rows=1000)


def test_rounding_is_no_fault() -> None:
    p = GOOD * (1 + 0.9 * simplex.SUM_TOLERANCE)
    np.testing.assert_allclose(simplex.check_probabilities(p, "x")[0], GOOD, rtol=1e-15)
    with pytest.raises(InputError, match="sum to"):
        simplex.check_probabilities(GOOD * (1 + 1.1 * simplex.SUM_TOLERANCE), "x")


def test_a_floor_mends_small_values_only() -> None:
    p = bad(2, 1, 0, 0)
    p[3] = [0.999, 1e-5, 1e-3 - 1e-5]
    checked, floored = simplex.check_probabilities(p, "x", floor=1e-3)
    assert floored == 2
    np.testing.assert_allclose(checked[:2], GOOD[:2], rtol=1e-15)
    np.testing.assert_allclose(checked[2], np.array([1, 1e-3, 1e-3]) / 1.002, rtol=1e-14)
    np.testing.assert_allclose(checked[3], np.array([0.999, 1e-3, 1e-3]) / 1.001, rtol=1e-14)


def test_no_rows_are_fine_and_other_shapes_are_not() -> None:
    checked, floored = simplex.check_probabilities(np.empty((0, 3)), "x")
    assert checked.shape == (0, 3)
    assert floored == 0
    with pytest.raises(ValueError, match=r"not \(3,\)"):
        simplex.check_probabilities(np.array([0.2, 0.3, 0.5]), "x")


def test_the_module_needs_neither_torch_nor_scipy() -> None:
    code = "import sys, otcal.simplex\nassert not {'torch', 'scipy', 'pandas'} & set(sys.modules)"
    run([sys.executable, "-c", code], check=True)
