"""Channels of the feedback and the effective covariance: known answers, invariances, stability."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import block_diag

from otcal.mixture.composition import Prior, jacobian
from otcal.mixture.covariance import (
    AMPLIFIED,
    COMMON_SHIFT,
    NOT_CONTRACTIVE,
    Channels,
    combined_covariance,
    inverse_hessian,
    plain_channels,
    projected_channels,
)
from otcal.mixture.feedback import Response, linear_response
from support.gaussian_mixtures import TABLE_1, draw_regions, fit_compositions, ring

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Study:
    """A fitted three-region mixture with the paper's fractions and prior."""

    log_q: list[Array]
    pi: Array
    enriched: tuple[int, ...]

    @property
    def response(self) -> Response:
        return linear_response(self.log_q, self.pi, self.enriched)

    @property
    def prior(self) -> Array:
        return block_diag(*Prior.around(self.pi, self.enriched, 0.3).covariance)

    def channels(self, plain: bool = False, limit: float | None = None) -> Channels:
        response, make = self.response, plain_channels if plain else projected_channels
        v0 = inverse_hessian(response.hessian)
        return make(response.feedback, v0, self.prior, response.common_shifts, limit)

    def fractions(self, covariance: Array) -> Array:
        down = block_diag(*jacobian(self.pi))
        return down @ covariance @ down.T


def build(separation: float = 3.0, events: int = 8000) -> Study:
    components = ring(3, separation)
    log_q = [components.log_prob(x) for x in draw_regions(components, TABLE_1, events, 11)]
    return Study(log_q, fit_compositions(log_q, TABLE_1), (0, 1, 2))


@pytest.fixture(scope="module")
def study() -> Study:
    return build()


def test_known_channels() -> None:
    """A diagonal loop: what the gain is, and which channels the prior takes."""
    feedback = np.diag([0.5, 0.9, -1.5, 0.0])
    v0, prior = np.diag([0.04, 0.04, 0.04, 0.25]), np.diag([1.0, 1.0, 1.0, 0.16])
    found = plain_channels(feedback, v0, prior, 0.01 * np.eye(4)[:, :1])
    np.testing.assert_allclose(found.singular_values, [10.0, 2.0, 1.0, 0.4])
    np.testing.assert_allclose(found.gain, np.diag([2.0, 10.0, 0.4, 1.0]), atol=1e-15)
    np.testing.assert_allclose(found.u, np.eye(4)[:, [1, 0, 3, 2]], atol=1e-15)
    np.testing.assert_allclose(found.alignment, 1.0)
    np.testing.assert_allclose(found.variance_ratio, [4.0, 0.16, 0.25 / 0.16, 0.0064])
    assert found.reasons == (AMPLIFIED, "", AMPLIFIED, NOT_CONTRACTIVE)
    np.testing.assert_array_equal(found.common_shift, [False, True, False, False])
    np.testing.assert_allclose(found.covariance, np.diag([0.16, 1.0, 1.0, 0.16]), atol=1e-15)
    np.testing.assert_allclose(found.prior_part, np.diag([0.0, 1.0, 1.0, 0.16]), atol=1e-15)
    limited = plain_channels(feedback, v0, prior, np.eye(4)[:, :1], singular_limit=1.5)
    assert limited.reasons == (AMPLIFIED, AMPLIFIED, "", NOT_CONTRACTIVE)


def test_known_projected_channels() -> None:
    """The shift (1, 1) in two logits, prior widths 1 and 2: lengths and angles are the prior's."""
    prior, v0 = np.diag([1.0, 4.0]), np.diag([0.01, 0.01])
    shift, other = np.array([1.0, 1.0]), np.array([1.0, -4.0])  # orthogonal in the prior's metric
    basis = np.stack([shift, other], axis=1)
    feedback = basis @ np.diag([1.0, 0.5]) @ np.linalg.inv(basis)
    found = projected_channels(feedback, v0, prior, shift[:, None])
    np.testing.assert_allclose(found.singular_values, [np.inf, 2.0])
    np.testing.assert_allclose(found.u[:, 0], shift / np.sqrt(1.25))
    np.testing.assert_allclose(np.abs(found.u[:, 1]), np.abs(other) / np.sqrt(5.0))
    np.testing.assert_allclose(found.gain @ other, 2.0 * other)
    np.testing.assert_allclose(found.gain @ shift, 0.0, atol=1e-15)
    assert found.reasons == (COMMON_SHIFT, "")
    coefficient = np.linalg.inv(basis)[1]
    variance = 4.0 * coefficient @ v0 @ coefficient
    expected = np.outer(shift, shift) / 1.25 + variance * np.outer(other, other)
    np.testing.assert_allclose(found.covariance, expected)


def test_a_rotating_loop_takes_two_channels() -> None:
    """A complex pair with |λ| ≥ 1 has no real eigenvector, and still two channels."""
    angle = 1.0
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    feedback = block_diag(1.01 * rotation, 0.3)
    found = plain_channels(feedback, 1e-6 * np.eye(3), np.eye(3), np.eye(3)[:, :1])
    assert sorted(found.reasons) == ["", NOT_CONTRACTIVE, NOT_CONTRACTIVE]
    np.testing.assert_allclose(np.diag(found.covariance), [1.0, 1.0, 1e-6 / 0.49], rtol=1e-12)


@pytest.mark.parametrize("plain", [False, True])
def test_gain_and_channels_belong_together(study: Study, plain: bool) -> None:
    found = study.channels(plain)
    metric = found.metric
    np.testing.assert_allclose(found.u.T @ metric @ found.u, np.eye(6), atol=1e-9)
    np.testing.assert_allclose(found.v.T @ metric @ found.v, np.eye(6), atol=1e-9)
    if plain:
        return  # σ of 1e14: G v = σ u holds only to rounding of that size
    finite = ~found.common_shift
    gained = found.gain @ found.v
    np.testing.assert_allclose(
        gained[:, finite], (found.u * np.where(finite, found.singular_values, 0.0))[:, finite]
    )
    np.testing.assert_allclose(gained[:, ~finite], 0.0, atol=1e-12)
    # u of the common shifts spans them, and the loop leaves nothing else out.
    span, shifts = found.u[:, :2], study.response.common_shifts
    np.testing.assert_allclose(span @ (span.T @ metric @ shifts), shifts, atol=1e-9)
    axes = span.T @ span  # those of the prior within them, the widest first
    assert axes[0, 0] > axes[1, 1]
    assert abs(axes[0, 1]) < 1e-9
    rest = found.u[:, 2:]
    complement = rest @ rest.T @ metric
    loop = complement @ (np.eye(6) - study.response.feedback) @ complement
    np.testing.assert_allclose(loop @ found.gain, complement, atol=1e-9)


def test_covariance_is_the_papers_sum_of_projections(study: Study) -> None:
    found = study.channels()
    v0 = inverse_hessian(study.response.hessian)
    stable = found.u[:, ~found.prior_dominated]
    taken = found.u[:, found.prior_dominated]
    p_st, p_pr = (part @ part.T @ found.metric for part in (stable, taken))
    np.testing.assert_allclose(p_st + p_pr, np.eye(6), atol=1e-9)
    expected = p_st @ found.gain @ v0 @ found.gain.T @ p_st.T + p_pr @ study.prior @ p_pr.T
    np.testing.assert_allclose(found.covariance, expected, atol=1e-12)
    assert found.prior_dominated[:2].all()
    outputs = found.gain.T @ found.metric @ found.u
    ratio = np.einsum("ki,kl,li->i", outputs, v0, outputs)
    np.testing.assert_allclose(found.variance_ratio[2:], ratio[2:], rtol=1e-9)
    np.testing.assert_array_equal(found.prior_dominated[2:], ratio[2:] > 1.0)


@pytest.mark.parametrize("separation", [1.0, 2.0, 4.0])
@pytest.mark.parametrize("plain", [False, True])
def test_covariance_is_positive(separation: float, plain: bool) -> None:
    study = build(separation, 3000)
    covariance = study.channels(plain).covariance
    np.testing.assert_array_equal(covariance, covariance.T)
    assert np.linalg.eigvalsh(covariance).min() > 0.0


def test_common_shifts_always_have_the_priors_variance(study: Study) -> None:
    """Along them V_eff⁻¹ is the prior's precision: no count of events or rounding enters."""
    found, shifts = study.channels(), study.response.common_shifts
    precision = shifts.T @ np.linalg.inv(study.prior) @ shifts
    np.testing.assert_allclose(
        shifts.T @ np.linalg.inv(found.covariance) @ shifts, precision, rtol=1e-9
    )
    # A prior that is wider than everything: all that is finite comes from the data.
    wide = projected_channels(
        study.response.feedback,
        inverse_hessian(study.response.hessian),
        1e4 * study.prior,
        shifts,
    )
    assert wide.reasons == (COMMON_SHIFT, COMMON_SHIFT, "", "", "", "")


def test_the_prior_alone_is_what_is_left_of_a_hopeless_fit(study: Study) -> None:
    found = study.channels(limit=1.01)
    assert found.prior_dominated.all()
    np.testing.assert_allclose(found.covariance, study.prior, rtol=1e-10, atol=1e-14)


def test_rounding_decides_nothing(study: Study) -> None:
    """Compositions off their maximum by 1e-9: the paper's gain changes wildly, ours by 1e-6."""
    nudged = study.pi * (1.0 + 1e-9 * np.random.default_rng(0).normal(size=(3, 3)))
    other = Study(study.log_q, nudged / nudged.sum(axis=1, keepdims=True), study.enriched)
    plain = study.channels(True).singular_values, other.channels(True).singular_values
    assert plain[0][1] > 1e10
    assert plain[1][1] < 1e-2 * plain[0][1]
    ours = study.channels(), other.channels()
    np.testing.assert_allclose(ours[1].singular_values[2:], ours[0].singular_values[2:], rtol=1e-6)
    np.testing.assert_allclose(ours[1].covariance, ours[0].covariance, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("reference", [0, 1])
def test_the_reference_flavour_is_a_matter_of_notation(study: Study, reference: int) -> None:
    """Other flavours as reference of the logits: the same channels, the same σ of fractions."""
    order = [flavour for flavour in range(3) if flavour != reference] + [reference]
    other = Study(
        [rows[:, order] for rows in study.log_q], study.pi[:, order], tuple(np.argsort(order))
    )
    ours, theirs = study.channels(), other.channels()
    np.testing.assert_allclose(theirs.singular_values[2:], ours.singular_values[2:], rtol=1e-9)
    assert theirs.reasons == ours.reasons
    index = np.concatenate([3 * r + np.array(order) for r in range(3)])
    found = other.fractions(theirs.covariance)
    expected = study.fractions(ours.covariance)[np.ix_(index, index)]
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-14)


def test_eigenvalues_of_the_rest_do_not_depend_on_the_metric(study: Study) -> None:
    """At the maximum the projected loop is what F does modulo common shifts."""
    found = study.channels()
    rest, metric = found.u[:, 2:], found.metric
    reduced = np.linalg.eigvals(rest.T @ metric @ study.response.feedback @ rest)
    everything = np.linalg.eigvals(study.response.feedback)
    everything = everything[np.argsort(-everything.real)]
    np.testing.assert_allclose(everything[:2], 1.0, atol=1e-10)
    np.testing.assert_allclose(np.sort(reduced.real), np.sort(everything[2:].real), atol=1e-10)


def test_combined_covariance_is_the_limit_of_both(study: Study) -> None:
    response, v0 = study.response, inverse_hessian(study.response.hessian)
    combined = combined_covariance(response.feedback, v0, study.prior)
    root = np.linalg.inv(np.linalg.cholesky(study.prior))
    assert np.linalg.eigvalsh(root @ combined @ root.T).max() <= 1.0 + 1e-9  # never above the prior
    few = combined_covariance(response.feedback, 1e8 * v0, study.prior)
    np.testing.assert_allclose(few, study.prior, rtol=1e-4, atol=1e-6)
    # Many events: common shifts keep the prior's precision, everything else is known.
    many = combined_covariance(response.feedback, 1e-8 * v0, study.prior)
    shifts = response.common_shifts
    limit = shifts @ np.linalg.inv(shifts.T @ np.linalg.inv(study.prior) @ shifts) @ shifts.T
    np.testing.assert_allclose(many, limit, atol=1e-5)


def test_a_hessian_without_inverse_is_an_error() -> None:
    with pytest.raises(ValueError, match="not positive definite"):
        inverse_hessian(np.diag([1.0, -0.1]))
