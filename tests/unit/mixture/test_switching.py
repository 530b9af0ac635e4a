"""Label switching is refused, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest

from otcal.mixture.switching import check_labels
from otcal.runtime.errors import InputError

NAMES = ("b", "c", "light")
PI = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])


def check(pi: np.ndarray, gamma: np.ndarray, reference: np.ndarray) -> None:
    check_labels(pi, gamma, reference, [0, 1, 2], ("r_b", "r_c", "r_light"), NAMES)


def log_densities(x: np.ndarray, centres: list[float]) -> np.ndarray:
    return -0.5 * (x[:, None] - np.array(centres)) ** 2


def test_shifted_components_keep_their_labels() -> None:
    x = np.linspace(-6, 6, 601)
    gamma = np.exp(log_densities(x, [-2.4, 0.5, 3.0]))
    check(PI, gamma / gamma.sum(axis=1, keepdims=True), log_densities(x, [-3.0, 0.0, 3.0]))


def test_exchanged_components_are_named() -> None:
    x = np.linspace(-6, 6, 601)
    gamma = np.exp(log_densities(x, [0.0, -3.0, 3.0]))
    with pytest.raises(InputError, match="b: has become the component that simulation calls c"):
        check(PI, gamma / gamma.sum(axis=1, keepdims=True), log_densities(x, [-3.0, 0.0, 3.0]))


def test_region_of_another_flavour_is_named() -> None:
    x = np.linspace(-6, 6, 601)
    reference = log_densities(x, [-3.0, 0.0, 3.0])
    gamma = np.exp(reference)
    pi = PI[[0, 2, 2]]
    with pytest.raises(InputError, match=r"r_c: is enriched in c but .* 80.0% of light"):
        check(pi, gamma / gamma.sum(axis=1, keepdims=True), reference)
