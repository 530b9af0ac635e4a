"""The simplex study's numbers come out of its files under documented keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from otcal.closure import simplex_summary as summary
from otcal.runtime.errors import InputError

REGIONS, FLAVOURS = ["first", "second"], ["b", "c", "light"]
PI = [[0.8, 0.1, 0.1], [0.2, 0.3, 0.5]]


def written(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_extraction_gives_fractions_by_region_and_flavour(tmp_path: Path) -> None:
    content = {
        "regions": REGIONS,
        "flavours": FLAVOURS,
        "kappa": 1.5,
        "iterations": 7,
        "converged": False,
        "starts": [{}, {}],
        "pi": PI,
        "spread": [[0.0] * 3, [0.01] * 3],
    }
    found = summary.from_extraction(written(tmp_path / "extraction.json", content))
    assert found["simplex.composition.fraction.second.c"] == 0.3
    assert found["simplex.composition.spread.second.light"] == 0.01
    assert (found["simplex.fit.starts"], found["simplex.fit.converged"]) == (2, 0)
    del content["kappa"]
    with pytest.raises(InputError, match=r"kappa.*is not in the file"):
        summary.from_extraction(written(tmp_path / "extraction.json", content))


def test_infinite_amplifications_leave_their_numbers_free(tmp_path: Path) -> None:
    content = {
        "regions": REGIONS,
        "flavours": FLAVOURS,
        "F_spectral_radius": 1.0,
        "sigma_pi": [[0.01] * 3] * 2,
        "projected": {"singular_values": [None, 20.0], "prior_dominated": [True, False]},
        "plain": {"singular_values": [1e6, 20.0]},
        "pulls": [[0.5, -0.5, 0.0], [1.0, 0.0, -1.0]],
        "distance": [0.6, 1.2],
    }
    found = summary.from_feedback(written(tmp_path / "feedback.json", content))
    assert "simplex.feedback.singular.1" not in found
    assert found["simplex.feedback.singular.2"] == 20.0
    assert found["simplex.feedback.singular_plain.1"] == 1e6
    assert found["simplex.feedback.prior_dominated"] == 1
    assert found["simplex.composition.pull.second.light"] == -1.0
    content["pulls"] = None
    found = summary.from_feedback(written(tmp_path / "feedback.json", content))
    assert not [key for key in found if "pull" in key or "distance" in key]


def test_closure_is_quoted_relative_to_the_simulation(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text(
        "region,discriminant,kappa,sample,w1,w1_floor,in_band\n"
        "validation,b_c,0.5,simulation,0.04,0.002,\n"
        "validation,b_c,0.5,calibrated,0.01,0.002,0.75\n"
        "validation,b_c,0.5,reweighted,0.02,0.002,\n"
        "b_enriched,b_c,0.5,simulation,9,9,\n",
        encoding="utf-8",
    )
    assert summary.from_closure(path) == pytest.approx(
        {
            "simplex.closure.w1.b_c.0.5": 0.04,
            "simplex.closure.w1_floor.b_c.0.5": 0.002,
            "simplex.closure.w1_ratio.b_c.0.5": 0.25,
            "simplex.closure.in_band.b_c.0.5": 0.75,
            "simplex.closure.w1_ratio_reweighted.b_c.0.5": 0.5,
        }
    )
    path.write_text(path.read_text().replace("b_c,0.5,simulation,0.04", "b_c,1,simulation,0.04"))
    with pytest.raises(InputError, match=r"no simulation for b_c at κ = 0\.5"):
        summary.from_closure(path)
