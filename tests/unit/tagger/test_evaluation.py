from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import confusion_matrix, log_loss, roc_auc_score

from otcal.runtime.errors import InputError
from otcal.samples.classes import CLASSES
from otcal.tagger import evaluation

QCD = ("QCD",)
FLAVOURS = ("b", "c", "light")


def toy(classes: int, n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Return logits of a tagger with something to tell, and the labels."""
    rng = np.random.default_rng(0)
    labels = (np.arange(n) % classes).astype(np.int8)
    logits = rng.normal(0, 1, (n, classes)).astype(np.float32)
    logits[np.arange(n), labels] += 1.5
    return logits, labels


@pytest.fixture(scope="module")
def sample():
    return toy(10)


def test_metrics_are_scikit_learns(sample) -> None:
    logits, labels = sample
    p = softmax(logits.astype(np.float64), axis=1)
    result = evaluation.metrics(logits, labels, CLASSES, QCD)
    assert result["jets"] == 4000
    assert result["accuracy"] == np.mean(p.argmax(1) == labels)
    assert result["loss"] == pytest.approx(log_loss(labels, p))
    for label, name in enumerate(CLASSES):
        expected = roc_auc_score(labels == label, p[:, label])
        assert result["auc"]["rest"][name] == pytest.approx(expected, abs=1e-9)
        if label == 0:
            assert name not in result["auc"]["QCD"]
            continue
        pair = (labels == label) | (labels == 0)
        expected = roc_auc_score(labels[pair] == label, (p[:, label] / p[:, 0])[pair])
        assert result["auc"]["QCD"][name] == pytest.approx(expected, abs=1e-9)


def test_uncertainty_of_the_auc_is_the_spread_of_repetitions() -> None:
    areas, quoted = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        labels = (np.arange(600) % 2).astype(np.int8)
        logits = np.zeros((600, 2), dtype=np.float32)
        logits[:, 1] = rng.normal(labels, 1)
        result = evaluation.metrics(logits, labels, ("QCD", "Hbb"), QCD)
        areas.append(result["auc"]["QCD"]["Hbb"])
        quoted.append(result["auc_std"]["QCD"]["Hbb"])
    # Φ(1/√2), for two unit Gaussians one apart
    assert np.mean(areas) == pytest.approx(0.7602, abs=0.01)
    assert np.mean(quoted) == pytest.approx(np.std(areas, ddof=1), rel=0.25)


def test_curves_enclose_the_areas(sample) -> None:
    logits, labels = sample
    curves = evaluation.curves(logits, labels, CLASSES, QCD)
    areas = evaluation.metrics(logits, labels, CLASSES, QCD)["auc"]
    for name, curve in curves.groupby("class", sort=False):
        x = curve["signal_efficiency"].to_numpy()
        for column, against in (("background_efficiency", "rest"), ("qcd_efficiency", "QCD")):
            y = curve[column].to_numpy()
            if name == against:
                assert np.isnan(y).all()
                continue
            assert (np.diff(y) >= 0).all()
            assert 1 - np.trapezoid(y, x) == pytest.approx(areas[against][name], abs=0.005)
    assert list(curves["class"].unique()) == list(CLASSES)


def test_rejection_counts_the_jets_above_the_threshold() -> None:
    labels = np.array([1] * 10 + [0] * 10, dtype=np.int8)
    logits = np.zeros((20, 2), dtype=np.float32)
    logits[:10, 1] = np.arange(1, 11)  # signal scores 1 to 10
    logits[10:, 1] = np.r_[5.5, 7.5, 7.7, np.zeros(7)]
    result = evaluation.metrics(logits, labels, ("QCD", "Hbb"), QCD)["rejection"]
    # 30 %: above 8, none; 50 %: above 6, two of ten; 80 %: above 3, three of ten
    assert result == {"Hbb": {"at50": 5.0, "at80": pytest.approx(10 / 3)}}


def test_confusion_is_scikit_learns(sample) -> None:
    logits, labels = sample
    table = evaluation.confusion(logits, labels, CLASSES)
    expected = confusion_matrix(labels, logits.argmax(1), labels=range(10))
    matrix = table.pivot(index="true", columns="predicted", values="jets").loc[
        list(CLASSES), list(CLASSES)
    ]
    np.testing.assert_array_equal(matrix.to_numpy(), expected)
    np.testing.assert_allclose(table.groupby("true")["share"].sum(), 1)


def test_flavours_are_measured_one_against_one() -> None:
    logits, labels = toy(3)
    p = softmax(logits.astype(np.float64), axis=1)
    result = evaluation.metrics(logits, labels, FLAVOURS, ("light", "c"))
    assert {against: set(areas) for against, areas in result["auc"].items()} == {
        "rest": {"b", "c", "light"},
        "light": {"b", "c"},
        "c": {"b", "light"},
    }
    for against in ("light", "c"):
        other = FLAVOURS.index(against)
        for name, area in result["auc"][against].items():
            label = FLAVOURS.index(name)
            pair = (labels == label) | (labels == other)
            score = np.log(p[:, label] / p[:, other])[pair]
            assert area == pytest.approx(roc_auc_score(labels[pair] == label, score), abs=1e-9)
    assert result["auc"]["c"]["light"] == pytest.approx(result["auc"]["light"]["c"], abs=1e-12)
    assert set(result["rejection"]) == {"b", "c"}  # of the first background, light


def test_curves_of_each_background_are_columns() -> None:
    logits, labels = toy(3)
    curves = evaluation.curves(logits, labels, FLAVOURS, ("light", "c"))
    assert list(curves.columns) == [
        *("class", "signal_efficiency", "background_efficiency"),
        *("light_efficiency", "c_efficiency"),
    ]
    assert list(curves["class"].unique()) == list(FLAVOURS)
    areas = evaluation.metrics(logits, labels, FLAVOURS, ("light", "c"))["auc"]
    for name, curve in curves.groupby("class"):
        for against in ("light", "c"):
            y = curve[f"{against}_efficiency"].to_numpy()
            if name == against:
                assert np.isnan(y).all()
            else:
                area = 1 - np.trapezoid(y, curve["signal_efficiency"])
                assert area == pytest.approx(areas[against][name], abs=0.005)


def test_a_background_that_is_no_class_is_named() -> None:
    evaluation.require_backgrounds(("light", "c"), FLAVOURS, "tagger.safetensors")
    message = r"tagger\.safetensors: classes: has no 'QCD'.*among: b, c, light"
    with pytest.raises(InputError, match=message):
        evaluation.require_backgrounds(QCD, FLAVOURS, "tagger.safetensors")
