"""What docs/feedback.md derives: flat directions of the feedback, exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from otcal.mixture import feedback
from otcal.mixture.composition import inverse_jacobian, jacobian
from support.gaussian_mixtures import (
    TABLE_1,
    Gaussians,
    draw_regions,
    enriched_compositions,
    fit_compositions,
    ring,
)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """A mixture at its fixed-density maximum (or not), and one EM cycle in fractions."""

    log_q: list[Array]
    pi: Array
    enriched: tuple[int, ...]

    @property
    def response(self) -> feedback.Response:
        return feedback.linear_response(self.log_q, self.pi, self.enriched)

    @property
    def gammas(self) -> list[Array]:
        rows = zip(self.log_q, self.pi, strict=True)
        return [feedback.responsibilities(*row) for row in rows]

    def home(self, shift: Array) -> Array:
        """D: row j is the shift of the region enriched in flavour j."""
        return shift[feedback.enriched_regions(self.pi, self.enriched)]

    def cycle(self, shift: Array, density: Array) -> Array:
        """δΠ_new of a shift (R, K) when the densities respond to `density`, rows by flavour."""
        return np.stack(
            [
                feedback.direct_response(gamma, row) @ shift[r]
                + np.einsum("kjh,jh->k", feedback.density_response(gamma, row), density)
                for r, (gamma, row) in enumerate(zip(self.gammas, self.pi, strict=True))
            ]
        )


def build(
    flavours: int,
    separation: float,
    purity: float,
    enriched: tuple[int, ...] | None = None,
    misspecified: float = 0.0,
    fit: bool = True,
) -> Case:
    """Draw from components of which every mean is off by `misspecified`, and fit."""
    components = ring(flavours, separation)
    enriched = enriched or tuple(range(flavours))
    table = enriched_compositions(flavours, purity)[list(enriched)]
    offset = misspecified * np.random.default_rng(9).normal(size=components.means.shape)
    drawn = Gaussians(components.means + offset, components.widths * (1.0 + misspecified))
    log_q = [components.log_prob(x) for x in draw_regions(drawn, table, 3000, flavours)]
    return Case(log_q, fit_compositions(log_q, table) if fit else table, enriched)


CASES = {
    f"{k} flavours, {separation} apart, purity {purity}": (k, separation, purity)
    for k in (2, 3, 4)
    for separation, purity in ((1.0, 0.75), (2.0, 0.6), (2.0, 0.9), (4.0, 0.8))
} | {
    "regions in another order": (3, 2.0, 0.8, (2, 0, 1)),
    "two regions of one flavour": (3, 2.0, 0.8, (1, 0, 2, 0)),
    "wrong densities": (3, 2.0, 0.8, None, 0.3),
}


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES.keys())
def case(request: pytest.FixtureRequest) -> Case:
    return build(*request.param)


def random_shift(case: Case) -> Array:
    shift = np.random.default_rng(2).normal(size=case.pi.shape)
    return shift - shift.mean(axis=1, keepdims=True)


def test_a_cycle_changes_only_differences_between_regions(case: Case) -> None:
    """(δΠ − δΠ_new)_r = Γ_r diag(1/π_r) [δΠ − Π D]_r."""
    shift = random_shift(case)
    density = case.home(shift)
    difference = shift - case.pi @ density
    expected = [
        gamma.T @ gamma / len(gamma) @ (row / pi)
        for gamma, row, pi in zip(case.gammas, difference, case.pi, strict=True)
    ]
    np.testing.assert_allclose(shift - case.cycle(shift, density), expected, atol=1e-10)


def test_exactly_k_minus_1_directions_are_flat(case: Case) -> None:
    response, flavours = case.response, case.pi.shape[1]
    loop = np.eye(len(response.feedback)) - response.feedback
    span = response.common_shifts / np.linalg.norm(response.common_shifts, axis=0)
    np.testing.assert_allclose(loop @ span, 0.0, atol=1e-10)
    values = np.linalg.svd(loop, compute_uv=False)
    np.testing.assert_allclose(values[-(flavours - 1) :], 0.0, atol=1e-10)
    assert values[-flavours] > 1e-3


def test_what_the_loop_can_reach_is_known_too(case: Case) -> None:
    """Left null vectors: ω_r vᵀ diag(π_r) Γ_r⁻¹ J_r, ω stationary under Π E."""
    home = feedback.enriched_regions(case.pi, case.enriched)
    stochastic = case.pi @ np.eye(len(case.pi))[home]  # from region to region
    values, vectors = np.linalg.eig(stochastic.T)
    omega = vectors[:, np.argmax(values.real)].real
    rows = np.hstack(
        [
            weight * np.diag(pi) @ np.linalg.solve(gamma.T @ gamma / len(gamma), jacobian(pi))
            for weight, gamma, pi in zip(omega, case.gammas, case.pi, strict=True)
        ]
    )
    loop = np.eye(rows.shape[1]) - case.response.feedback
    np.testing.assert_allclose(rows @ loop, 0.0, atol=1e-9 * np.abs(rows).max())
    np.testing.assert_allclose(rows.sum(axis=0), 0.0, atol=1e-9 * np.abs(rows).max())
    assert np.linalg.matrix_rank(rows, tol=1e-9 * np.abs(rows).max()) == case.pi.shape[1] - 1


def test_with_the_exact_density_response_every_direction_is_flat() -> None:
    """D = Π⁻¹ δΠ (KY 26) instead of δΠ: the regions' densities don't change, nor do fractions."""
    case = build(3, 2.0, 0.8)
    shift = random_shift(case)
    exact = np.linalg.solve(case.pi, shift)
    np.testing.assert_allclose(case.cycle(shift, exact), shift, atol=1e-10)
    # The proxy is its first term in the impurities, and leaves a restoring force.
    assert np.abs(case.cycle(shift, case.home(shift)) - shift).max() > 0.01


@pytest.mark.parametrize("flavours", [2, 3, 4])
def test_away_from_the_maximum_common_shifts_feel_the_distance(flavours: int) -> None:
    """(F − 1) c is ε_k c_k − π_k Σ_h ε_h c_h, ε_k = mean γ_k / π_k − 1, of either sign."""
    case = build(flavours, 2.0, 0.8, fit=False)
    means = np.stack([gamma.mean(axis=0) for gamma in case.gammas])
    excess = means / case.pi - 1.0
    common = np.arange(flavours) - (flavours - 1) / 2.0
    shift = np.broadcast_to(common, case.pi.shape)
    expected = excess * common - case.pi * (excess @ common)[:, None]
    moved = case.cycle(shift, case.home(shift)) - shift
    np.testing.assert_allclose(moved, expected, atol=1e-12)
    assert np.abs(moved).max() > 1e-3
    # Any shift, from the first two moments of γ (equation A).
    shift = random_shift(case)
    density = case.home(shift)
    difference = shift - case.pi @ density
    for r, (gamma, pi, m) in enumerate(zip(case.gammas, case.pi, means, strict=True)):
        second = gamma.T @ gamma / len(gamma)
        row = m / pi * shift[r] - pi * (density @ (m / pi)) - second @ (difference[r] / pi)
        np.testing.assert_allclose(case.cycle(shift, density)[r], row, atol=1e-12)


def test_purer_regions_amplify_more() -> None:
    """The force is proportional to I − Π: σ grows as one over the impurity."""
    impurity = np.array([0.2, 0.1, 0.05, 0.025])
    gains = []
    for value in impurity:
        response = build(3, 4.0, 1.0 - value).response
        values = np.linalg.svd(np.eye(6) - response.feedback, compute_uv=False)
        gains.append(1.0 / values[-3])  # the largest that is finite
    assert np.polyfit(np.log(impurity), np.log(gains), 1)[0] == pytest.approx(-1.0, abs=0.25)


def test_clipping_ratios_moves_the_flat_directions() -> None:
    case = build(3, 2.0, 0.8)
    loose = feedback.linear_response(case.log_q, case.pi, case.enriched, ratio_limit=1e12)
    np.testing.assert_allclose(loose.feedback, case.response.feedback, atol=1e-12)
    tight = feedback.linear_response(case.log_q, case.pi, case.enriched, ratio_limit=10.0)
    loop = np.eye(6) - tight.feedback
    assert np.abs(loop @ tight.common_shifts).max() > 1e-3 * np.abs(tight.common_shifts).max()


def test_without_feedback_of_densities_the_gain_is_still_not_one() -> None:
    """C A = 0: a fit's covariance is V0, that of one EM step (I − MBJ) V0 (I − MBJ)ᵀ.

    (I − F)⁻¹ turns the second into the first, and the first into something larger (KY 56).
    """
    components = ring(3, 2.0)
    log_q = [components.log_prob(x) for x in draw_regions(components, TABLE_1, 3000, 4)]
    response = feedback.linear_response(log_q, fit_compositions(log_q, TABLE_1), range(3))
    v0 = np.linalg.inv(response.hessian)
    # The step is I_com⁻¹ times the score, whose covariance is I_obs.
    to_step = np.linalg.inv(response.information)
    noise = to_step @ response.hessian @ to_step.T
    np.testing.assert_allclose(response.one_step(v0), noise, rtol=1e-8, atol=1e-12)
    gain = np.linalg.inv(np.eye(6) - response.direct)
    np.testing.assert_allclose(gain @ noise @ gain.T, v0, rtol=1e-8, atol=1e-12)
    assert np.all(np.diag(gain @ v0 @ gain.T) > 1.5 * np.diag(v0))


def test_inverse_jacobian_takes_the_loop_to_logits() -> None:
    """F of the logits is M (B + C A) J of the fractions."""
    case = build(3, 2.0, 0.8, (2, 0, 1))
    delta_a = np.random.default_rng(4).normal(size=(3, 2))
    shift = np.einsum("rkj,rj->rk", jacobian(case.pi), delta_a)
    new = case.cycle(shift, case.home(shift))
    expected = np.einsum("rjk,rk->rj", inverse_jacobian(case.pi), new)
    found = case.response.feedback @ delta_a.ravel()
    np.testing.assert_allclose(found, expected.ravel(), atol=1e-11)
