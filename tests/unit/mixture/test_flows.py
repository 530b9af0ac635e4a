"""Flows as densities: normalised, finite anywhere, sampled and saved exactly."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from otcal.mixture.flows import Architecture, Components, normalisation
from otcal.runtime.errors import InputError

FLAVOURS = ("b", "c", "light")


def random_components(features: int = 2, strength: float = 3.0, seed: int = 0) -> Components:
    """Return flows with large random weights: far from the identity, unlike fresh ones."""
    mean = np.array([0.7, -1.2, 0.3])[:features]
    scale = np.array([2.0, 0.6, 1.5])[:features]
    result = Components(FLAVOURS, mean, scale, Architecture(features, hidden=(16,)), seed=seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for weight in result.flows.parameters():
            nn.init.normal_(weight, std=strength / weight.shape[-1] ** 0.5)
    return result


def grid(components: Components, points: int, reach: float = 6.5) -> tuple[np.ndarray, float]:
    """Return midpoints of a square grid in z, and the area of its cells."""
    axis = (np.arange(points) + 0.5) / points * 2 * reach - reach
    x = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    area = (2 * reach / points) ** 2 * components.scale.prod()
    return x * components.scale + components.mean, float(area)


@pytest.mark.parametrize("seed", [0, 1])
def test_densities_integrate_to_one(seed: int) -> None:
    components = random_components(strength=1.0, seed=seed)
    z, area = grid(components, 260)
    density = np.exp(components.log_prob(z))
    assert density.max() > 3 * density[:, 0].mean()
    np.testing.assert_allclose(density.sum(axis=0) * area, 1.0, atol=1e-3)


def test_density_is_the_change_of_variables_of_the_flow() -> None:
    """Against the determinant of the numerical Jacobian, in z's own units."""
    components = random_components()
    z = components.mean + components.scale * np.random.default_rng(1).uniform(-3, 3, (200, 2))
    x = components.normalise(z).double()
    for k, flow in enumerate(components.flows.double()):
        transform = flow().transform
        jacobian = torch.func.vmap(torch.func.jacrev(transform))(x)
        base = transform(x).detach()
        expected = (
            -0.5 * base.square().sum(1)
            - np.log(2 * np.pi)
            + torch.linalg.det(jacobian).abs().log().detach()
            - np.log(components.scale).sum()
        )
        single = random_components().log_prob(z)[:, k]
        np.testing.assert_allclose(single, expected.numpy(), atol=2e-3)


def test_far_points_have_finite_densities_that_do_not_depend_on_the_flavour() -> None:
    components = random_components()
    x = np.array([[6.0, 7.0], [-50.0, 20.0], [1e4, -1e4], [1e8, 1e8]])
    log_q = components.log_prob(components.mean + components.scale * x)
    assert np.isfinite(log_q).all()
    np.testing.assert_allclose(log_q, log_q[:, :1].repeat(3, axis=1), rtol=1e-6)
    expected = -0.5 * (x**2).sum(axis=1) - np.log(2 * np.pi * components.scale.prod())
    np.testing.assert_allclose(log_q[:, 0], expected, rtol=1e-5)
    one_side = components.log_prob(components.mean + components.scale * [[0.1, 40.0], [40.0, 0.1]])
    assert np.isfinite(one_side).all()


def test_normalisation_puts_long_tails_into_the_splines() -> None:
    rng = np.random.default_rng(2)
    z = np.stack([rng.normal(3.0, 2.0, 100_000), rng.standard_t(2.5, 100_000)], axis=1)
    mean, scale = normalisation(z)
    x = (z - mean) / scale
    assert scale[0] == pytest.approx(2.0, rel=0.01)  # a normal sample: its standard deviation
    assert scale[1] > 1.2 * z[:, 1].std()
    assert (np.abs(x) > 5.0).any(axis=1).mean() < 2e-3


def test_samples_follow_the_density() -> None:
    components = random_components(strength=1.0)
    z, area = grid(components, 200)
    for k in range(3):
        weight = np.exp(components.log_prob(z)[:, k]) * area
        sample = components.sample(k, 30_000, seed=3)
        error = np.sqrt(np.diag(np.cov(sample.T)) / 30_000)
        mean = weight @ z
        assert (np.abs(sample.mean(axis=0) - mean) < 4 * error + 2e-3).all()
        spread = weight @ (z - mean) ** 2
        np.testing.assert_allclose(sample.var(axis=0), spread, rtol=0.03)


def test_samples_depend_on_seed_and_flavour_only() -> None:
    components = random_components()
    state = torch.get_rng_state()
    sample = components.sample(0, 100, seed=5)
    torch.testing.assert_close(torch.get_rng_state(), state)
    np.testing.assert_array_equal(components.sample(0, 100, seed=5), sample)
    assert np.abs(components.sample(0, 100, seed=6) - sample).max() > 0.1
    assert sample.shape == (100, 2)
    assert sample.dtype == np.float64


def test_saved_components_are_the_same_bits(tmp_path: Path) -> None:
    components = random_components()
    path = tmp_path / "flows.safetensors"
    components.save(path, {"step": "test"})
    loaded = Components.load(path)
    z = np.random.default_rng(0).normal(size=(50, 2))
    np.testing.assert_array_equal(loaded.log_prob(z), components.log_prob(z))
    assert loaded.flavours == FLAVOURS
    description = json.loads((tmp_path / "flows.json").read_text())
    assert description["notes"] == {"step": "test"}
    assert description["architecture"] == {
        "features": 2,
        "transforms": 2,
        "hidden": [16],
        "bins": 8,
    }
    loaded.save(tmp_path / "again.safetensors", {"step": "test"})
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_copies_are_independent() -> None:
    components = random_components()
    z = np.zeros((1, 2))
    before = components.log_prob(z)
    with torch.no_grad():
        for weight in components.copy().flows.parameters():
            weight.mul_(0.0)
    np.testing.assert_array_equal(components.log_prob(z), before)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "flows.safetensors"
    with pytest.raises(InputError, match=r"flows\.json: file: does not exist"):
        Components.load(path)
    random_components().save(path)
    content = path.read_bytes()
    path.write_bytes(content[:-40])
    with pytest.raises(InputError, match="is not a safetensors file"):
        Components.load(path)
    random_components(seed=1).save(tmp_path / "other.safetensors")
    path.write_bytes((tmp_path / "other.safetensors").read_bytes())
    with pytest.raises(InputError, match=r"is not the file that flows\.json describes"):
        Components.load(path)
    description = json.loads((tmp_path / "other.json").read_text())
    description["architecture"]["hidden"] = [8]
    (tmp_path / "other.json").write_text(json.dumps(description))
    with pytest.raises(InputError, match="do not fit the description"):
        Components.load(tmp_path / "other.safetensors")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(InputError, match=r"is not otcal\.mixture.flows/2"):
        Components.load(tmp_path / "other.safetensors")


def test_two_flavours_live_in_one_dimension() -> None:
    components = Components(("b", "light"), np.zeros(1), np.ones(1), Architecture(1), seed=1)
    z = (np.arange(4000) + 0.5)[:, None] / 4000 * 18 - 9
    np.testing.assert_allclose(np.exp(components.log_prob(z)).sum(axis=0) * 18 / 4000, 1, atol=1e-3)
    assert components.sample(1, 10, seed=0).shape == (10, 1)
