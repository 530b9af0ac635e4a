"""The best start, and what is said about all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from otcal.mixture.composition import Prior, compositions, logits
from otcal.mixture.selection import best, summarise

PI = np.array([[0.90, 0.04, 0.06], [0.05, 0.8886, 0.0614], [0.0505, 0.0887, 0.8608]])
PRIOR = Prior.around(PI, [0, 1, 2], 0.3)


def start(objective: float, converged: bool = True, shift: float = 0.0) -> dict[str, Any]:
    return {
        "pi": (PI + shift * np.array([1.0, -1.0, 0.0])).tolist(),
        "prior": {"mean": PRIOR.mean.tolist(), "covariance": PRIOR.covariance.tolist()},
        "objective": objective,
        "log_likelihood": objective + 1.0,
        "held_out": -3.5,
        "iterations": 20,
        "converged": converged,
        "provenance": {"step": "extract_components"},
    }


def test_best_is_the_highest_objective_of_those_that_converged() -> None:
    assert best([start(-3.0), start(-2.0), start(-4.0)]) == 1
    assert best([start(-3.0), start(-2.0, converged=False), start(-4.0)]) == 0
    assert best([start(-3.0, converged=False), start(-2.0, converged=False)]) == 1


def test_summary_has_spread_conditioning_and_every_start() -> None:
    fits = [start(-3.0), start(-2.0, shift=0.01), start(-4.0, shift=-0.02)]
    result = summarise(["start-0", "start-1", "start-2"], fits)
    assert result["chosen"] == "start-1"
    assert result["pi"] == fits[1]["pi"]
    np.testing.assert_allclose(result["spread"], [[0.03, 0.03, 0.0]] * 3, atol=1e-15)
    assert [one["name"] for one in result["starts"]] == ["start-0", "start-1", "start-2"]
    assert [one["objective"] for one in result["starts"]] == [-3.0, -2.0, -4.0]
    pi = np.array(result["pi"])
    assert result["kappa"] == pytest.approx(np.linalg.cond(pi, 2), rel=1e-12)
    bound = result["bound"]
    relative = np.linalg.norm(bound["delta_pi"], 2) / np.linalg.norm(pi, 2)
    assert bound["value"] == pytest.approx(
        result["kappa"] / (1 - result["kappa"] * relative) * relative, rel=1e-12
    )
    assert "provenance" not in result


def test_errors_of_the_bound_are_those_of_the_prior() -> None:
    """Against compositions drawn from a narrow prior of the same shape."""
    narrow = 0.1
    roots = np.linalg.cholesky(PRIOR.covariance) * narrow
    noise = np.random.default_rng(0).standard_normal((100_000, 3, 2))
    drawn = compositions(logits(PI) + np.einsum("rij,nrj->nri", roots, noise))
    deviations = np.array(summarise(["start-0"], [start(-1.0)])["bound"]["delta_pi"])
    np.testing.assert_allclose(deviations * narrow, drawn.std(axis=0), rtol=0.02)
