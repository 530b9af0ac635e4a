"""What a calibration does where float32 ends: a jet is moved and said to be, or neither."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from otcal.bundle.calibration import Calibration, Status
from otcal.bundle.card import read_card

STATUS = "calibrated_status"


@pytest.fixture(params=["bundle", "latent_bundle"])
def calibration(request: pytest.FixtureRequest) -> Calibration:
    directory: Path = request.getfixturevalue(request.param)
    return Calibration(directory, read_card(directory))


def calibrate(calibration: Calibration, x: np.ndarray) -> dict[str, np.ndarray]:
    """Calibrate jets (n, d) of the first label."""
    card = calibration.card
    parts = np.split(x, len(card.columns), axis=1)
    columns = dict(zip(card.columns, parts, strict=True))
    return calibration(columns | {card.label: np.full(len(x), min(card.labels))})


def test_probabilities_that_vanish_in_float32_are_none(bundle: Path) -> None:
    calibration = Calibration(bundle, read_card(bundle))
    p = np.array([[0.7, 0.2, 0.1], [1.0 - 1e-50, 1e-50, 0.0], [0.5, 0.5, 1e-50]])
    found = calibrate(calibration, p)
    assert found[STATUS].tolist() == [0, Status.NOT_PROBABILITIES, Status.NOT_PROBABILITIES]
    assert np.isfinite(found["calibrated_p_b"]).tolist() == [True, False, False]


@pytest.mark.filterwarnings("error")
def test_infinite_and_missing_probabilities_are_not_finite(bundle: Path) -> None:
    calibration = Calibration(bundle, read_card(bundle))
    p = np.array([[np.inf, 0.2, 0.1], [0.7, -np.inf, 0.1], [np.nan, -1.0, 2.0], [-1.0, 1.0, 1.0]])
    found = calibrate(calibration, p)
    assert found[STATUS].tolist() == [*[Status.NOT_FINITE] * 3, Status.NOT_PROBABILITIES]
    assert np.isnan(found["calibrated_p_b"]).all()


def test_latents_without_a_finite_image_are_counted_as_not_moved(latent_bundle: Path) -> None:
    calibration = Calibration(latent_bundle, read_card(latent_bundle))
    x = np.zeros((3, calibration.card.width))
    x[1] = 1e30  # finite in float32, its square is not
    x[2] = 1e300
    found = calibrate(calibration, x)
    assert found.pop(STATUS).tolist() == [0, Status.NO_IMAGE, Status.NOT_FINITE]
    assert calibration.counts[Status.NO_IMAGE] == 1
    for values in found.values():
        assert np.isfinite(values[0]).all()
        assert np.isnan(values[1:]).all()


@pytest.mark.parametrize("seed", range(5))
def test_a_status_of_moved_means_finite_numbers(calibration: Calibration, seed: int) -> None:
    rng = np.random.default_rng(seed)
    width = sum(calibration.columns[name] for name in calibration.card.columns)
    x = rng.normal(size=(200, width)) * 10.0 ** rng.uniform(-60, 60, (200, 1))
    if calibration.card.kind == "probabilities":
        x = np.exp(np.clip(x, -700, 0))
        x /= x.sum(axis=1, keepdims=True)
    found = calibrate(calibration, x)
    moved = np.isin(found.pop(STATUS), (Status.CALIBRATED, Status.OUTSIDE))
    assert 0 < moved.sum() < len(x)
    for values in found.values():
        finite = np.isfinite(values.reshape(len(x), -1))
        assert (finite.all(axis=1) == moved).all()
        assert (finite.any(axis=1) == moved).all()


def test_no_jets_are_no_obstacle(calibration: Calibration) -> None:
    width = sum(calibration.columns[name] for name in calibration.card.columns)
    found = calibrate(calibration, np.empty((0, width)))
    assert all(len(values) == 0 for values in found.values())
