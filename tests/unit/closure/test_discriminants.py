from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from otcal.closure.discriminants import log_ratio, title
from otcal.config.closure import DISCRIMINANTS, Discriminant
from otcal.samples.classes import CLASSES


@pytest.mark.parametrize("discriminant", DISCRIMINANTS, ids=lambda d: d.name)
def test_log_ratio_is_the_ratio_of_summed_probabilities(discriminant: Discriminant) -> None:
    logits = np.random.default_rng(1).normal(scale=3.0, size=(500, 10))
    p = softmax(logits, axis=1)
    signal = sum(p[:, CLASSES.index(name)] for name in discriminant.signal)
    background = sum(p[:, CLASSES.index(name)] for name in discriminant.background)
    np.testing.assert_allclose(log_ratio(logits, discriminant), np.log(signal / background))


def test_log_ratio_is_finite_where_probabilities_underflow() -> None:
    logits = np.zeros((2, 10), dtype=np.float32)
    logits[0, CLASSES.index("Hbb")] = 900.0
    logits[1, CLASSES.index("QCD")] = 900.0
    found = log_ratio(logits, DISCRIMINANTS[0])
    np.testing.assert_allclose(found, [900.0 - np.log(3.0), -900.0])


def test_log_ratio_ignores_what_the_softmax_ignores() -> None:
    logits = np.random.default_rng(2).normal(size=(50, 10))
    moved = log_ratio(logits + 7.0, DISCRIMINANTS[2])
    np.testing.assert_allclose(moved, log_ratio(logits, DISCRIMINANTS[2]), atol=1e-12)


def test_log_ratio_refuses_another_number_of_classes() -> None:
    with pytest.raises(ValueError, match=r"\(N, 10\)"):
        log_ratio(np.zeros((4, 3)), DISCRIMINANTS[0])


def test_the_default_set_is_the_papers_and_the_authors() -> None:
    sets = {d.name: (d.signal, d.background) for d in DISCRIMINANTS}
    multijet_and_top = ("QCD", "Tbqq", "Tbl")
    assert sets["Hbb"] == (("Hbb",), multijet_and_top)
    assert sets["Hcc"] == (("Hcc",), multijet_and_top)
    assert sets["HbbHcc"] == (("Hbb", "Hcc"), multijet_and_top)
    pairs = {pair for pair in sets.values() if len(pair[0]) == len(pair[1]) == 1}
    assert pairs == {
        (("Tbqq",), ("QCD",)),
        (("Hbb",), ("QCD",)),
        (("Hcc",), ("QCD",)),
        (("Hcc",), ("Tbqq",)),
    }


def test_title_writes_sums_in_brackets() -> None:
    assert title(Discriminant(name="x", signal=("Hbb",), background=("QCD", "Tbl"))) == (
        r"$\ln\,p_{H\to b\bar b}/(p_{q/g}+p_{t\to b\ell\nu})$"
    )


def test_title_names_classes_of_other_taggers() -> None:
    other = Discriminant(name="x", signal=("h_bb",), background=("multijet",))
    assert title(other) == r"$\ln\,p_{\mathrm{h\_bb}}/p_{\mathrm{multijet}}$"


def test_classes_of_other_taggers_are_in_their_own_order() -> None:
    logits = np.array([[0.3, -1.0, 2.0]])
    other = Discriminant(name="x", signal=("top",), background=("multijet",))
    assert log_ratio(logits, other, ("multijet", "h_bb", "top"))[0] == pytest.approx(1.7)
    with pytest.raises(ValueError, match="not in list"):
        log_ratio(logits, other, ("a", "b", "c"))
    with pytest.raises(ValueError, match=r"\(N, 2\)"):
        log_ratio(logits, other, ("top", "multijet"))


@pytest.mark.parametrize("classes", [("Hbb", "Hbb"), ()])
def test_repeated_classes_are_refused(classes: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="signal"):
        Discriminant(name="x", signal=classes, background=("QCD",))
