"""The steps that propagate the uncertainty and draw targets: what is in their files."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from otcal.config.uncertainty import PropagateSpec, TargetSpec, UncertaintyConfig
from otcal.mixture.composition import Prior, jacobian, logits
from otcal.mixture.covariance import AMPLIFIED, COMMON_SHIFT
from otcal.mixture.flows import Architecture, Components
from otcal.runtime.errors import InputError
from otcal.runtime.seeds import derive
from otcal.samples import tables
from otcal.samples.scores import Scores, score_writer
from otcal.samples.targets import read_target
from otcal.simplex import ilr_inverse
from otcal.steps import propagate_uncertainty, sample_targets
from support.gaussian_mixtures import (
    TABLE_1,
    Gaussians,
    draw_regions,
    fit_compositions,
)

Array = NDArray[np.float64]

FLAVOURS = ("b", "c", "light")
REGIONS = ("b_enriched", "c_enriched", "light_enriched")
COMPONENTS = Gaussians(
    np.array([[2.5, 1.5], [0.0, 0.2], [-1.0, -2.0]]), widths=np.array([1.1, 1.0, 1.2])
)


class StubComponents:
    """Gaussians in place of flows, whatever the file: answers are known in closed form."""

    @staticmethod
    def load(path: Path) -> Gaussians:
        assert path.read_bytes() == b"flows"
        return COMPONENTS


@pytest.fixture(scope="module")
def events() -> list[Array]:
    """ILR coordinates of the jets, as single precision of the probabilities leaves them."""
    return draw_regions(COMPONENTS, TABLE_1, 4000, 3)


def write_fit(root: Path, events: list[Array], **changes: Any) -> None:
    log_q = [COMPONENTS.log_prob(z) for z in events]
    prior = Prior.around(TABLE_1, (0, 1, 2), 0.3)
    fit = {
        "regions": REGIONS,
        "enriched": FLAVOURS,
        "flavours": FLAVOURS,
        "pi": fit_compositions(log_q, TABLE_1).tolist(),
        "nominal": TABLE_1.tolist(),
        "truth": TABLE_1.tolist(),
        "prior": {"mean": prior.mean.tolist(), "covariance": prior.covariance.tolist()},
    }
    (root / "extraction.json").write_text(json.dumps(fit | changes))
    (root / "flows.safetensors").write_bytes(b"flows")
    for name, z in zip(REGIONS, events, strict=True):
        n = len(z)
        ids, labels = np.arange(n) + n * REGIONS.index(name), np.zeros(n, np.int8)
        scores = Scores(ids, labels, *np.full((2, n), 600.0, np.float32), ilr_inverse(z))
        with score_writer(root / f"{name}.parquet", FLAVOURS, {}) as writer:
            writer.write_table(scores.to_table(FLAVOURS))


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: list[Array]) -> Path:
    monkeypatch.setattr(propagate_uncertainty, "Components", StubComponents)
    monkeypatch.setattr(sample_targets, "Components", StubComponents)
    write_fit(tmp_path, events)
    return tmp_path


def run_propagate(root: Path, regions: tuple[str, ...] = REGIONS, **spec: Any) -> None:
    propagate_uncertainty.main(
        [
            *("--spec", json.dumps(spec), "--threads", "1"),
            *("--extraction", str(root / "extraction.json")),
            *("--flows", str(root / "flows.safetensors")),
            *("--regions", *(str(root / f"{name}.parquet") for name in regions)),
            *("--feedback", str(root / "feedback.json")),
            *("--variations", str(root / "variations.json")),
        ]
    )


def run_sample(root: Path, flavour: str, **spec: Any) -> Path:
    output = root / "targets" / f"{flavour}.parquet"
    sample_targets.main(
        [
            *("--spec", json.dumps(spec), "--threads", "1", "--flavour", flavour),
            *("--flows", str(root / "flows.safetensors")),
            *("--variations", str(root / "variations.json"), "--output", str(output)),
        ]
    )
    return output


def read(root: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((root / name).read_text())
    return content


def test_feedback_has_both_recipes_and_their_parts_fit(
    study: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    run_propagate(study)
    found = read(study, "feedback.json")
    assert found["regions"] == list(REGIONS)
    pi = np.array(found["pi"])
    loop = np.eye(6) - np.array(found["F"])
    np.testing.assert_allclose(np.array(found["B"]) + found["CA"], found["F"], atol=1e-14)
    assert found["F_spectral_radius"] == pytest.approx(1.0, abs=1e-6)  # scores are float32 on disk

    ours, plain = found["projected"], found["plain"]
    assert ours["common_shift"] == [True, True, False, False, False, False]
    assert ours["singular_values"][:2] == [None, None]
    assert ours["reasons"][:2] == [COMMON_SHIFT] * 2
    assert min(plain["singular_values"][:2]) > 1e4
    np.testing.assert_allclose(np.array(plain["G"]) @ loop, np.eye(6), atol=1e-3)
    metric = np.linalg.inv(found["V_prior"])
    for recipe, size in ((ours, metric), (plain, np.eye(6))):
        u = np.array(recipe["u"])
        np.testing.assert_allclose(u.T @ size @ u, np.eye(6), atol=1e-9)
        assert recipe["prior_dominated"] == [bool(reason) for reason in recipe["reasons"]]
    amplified = [ratio is None or ratio > 1 for ratio in ours["variance_ratio"]]
    assert ours["prior_dominated"] == amplified
    assert AMPLIFIED in plain["reasons"]

    sigma = found["sigma_pi"]
    blocks = np.array(ours["V_eff"]).reshape(3, 2, 3, 2)
    for r in range(3):
        down = jacobian(pi[r])
        np.testing.assert_allclose(
            sigma[r], np.sqrt(np.diag(down @ blocks[r, :, r] @ down.T)), rtol=1e-10
        )
    np.testing.assert_allclose(found["pulls"], (TABLE_1 - pi) / sigma)
    shift = logits(TABLE_1) - found["logits"]["fitted"]
    distances = [np.sqrt(d @ np.linalg.solve(blocks[r, :, r], d)) for r, d in enumerate(shift)]
    np.testing.assert_allclose(found["distance"], distances, rtol=1e-9)
    assert found["inside_68"] == [True, True, True]
    assert np.all(np.array(found["sigma_pi_statistical"]) < sigma)
    assert found["clipping"]["F_change"] > 0.01
    assert "channel: amplification inf, variance over prior's inf: prior (common shift)" in (
        caplog.text
    )


def test_variations_are_those_of_the_chosen_recipe(study: Path) -> None:
    for recipe, other in (("projected", "plain"), ("plain", "projected")):
        run_propagate(study, recipe=recipe, singular_limit=12.0)
        entries = read(study, "variations.json")["variations"]
        assert [one["name"] for one in entries[:2]] == ["eigen1_up", "eigen1_down"]
        assert len(entries) == 12
        ups = np.array([one["delta_a"] for one in entries[::2]])
        feedback = read(study, "feedback.json")
        covariance = feedback[recipe]["V_eff"]
        np.testing.assert_allclose(ups.T @ ups, covariance, atol=1e-12)
        assert np.abs(np.array(feedback[other]["V_eff"]) - covariance).max() > 1e-4
        for one in entries:
            moved = np.array(read(study, "variations.json")["pi"]) + one["delta_pi"]
            assert moved.min() > 0
            np.testing.assert_allclose(moved.sum(axis=1), 1.0, atol=1e-12)


def test_settings_reach_the_recipe(study: Path) -> None:
    run_propagate(study)
    default = read(study, "feedback.json")["projected"]
    run_propagate(study, singular_limit=1.0001)
    limited = read(study, "feedback.json")
    assert all(limited["projected"]["prior_dominated"])
    np.testing.assert_allclose(limited["projected"]["V_eff"], limited["V_prior"], atol=1e-12)
    for change in ({"prior_in_hessian": True}, {"noise": "step"}):
        run_propagate(study, **change)
        narrowed = read(study, "feedback.json")["projected"]
        ratios = [np.array(one["variance_ratio"][2:], float) for one in (narrowed, default)]
        assert np.all(ratios[0] < ratios[1])


def test_targets_of_all_variations(study: Path) -> None:
    run_propagate(study)
    path = run_sample(study, "c", points=20_000, seed=4)
    nominal = read_target(path).z
    assert nominal.shape == (20_000, 2)
    np.testing.assert_allclose(nominal.mean(axis=0), COMPONENTS.means[1], atol=0.03)
    notes = tables.read_provenance(path)
    assert notes["spec"] == {"points": 20_000, "seed": 4, "flavour": "c"}
    entries = read(study, "variations.json")["variations"]
    assert set(notes["targets"]) == {"nominal", *(one["name"] for one in entries)}
    for one in entries:
        z, shift = read_target(path, one["name"]).z, np.array(one["delta_pi"][1])
        assert z.shape == nominal.shape
        moved = float((z != nominal).any(axis=1).mean())
        assert moved == pytest.approx(notes["targets"][one["name"]]["replaced"], abs=1e-4)
        if shift[0] < 0 and shift[2] < 0:  # an exact mixture, whose mean is known
            others = -shift[[0, 2]]
            expected = others @ (COMPONENTS.means[[0, 2]] - COMPONENTS.means[1])
            np.testing.assert_allclose((z - nominal).mean(axis=0), expected, atol=0.012)
            assert notes["targets"][one["name"]]["clipped"] == 0.0
    first = path.read_bytes()
    assert run_sample(study, "c", points=20_000, seed=4).read_bytes() == first


def test_regions_are_told_apart_by_their_names(study: Path) -> None:
    run_propagate(study)
    first = read(study, "feedback.json")
    run_propagate(study, REGIONS[::-1])
    second = read(study, "feedback.json")
    assert second["F"] == first["F"]


def test_targets_of_real_flows(tmp_path: Path) -> None:
    """Nominal points are the flow's own samples; a variation adds those of another flow."""
    components = Components(FLAVOURS, np.array([1.0, -1.0]), np.array([2.0, 0.5]), Architecture(2))
    components.save(tmp_path / "flows.safetensors")
    shift = np.array([[0.3, -0.3, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    variations = [{"name": "eigen1_up", "delta_pi": shift.tolist()}]
    content = {"flavours": FLAVOURS, "enriched": FLAVOURS, "pi": TABLE_1.tolist()}
    (tmp_path / "variations.json").write_text(json.dumps(content | {"variations": variations}))
    path = run_sample(tmp_path, "b", points=2000, seed=1)
    pools = [components.sample(f, 2001, derive(1, "pool", f)).astype(np.float32) for f in (0, 1)]
    np.testing.assert_allclose(read_target(path).z, pools[0][:2000], atol=1e-5)
    varied = read_target(path, "eigen1_up").z
    own, other = (np.abs(varied - pool[:2000]).max(axis=1) < 1e-5 for pool in pools)
    assert np.all(own ^ other)
    assert other.mean() == pytest.approx(0.3, abs=0.04)


def test_without_truth_there_are_no_pulls(study: Path, events: list[Array]) -> None:
    write_fit(study, events, truth=None)
    run_propagate(study)
    found = read(study, "feedback.json")
    assert found["pulls"] is found["distance"] is found["logits"]["truth"] is None


def test_mistakes_are_named(study: Path, events: list[Array]) -> None:
    with pytest.raises(InputError, match=r"--regions: files: .* none for region 'light_enriched'"):
        run_propagate(study, REGIONS[:2])
    with pytest.raises(InputError, match=r"recipe.*'projected' or 'plain'"):
        run_propagate(study, recipe="magic")
    write_fit(study, events, enriched=["b", "c", "c"])
    with pytest.raises(InputError, match=r"extraction.json: pi: no region is enriched in"):
        run_propagate(study)
    (study / "extraction.json").write_text("{}")
    with pytest.raises(InputError, match="regions: is missing"):
        run_propagate(study)
    assert not (study / "feedback.json").exists()
    write_fit(study, events)
    run_propagate(study)
    with pytest.raises(InputError, match=r"--flavour: tau: is not a flavour.*b, c, light"):
        run_sample(study, "tau")
    path = run_sample(study, "b", points=100)
    with pytest.raises(InputError, match=r"has no 'eigen9_up'.*nominal, eigen1_up"):
        read_target(path, "eigen9_up")
    with pytest.raises(InputError, match="z: column is missing"):
        read_target(study / "b_enriched.parquet")


def test_specs_come_from_the_block_of_the_study() -> None:
    config = UncertaintyConfig(recipe="plain", singular_limit=5.0, points=12)
    assert config.propagate_spec() == PropagateSpec(recipe="plain", singular_limit=5.0)
    assert config.target_spec(7) == TargetSpec(points=12, seed=7)
