"""Fits that start from a fitted map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from otcal.runtime.errors import InputError
from otcal.transport.api import FittedMap, fit_map
from otcal.transport.fitted import TransportMap
from otcal.transport.minimax import MinimaxOptions
from otcal.transport.potentials import hessian
from otcal.transport.semidual import SemidualOptions

SMALL = SemidualOptions(hidden=(16, 16), batch=128, tolerance=0.002)
RATE = SemidualOptions(batch=128, tolerance=0.002, learning_rate=5e-3)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def samples(seed: int = 0, n: int = 1500) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 2)), np.sinh(rng.normal(size=(n, 2))) * [1.0, 0.4] + 1.0


@pytest.fixture(scope="module")
def nominal() -> FittedMap:
    return fit_map(*samples(), steps=150, select=False, options=SMALL)


def test_fit_starts_at_the_initial_map(nominal: FittedMap) -> None:
    again = fit_map(*samples(), steps=1, select=False, options=RATE, initial=nominal.map)
    start, end = again.learning_curve[0], nominal.learning_curve[-1]
    for name in ("energy", "sliced_w2", "dual"):
        assert start[name] == pytest.approx(end[name], rel=1e-3, abs=1e-5)
    # Gains are measured from the initial map, not from the Gaussian one.
    assert start["energy_gain"] == 0.0
    assert end["energy_gain"] < 0.0
    assert again.diagnostics["options"]["hidden"] == (16, 16)
    assert set(again.diagnostics["candidates"]) == {"initial", "convex"}


def test_few_steps_follow_a_shifted_target(nominal: FittedMap) -> None:
    source, target = samples()
    shift = np.array([0.1, -0.05])
    moved, still = (
        fit_map(source, y, steps=150, options=RATE, initial=nominal.map)
        for y in (target + shift, target)
    )
    # Equal batches: what the sample and the optimiser do to both of them cancels.
    change = moved.transport(source) - still.transport(source)
    np.testing.assert_allclose(change.mean(0), shift, atol=0.005)
    assert change.std(0).max() < 0.02


def test_result_is_again_the_gradient_of_a_convex_potential(nominal: FittedMap) -> None:
    source, target = samples()
    moved = fit_map(source, target * 1.2, steps=30, options=RATE, initial=nominal.map)
    assert moved.map.is_gradient
    points = torch.randn(60, 2, generator=torch.Generator().manual_seed(0)) * 4.0
    jacobian = hessian(moved.map.potentials[0], points).double()
    torch.testing.assert_close(jacobian, jacobian.mT, atol=1e-5, rtol=1e-5)
    assert torch.linalg.eigvalsh(jacobian).min() > 0
    # In the problem's own coordinates as well: T = decode ∘ ∇φ ∘ encode has a symmetric Jacobian.
    c = moved.map.coordinates
    whole = c.source_in.double() @ jacobian @ c.target_out.double()
    torch.testing.assert_close(whole, whole.mT, atol=1e-5, rtol=1e-5)


def test_initial_map_is_left_as_it_was(nominal: FittedMap, tmp_path: Path) -> None:
    source, target = samples()
    before = nominal.transport(source)
    nominal.save(tmp_path / "map.safetensors")
    loaded = TransportMap.load(tmp_path / "map.safetensors")
    moved = [
        fit_map(source, target + 0.3, steps=20, options=RATE, initial=start).transport(source)
        for start in (nominal.map, nominal.map, loaded)
    ]
    np.testing.assert_array_equal(nominal.transport(source), before)
    np.testing.assert_array_equal(moved[0], moved[1])
    np.testing.assert_array_equal(moved[0], moved[2])


def test_a_map_is_returned_however_small_the_difference(nominal: FittedMap) -> None:
    source, target = samples()
    same = fit_map(source, target, steps=20, options=RATE, initial=nominal.map)
    assert same.diagnostics["winner"] == "convex"


def test_number_of_evaluations_is_what_was_asked_and_changes_nothing() -> None:
    source, target = samples(n=400)
    few, many = (
        fit_map(source, target, steps=40, select=False, options=SMALL, evaluations=n)
        for n in (2, 8)
    )
    assert [len(fitted.learning_curve) for fitted in (few, many)] == [3, 9]
    np.testing.assert_array_equal(few.transport(source), many.transport(source))


def test_maps_without_one_network_are_refused(nominal: FittedMap) -> None:
    source, target = samples()
    gaussian = fit_map(source, target, method="gaussian").map
    with pytest.raises(InputError, match="initial: is a map of QuadraticPotential"):
        fit_map(source, target, steps=1, initial=gaussian)
    with pytest.raises(InputError, match="the method is minimax"):
        fit_map(
            source, target, steps=1, method="minimax", options=MinimaxOptions(), initial=nominal.map
        )
    with pytest.raises(InputError, match="a map of 2 features, the source has 3"):
        fit_map(np.zeros((50, 3)), np.zeros((50, 3)), steps=1, initial=nominal.map)
