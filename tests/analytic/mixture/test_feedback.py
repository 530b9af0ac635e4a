"""The linear response of an EM cycle: the paper's sums, derivatives, and the EM-rate identity."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from otcal.mixture import feedback
from otcal.mixture.composition import compositions, inverse_jacobian, jacobian, logits
from support.gaussian_mixtures import (
    TABLE_1,
    draw_regions,
    enriched_compositions,
    fit_compositions,
    ring,
)

Array = NDArray[np.float64]


@pytest.fixture(scope="module")
def fitted() -> tuple[list[Array], Array]:
    """Log-densities at the events of three regions, and the compositions fitted to them."""
    components = ring(3, 2.5)
    log_q = [components.log_prob(x) for x in draw_regions(components, TABLE_1, 3000, 5)]
    return log_q, fit_compositions(log_q, TABLE_1)


@pytest.mark.parametrize("limit", [np.inf, 3.0])
def test_responses_are_the_papers_sums_over_events(limit: float) -> None:
    generator = np.random.default_rng(1)
    log_q, pi = generator.normal(size=(40, 3)), np.array([0.2, 0.5, 0.3])
    q = np.exp(log_q)
    p = q @ pi
    gamma = pi * q / p[:, None]
    np.testing.assert_allclose(feedback.responsibilities(log_q, pi), gamma, rtol=1e-13)
    direct, density = np.zeros((3, 3)), np.zeros((3, 3, 3))
    for i, k, m in np.ndindex(40, 3, 3):
        direct[k, m] += q[i, m] / p[i] * ((k == m) - gamma[i, k]) / 40
        for h in range(3):  # of δπ_h of the region enriched in m
            proxy = 1.0 - min(q[i, h] / q[i, m], limit)
            density[k, m, h] += gamma[i, k] * ((k == m) - gamma[i, m]) * proxy / 40
    np.testing.assert_allclose(feedback.direct_response(gamma, pi), direct, atol=1e-13)
    found = feedback.density_response(gamma, pi, limit)
    np.testing.assert_allclose(found, density, atol=1e-13)
    shares = feedback.clipped_shares(gamma, pi, 3.0)
    np.testing.assert_array_equal(shares, (q[:, None, :] > 3.0 * q[:, :, None]).mean(axis=0))
    # Fractions are conserved: Σ_k δγ_k = 0 for whatever shift.
    np.testing.assert_allclose(direct.sum(axis=0), 0.0, atol=1e-14)
    np.testing.assert_allclose(found.sum(axis=0), 0.0, atol=1e-14)


def test_ratios_that_overflow_leave_the_response_finite() -> None:
    log_q = np.array([[0.0, -2000.0], [-1500.0, 0.0], [-1.0, -1.0]])
    gamma = feedback.responsibilities(log_q, np.array([0.5, 0.5]))
    density = feedback.density_response(gamma, np.array([0.5, 0.5]))
    # Only the last event is undecided: γ = ½ and q_h/q_j = 1, so its proxy vanishes; at the two
    # others γ_j q_h/q_j is γ_h exactly, of which δ_kj − γ_k leaves the first's and the second's.
    assert np.isfinite(density).all()
    np.testing.assert_allclose(density[0, 0, 1], (0.0 - 1.0) / 3.0, atol=1e-15)
    np.testing.assert_allclose(density[0, 1, 0], (1.0 - 0.0) / 3.0, atol=1e-15)


@pytest.mark.parametrize("flavours", [2, 3, 4])
@pytest.mark.parametrize("at_maximum", [True, False])
def test_em_rate_identity(flavours: int, at_maximum: bool) -> None:
    """M B J = I − I_com⁻¹ I_obs, wherever the Hessian is the likelihood's."""
    components, start = ring(flavours, 2.0), enriched_compositions(flavours, 0.8)
    log_q = [components.log_prob(x) for x in draw_regions(components, start, 4000, flavours)]
    pi = fit_compositions(log_q, start) if at_maximum else start
    response = feedback.linear_response(log_q, pi, range(flavours))
    rate = np.eye(len(response.direct)) - np.linalg.solve(response.information, response.hessian)
    np.testing.assert_allclose(response.direct, rate, atol=1e-11)
    if at_maximum:
        mean = [feedback.responsibilities(rows, row) for rows, row in zip(log_q, pi, strict=True)]
        np.testing.assert_allclose([g.mean(axis=0) for g in mean], pi, atol=1e-15)
        eigenvalues = np.linalg.eigvals(response.direct)
        assert np.all((eigenvalues.real > 0) & (eigenvalues.real < 1))


def negative_log_likelihood(a: Array, log_q: list[Array]) -> float:
    pi = compositions(a.reshape(len(log_q), -1))
    return -sum(
        float(np.log(np.exp(rows) @ row).sum()) for rows, row in zip(log_q, pi, strict=True)
    )


def test_hessian_is_that_of_autograd_and_of_finite_differences(
    fitted: tuple[list[Array], Array],
) -> None:
    log_q, _ = fitted
    pi = TABLE_1  # away from the maximum, where the gradient's term counts too
    hessian = feedback.linear_response(log_q, pi, range(3)).hessian
    a = logits(pi).ravel()

    def loss(flat: torch.Tensor) -> torch.Tensor:
        full = torch.cat([flat.reshape(3, 2), torch.zeros(3, 1, dtype=torch.float64)], dim=1)
        log_pi = torch.log_softmax(full, dim=1)
        joint = [torch.tensor(rows) + row for rows, row in zip(log_q, log_pi, strict=True)]
        return -sum(torch.logsumexp(rows, dim=1).sum() for rows in joint)

    exact = torch.autograd.functional.hessian(loss, torch.tensor(a)).numpy()
    np.testing.assert_allclose(hessian, exact, rtol=1e-10, atol=1e-9)

    step, differences = 1e-3, np.empty((6, 6))
    corners = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
    for i, j in np.ndindex(6, 6):
        values = [
            s * t * negative_log_likelihood(a + step * (s * np.eye(6)[i] + t * np.eye(6)[j]), log_q)
            for s, t in corners
        ]
        differences[i, j] = sum(values) / (4.0 * step**2)
    np.testing.assert_allclose(hessian, differences, atol=2e-5 * np.abs(hessian).max())


@pytest.mark.parametrize("enriched", [(0, 1, 2), (2, 0, 1)])
def test_feedback_is_the_derivative_of_an_em_cycle(enriched: tuple[int, ...]) -> None:
    """Perturb logits, let the densities follow by the proxy, run one E- and M-step: F δa + O(ε²).

    The components are close, so that no event has a ratio q_h/q_j which ε could not make small.
    """
    components, start = ring(3, 0.7), TABLE_1[list(enriched)]
    log_q = [components.log_prob(x) for x in draw_regions(components, start, 2000, 7)]
    pi = fit_compositions(log_q, start)
    response = feedback.linear_response(log_q, pi, enriched)
    home = [enriched.index(flavour) for flavour in range(3)]
    direction = np.random.default_rng(3).normal(size=6)

    def cycle(epsilon: float) -> Array:
        shifted = compositions(logits(pi) + epsilon * direction.reshape(3, 2))
        shift = np.einsum("rkj,rj->rk", jacobian(pi), epsilon * direction.reshape(3, 2))
        new = []
        for rows, row in zip(log_q, shifted, strict=True):
            proxy = [
                (1.0 - np.exp(rows - rows[:, [j]])) @ shift[home[j]] for j in range(3)
            ]  # KY 49
            new.append(feedback.responsibilities(rows + np.stack(proxy, axis=1), row).mean(axis=0))
        return (logits(np.array(new)) - logits(pi)).ravel()

    steps = np.array([1e-3, 5e-4, 2.5e-4, 1.25e-4])
    errors = [np.abs(cycle(e) - e * response.feedback @ direction).max() for e in steps]
    order = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert order == pytest.approx(2.0, abs=0.01)
    # The same to high accuracy from central differences.
    central = (cycle(1e-4) - cycle(-1e-4)) / 2e-4
    np.testing.assert_allclose(central, response.feedback @ direction, atol=2e-7)


def test_jacobians_of_the_common_shifts_cancel(fitted: tuple[list[Array], Array]) -> None:
    """The columns of `common_shifts` are the same shift of fractions in all regions."""
    log_q, pi = fitted
    shifts = feedback.linear_response(log_q, pi, range(3)).common_shifts
    moved = np.einsum("rkj,rjc->rkc", jacobian(pi), shifts.reshape(3, 2, 2))
    np.testing.assert_allclose(moved, np.broadcast_to(moved[0], moved.shape), atol=1e-14)
    np.testing.assert_allclose(moved.sum(axis=1), 0.0, atol=1e-14)
    back = inverse_jacobian(pi) @ moved[0]
    np.testing.assert_allclose(back.reshape(6, 2), shifts, atol=1e-12)


def test_a_flavour_without_region_is_an_error() -> None:
    with pytest.raises(ValueError, match="no region is enriched in flavour 2"):
        feedback.enriched_regions(TABLE_1, (0, 1, 1))
    assert feedback.enriched_regions(TABLE_1[[0, 1, 2, 0]], (0, 1, 2, 0)) == [0, 1, 2]
    mixed = np.vstack([[0.6, 0.2, 0.2], TABLE_1])
    assert feedback.enriched_regions(mixed, (0, 0, 1, 2)) == [1, 2, 3]
