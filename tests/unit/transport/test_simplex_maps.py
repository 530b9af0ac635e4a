"""Maps of probabilities in both spaces, and the samples they are fitted to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from otcal.config.splits import Splits
from otcal.runtime.errors import InputError
from otcal.samples import splits
from otcal.samples.flavours import FLAVOURS
from otcal.samples.scores import Scores, score_writer
from otcal.samples.targets import TargetSample, write_targets
from otcal.simplex import ilr, ilr_inverse, logit
from otcal.transport.api import fit_map
from otcal.transport.flavour_samples import Sample, extracted, labelled, simulated, variations
from otcal.transport.simplex_maps import SimplexMap, decode, encode


def probabilities(n: int, seed: int = 0) -> np.ndarray:
    return ilr_inverse(np.random.default_rng(seed).normal(0.0, 2.0, (n, 2)))


def write_scores(path: Path, p: np.ndarray, labels: np.ndarray, first: int = 0) -> Path:
    dull = np.full(len(p), 50.0, np.float32)
    scores = Scores(np.arange(first, first + len(p)), labels.astype(np.int8), dull, dull, p)
    with score_writer(path, FLAVOURS, {}) as writer:
        writer.write_table(scores.to_table(FLAVOURS))
    return path


@pytest.mark.parametrize("space", ["ilr", "logit"])
def test_decode_undoes_encode(space: str) -> None:
    p = probabilities(500)
    back = decode(encode(p, space), space)
    np.testing.assert_allclose(back.p, p, rtol=1e-9)
    assert back.leakage.max() < 1e-12


def test_only_logits_leak() -> None:
    p = probabilities(500)
    for space, least in (("ilr", 0.0), ("logit", 0.05)):
        moved = decode(encode(p, space) + 0.3, space)
        assert moved.leakage.max() >= least
        np.testing.assert_allclose(moved.p.sum(axis=1), 1.0)
    assert (decode(ilr(p) + 5.0, "ilr").leakage == 0.0).all()
    # Three even probabilities whose logits all rise by ln 2: 3 · 1/2 − 1.
    third = np.full((1, 3), 1.0 / 3.0)
    leak = decode(logit(third) + np.log(2.0), "logit").leakage
    assert leak[0] == pytest.approx(0.5)


def test_points_beyond_underflow_stay_on_the_simplex() -> None:
    for space, point in (("ilr", [[2000.0, -900.0]]), ("logit", [[900.0, -900.0, -900.0]])):
        p = decode(np.array(point), space).p
        assert (p > 0).all()
        assert np.isfinite(ilr(p)).all()


def test_map_of_another_flavour_is_refused(tmp_path: Path) -> None:
    z = ilr(probabilities(200))
    fitted = fit_map(z, z + 0.5, method="gaussian", validation=(z, z + 0.5))
    fitted.save(tmp_path / "map.safetensors", {"flavour": "b", "space": "ilr"})
    loaded = SimplexMap.load(tmp_path / "map.safetensors", "b")
    p = probabilities(50, 1)
    np.testing.assert_allclose(ilr(loaded(p).p), ilr(p) + 0.5, atol=1e-4)
    with pytest.raises(InputError, match="is a map of b, not of c"):
        SimplexMap.load(tmp_path / "map.safetensors", "c")
    fitted.save(tmp_path / "latent.safetensors")
    with pytest.raises(InputError, match="a map of no flavour"):
        SimplexMap.load(tmp_path / "latent.safetensors", "c")


def test_simulated_jets_are_of_the_flavour_and_the_split(tmp_path: Path) -> None:
    p, labels = probabilities(900), np.arange(900) % 3
    path = write_scores(tmp_path / "scores.parquet", p, labels)
    shares = Splits()
    found = {s: simulated(path, "c", shares, s) for s in ("train", "validation", "test")}
    assert sum(map(len, found.values())) == len(simulated(path, "c", shares)) == 300
    for split, scores in found.items():
        np.testing.assert_array_equal(scores.labels, 1)
        assert splits.select(scores.ids, shares.fractions(), split).all()
        np.testing.assert_allclose(scores.p, p[scores.ids], rtol=1e-5)


def test_truth_leaves_the_validation_out(tmp_path: Path) -> None:
    p, labels = probabilities(600), np.arange(600) % 3
    data = write_scores(tmp_path / "data.parquet", p, labels)
    inside = write_scores(tmp_path / "validation.parquet", p[300:], labels[300:], first=300)
    found = labelled(data, "light", [inside])
    np.testing.assert_allclose(found.p, p[2:300:3], rtol=1e-5)


def test_targets_are_read_by_variation(tmp_path: Path) -> None:
    path = tmp_path / "b.parquet"
    pt = np.linspace(20, 250, 40)[:, None]
    samples = {
        name: TargetSample(ilr(probabilities(40, k)), pt + k)
        for k, name in enumerate(("nominal", "e_up", "e_down"))
    }
    write_targets(path, samples, {}, ["jet_pt"])
    assert variations(path) == ["e_up", "e_down"]
    for name, sample in samples.items():
        found = extracted(path, name, ["jet_pt"])
        np.testing.assert_allclose(ilr(found.p), sample.z, atol=1e-5)
        np.testing.assert_allclose(found.conditions, sample.conditions, rtol=1e-6)
        assert extracted(path, name).conditions.shape == (40, 0)
    with pytest.raises(InputError, match="jet_eta: column is missing"):
        extracted(path, conditions=["jet_eta"])
    few = TargetSample(samples["nominal"].z[:19], np.empty((19, 0)))
    write_targets(path, {"nominal": few}, {})
    with pytest.raises(InputError, match="there are 19 points of nominal"):
        extracted(path)


def test_held_out_rows_are_the_same_for_all_variations() -> None:
    numbers = np.arange(95)[:, None]
    first, second = Sample(numbers, -numbers), Sample(numbers + 0.5, numbers)
    kept, held = first.hold_out(3)
    assert len(held) == 10
    assert sorted([*kept.p[:, 0], *held.p[:, 0]]) == list(range(95))
    np.testing.assert_array_equal(held.conditions, -held.p)
    np.testing.assert_array_equal(second.hold_out(3)[1].p, held.p + 0.5)
