"""Variations of compositions and densities, and samples of the varied densities."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from otcal.mixture.composition import compositions, jacobian, logits
from otcal.mixture.targets import NOMINAL, Pools, Target, draw_targets, pool_size
from otcal.mixture.variations import (
    LEAST_SHARE,
    compare,
    eigenvariations,
    largest_scale,
    log_density_shift,
    reweighting,
    standard_deviations,
)
from support.gaussian_mixtures import TABLE_1, Gaussians, ring

Array = NDArray[np.float64]

COMPONENTS = ring(3, 2.5)


def random_covariance(scale: float, seed: int = 0) -> Array:
    root = scale * np.random.default_rng(seed).normal(size=(6, 6))
    return root @ root.T


def test_variations_make_up_the_covariance() -> None:
    covariance = random_covariance(0.05)
    variations = eigenvariations(covariance, 0.0 * covariance, TABLE_1)
    assert [v.name for v in variations] == [
        f"eigen{i}_{side}" for i in range(1, 7) for side in ("up", "down")
    ]
    ups, downs = (np.stack([v.delta_a for v in variations[i::2]], axis=1) for i in (0, 1))
    np.testing.assert_allclose(ups @ ups.T, covariance, rtol=1e-10)
    np.testing.assert_array_equal(downs, -ups)
    lengths = np.linalg.norm(ups, axis=0)
    assert np.all(np.diff(lengths) < 0)
    np.testing.assert_allclose(ups.T @ ups, np.diag(lengths**2), atol=1e-15)
    for one in variations:
        expected = np.einsum("rkj,rj->rk", jacobian(TABLE_1), one.delta_a.reshape(3, 2))
        np.testing.assert_allclose(one.delta_pi, expected, atol=1e-16)
        assert one.scale == 1.0
    total = sum(v.delta_pi**2 for v in variations[::2])
    np.testing.assert_allclose(np.sqrt(total), standard_deviations(covariance, TABLE_1))


def test_prior_share_is_the_priors_part_of_the_variance() -> None:
    covariance = np.diag([6.0, 5.0, 4.0, 3.0, 2.0, 1.0]) * 1e-3
    prior_part = np.diag([6.0, 0.0, 1.0, 0.0, 0.0, 0.9]) * 1e-3
    ups = eigenvariations(covariance, prior_part, TABLE_1)[::2]
    np.testing.assert_allclose([v.prior_share for v in ups], [1, 0, 0.25, 0, 0, 0.9], atol=1e-12)
    assert [v.prior_dominated for v in ups] == [True, False, False, False, False, True]


def test_fractions_stay_on_the_simplex() -> None:
    variations = eigenvariations(np.diag([9.0, 4.0, 1e-4, 1e-4, 1e-4, 1e-4]), np.eye(6), TABLE_1)
    shortened = [v for v in variations if v.scale < 1.0]
    assert {v.name[:6] for v in shortened} == {"eigen1", "eigen2"}
    for one in variations:
        np.testing.assert_allclose(one.delta_pi.sum(axis=1), 0.0, atol=1e-15)
        left = (TABLE_1 + one.delta_pi) / TABLE_1
        assert left.min() >= LEAST_SHARE - 1e-12
        if one.scale < 1.0:
            assert left.min() == pytest.approx(LEAST_SHARE)
    assert largest_scale(TABLE_1, np.zeros((3, 3))) == 1.0


def test_log_density_shift_is_the_derivative_of_the_extracted_density() -> None:
    """q_f = [p_f − Σ_h π_h q_h]/π_f of the enriched region's density, to first order in δπ."""
    x = np.random.default_rng(0).normal(size=(50, 2)) + COMPONENTS.means[1]
    log_q, shift = COMPONENTS.log_prob(x), np.array([0.02, -0.05, 0.03])
    q = np.exp(log_q)

    def extracted(step: float) -> Array:
        """A pure region that turns out to have contaminations step · δπ."""
        others = step * np.array([shift[0], 0.0, shift[2]])
        return (q[:, 1] - q @ others) / (1.0 - others.sum())

    expected = (extracted(1e-5) - extracted(-1e-5)) / 2e-5 / q[:, 1]
    found = log_density_shift(log_q, shift, 1)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(
        reweighting(log_q, 1e-6 * shift, 1, np.inf), 1.0 + 1e-6 * expected, atol=1e-9
    )
    ratio = np.minimum(q / q[:, [1]], 2.0)
    clipped = log_density_shift(log_q, shift, 1, ratio_limit=2.0)
    np.testing.assert_allclose(clipped, (1.0 - ratio) @ shift, atol=1e-14)
    far = np.array([[-5000.0, -10.0, -1.0]])
    assert np.isfinite(reweighting(far, -shift, 0, 20.0)).all()


def test_pulls_and_distances_of_known_shifts() -> None:
    pi = np.array([[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]])
    covariance = np.diag([0.01, 0.04, 0.01, 0.01])
    a = logits(pi)
    truth = compositions(a + np.array([[0.1, 0.2], [0.3, 0.0]]))
    found = compare(pi, truth, covariance)
    np.testing.assert_allclose(found.distance, [np.sqrt(2.0), 3.0])
    np.testing.assert_array_equal(found.inside_68, [True, False])  # χ²(2 d.o.f.) of 2.30
    assert found.total_distance == pytest.approx(np.sqrt(11.0))
    down = jacobian(pi)
    blocks = covariance.reshape(2, 2, 2, 2)
    sigma = [np.sqrt(np.diag(down[r] @ blocks[r, :, r] @ down[r].T)) for r in range(2)]
    np.testing.assert_allclose(found.pulls, (truth - pi) / sigma)


def pools(size: int, seed: int = 1, components: Gaussians = COMPONENTS) -> Pools:
    return Pools(components.sample, components.log_prob, size, seed)


SHIFTS = {
    "adds": np.array([-0.10, 0.16, -0.06]),
    "takes": np.array([0.08, -0.13, 0.05]),
    "both": np.array([0.25, 0.10, -0.35]),
}


@pytest.fixture(scope="module")
def drawn() -> dict[str, Target]:
    size = pool_size(40_000, 1, SHIFTS.values())
    return draw_targets(pools(size), 1, SHIFTS, 40_000)


@pytest.mark.parametrize("name", SHIFTS)
def test_targets_have_the_varied_density(drawn: dict[str, Target], name: str) -> None:
    """Against q_f' = max(0, q_f + Σ_h δπ_h (q_f − q_h)) integrated in boxes of the plane."""
    edges = np.linspace(-9.0, 9.0, 361)
    centre = 0.5 * (edges[1:] + edges[:-1])
    points = np.stack(np.meshgrid(centre, centre, indexing="ij"), axis=-1).reshape(-1, 2)
    q, shift = np.exp(COMPONENTS.log_prob(points)), SHIFTS[name]
    others = shift * np.array([1.0, 0.0, 1.0])
    varied = q[:, 1] * (1.0 + others.sum()) - q @ others
    area = (edges[1] - edges[0]) ** 2
    clipped = np.maximum(-varied, 0.0).sum() * area
    assert drawn[name].clipped == pytest.approx(clipped, abs=2e-3)
    assert (clipped > 0.01) == (name != "adds")
    density = np.maximum(varied, 0.0)
    probability = (density / density.sum()).reshape(12, 30, 12, 30).sum(axis=(1, 3)).ravel()
    counts, _, _ = np.histogram2d(*drawn[name].z.T, bins=[edges[::30]] * 2)
    keep = 40_000 * probability > 8.0
    observed = np.append(counts.ravel()[keep], counts.ravel()[~keep].sum())
    expected = np.append(probability[keep], probability[~keep].sum()) * counts.sum()
    chi2 = ((observed - expected) ** 2 / expected).sum()
    assert 1e-3 < stats.chi2.sf(chi2, len(observed) - 1) < 1.0
    assert counts.sum() == 40_000


def test_variations_keep_the_nominal_points_that_they_can(drawn: dict[str, Target]) -> None:
    nominal = drawn[NOMINAL].z
    np.testing.assert_array_equal(nominal, pools(len(nominal)).points(1)[0])
    for name, shift in SHIFTS.items():
        added = np.maximum(-np.delete(shift, 1), 0.0).sum()
        taken = np.maximum(np.delete(shift, 1), 0.0).sum()
        different = (drawn[name].z != nominal).any(axis=1).mean()
        assert different == drawn[name].replaced
        assert different < added + taken / (1.0 - added) + 0.005
    assert drawn["adds"].replaced == pytest.approx(0.16, abs=0.006)
    unchanged = draw_targets(pools(1000), 0, {"none": np.zeros(3)}, 900)["none"]
    np.testing.assert_array_equal(unchanged.z, pools(1000).points(0)[0][:900])


def test_reweighted_nominal_points_agree_with_small_variations() -> None:
    """Means of q_f' from weights exp(δ log q_f), to second order in the shift."""
    shift, flavour = np.array([0.01, -0.004, -0.006]), 0
    close = ring(3, 1.0)
    size = pool_size(200_000, flavour, [shift])
    found = draw_targets(pools(size, components=close), flavour, {"small": shift}, 200_000)
    z = found[NOMINAL].z
    weights = reweighting(close.log_prob(z), shift, flavour, 20.0)
    weighted = weights @ z / weights.sum()
    exact = close.means[0] * (1.0 - 0.01) - shift[1:] @ close.means[1:]
    moved = np.abs(exact - close.means[0]).max()
    # Common random numbers: the noise is that of the few points that differ.
    drift = found["small"].z.mean(axis=0) - z.mean(axis=0)
    np.testing.assert_allclose(drift, exact - close.means[0], atol=0.1 * moved)
    np.testing.assert_allclose(weighted - z.mean(axis=0), exact - close.means[0], atol=0.1 * moved)


def test_impossible_draws_are_errors() -> None:
    with pytest.raises(ValueError, match="too small"):
        draw_targets(pools(1000), 1, {"takes": SHIFTS["takes"]}, 1000)
    with pytest.raises(ValueError, match="leaves nothing"):
        draw_targets(pools(10), 1, {"all": np.array([-0.6, 1.1, -0.5])}, 5)
