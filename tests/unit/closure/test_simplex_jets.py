"""Composition of simulated jets, and their versions mixed into regions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logit

from otcal.closure.simplex_jets import (
    CALIBRATED,
    DATA,
    RAW,
    FlavourJets,
    Sample,
    compose,
    log_odds,
    order,
    region_counts,
)
from otcal.closure.simplex_samples import assemble, pair_names, variation_files
from otcal.runtime.errors import InputError
from otcal.runtime.files import sha256, write_json
from otcal.samples.scores import Scores
from otcal.simplex import DISCRIMINANTS, discriminant

FLAVOURS = ("b", "c", "light")


@given(
    st.lists(st.integers(0, 20_000), min_size=3, max_size=3).filter(any),
    st.lists(st.integers(1, 30_000), min_size=3, max_size=3),
)
def test_composition_is_kept_to_a_jet_and_nothing_runs_out(wanted, available) -> None:
    counts = compose(np.array(wanted, float), np.array(available))
    assert (counts <= available).all()
    assert (counts <= wanted).all()
    scale = min(1.0, min(a / w for a, w in zip(available, wanted, strict=True) if w))
    np.testing.assert_array_less(np.abs(counts - scale * np.array(wanted)), 1.0 + 1e-6)
    assert counts.sum() == round(scale * sum(wanted))


def test_enough_jets_give_the_region_itself() -> None:
    wanted = np.array([18_000.0, 800.0, 1_200.0])
    np.testing.assert_array_equal(compose(wanted, np.array([18_000, 900, 5_000])), wanted)


def test_effective_size_counts_jets_of_equal_weight() -> None:
    p = np.full((500, 3), 1 / 3)
    assert Sample(p).effective_size() == 500.0
    assert Sample(p, np.full(500, 0.37)).effective_size() == pytest.approx(500.0, rel=1e-12)
    half = np.repeat([1.0, 0.0], 250)
    assert Sample(p, half).effective_size() == pytest.approx(250.0, rel=1e-12)


def scores(labels: list[int]) -> Scores:
    n = len(labels)
    dull = np.ones(n, np.float32)
    return Scores(np.arange(n), np.array(labels, np.int8), dull, dull, np.full((n, 3), 1 / 3))


def test_labels_count_where_there_are_any_and_the_fit_elsewhere() -> None:
    labelled = region_counts("r", scores([0, 0, 2, 1, 0]), FLAVOURS, None)
    np.testing.assert_array_equal(labelled, [3, 1, 1])
    fitted = {"light": 0.2, "b": 0.5, "c": 0.3}
    np.testing.assert_allclose(region_counts("r", scores([-1] * 10), FLAVOURS, fitted), [5, 3, 2])
    with pytest.raises(InputError, match="label: is not known"):
        region_counts("r", scores([0, -1]), FLAVOURS, None)


@pytest.mark.parametrize("name", DISCRIMINANTS)
@pytest.mark.parametrize("kappa", [0.25, 1.0, 4.0])
def test_log_odds_are_those_of_the_discriminant(name: str, kappa: float) -> None:
    p = np.random.default_rng(0).dirichlet(np.full(3, 0.3), 200)
    np.testing.assert_allclose(log_odds(name, p, kappa), logit(discriminant(name, p, kappa)))
    # Next to 1 the discriminant itself has lost what the log-odds still tell.
    near = np.array([[1.0, 1e-25, 1e-30]])
    assert log_odds("b_c", near, kappa)[0] == pytest.approx(25 * np.log(10) - np.log(kappa))


def test_order_depends_on_ids_only() -> None:
    ids = np.arange(1000) * 7
    shuffled = np.random.default_rng(0).permutation(ids)
    np.testing.assert_array_equal(ids[order(ids, 3)], shuffled[order(shuffled, 3)])
    assert not np.array_equal(order(ids, 3), order(ids, 4))


def flavour(k: int, n: int, rng: np.random.Generator) -> FlavourJets:
    """Jets whose probabilities say their flavour and version, and weights of mean k + 2."""
    p = rng.dirichlet(np.ones(3), n)
    return FlavourJets(
        {RAW: p, CALIBRATED: p[:, ::-1].copy()},
        {"reweighted": rng.uniform(0, 2 * k + 4, n)},
    )


def test_regions_hold_the_chosen_jets_of_each_version() -> None:
    rng = np.random.default_rng(1)
    jets = [flavour(k, 50, rng) for k in range(3)]
    rows = [np.array([4, 2, 9]), np.array([1]), np.array([0, 7])]
    region = assemble("r", np.eye(3), jets, rows, np.arange(3))
    assert list(region.samples) == [RAW, CALIBRATED, DATA, "reweighted"]
    raw = np.concatenate([one.moved[RAW][r] for one, r in zip(jets, rows, strict=True)])
    np.testing.assert_array_equal(region.samples[RAW].p, raw)
    np.testing.assert_array_equal(region.samples[CALIBRATED].p, raw[:, ::-1])
    np.testing.assert_array_equal(region.counts, [3, 1, 2])
    np.testing.assert_array_equal(region.strata, [0, 1, 2])
    weights = region.samples["reweighted"].weights
    # Whatever the weights are, each flavour keeps its share of the region.
    assert [w.sum() for w in np.split(weights, [3, 4])] == pytest.approx([3.0, 1.0, 2.0])
    assert weights[0] / weights[1] == pytest.approx(
        jets[0].weights["reweighted"][4] / jets[0].weights["reweighted"][2]
    )


def test_variations_come_in_pairs() -> None:
    names = ["eigen1_up", "eigen1_down", "eigen2_down", "eigen2_up"]
    expected = [("eigen1_up", "eigen1_down"), ("eigen2_up", "eigen2_down")]
    assert pair_names(names, "variations.json") == expected
    with pytest.raises(InputError, match="eigen2_up' is missing"):
        pair_names(names[:3], "variations.json")


def test_lists_of_maps_notice_a_foreign_map(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"map")
    entry = {
        "variation": "a",
        "file": "a.safetensors",
        "sha256": sha256(tmp_path / "a.safetensors"),
    }
    write_json(tmp_path / "variations.json", {"maps": [entry]})
    assert variation_files(tmp_path / "variations.json") == {"a": tmp_path / "a.safetensors"}
    (tmp_path / "a.safetensors").write_bytes(b"another")
    with pytest.raises(InputError, match="not the map that"):
        variation_files(tmp_path / "variations.json")
    write_json(tmp_path / "variations.json", {"steps": []})
    with pytest.raises(InputError, match="not a list of maps"):
        variation_files(tmp_path / "variations.json")
