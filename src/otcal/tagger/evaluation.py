"""How well the tagger separates the classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import log_softmax

from otcal.closure.metrics import auc, roc
from otcal.runtime.errors import InputError

REST = "rest"
"""Background of all other classes together."""

_GRID = np.linspace(0, 1, 201)
_WORKING_POINTS = (0.3, 0.5, 0.8)


def scores(
    logits: NDArray[np.float32], labels: NDArray[np.int8], signal: int, background: int | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the tagger's best score for a class, of the background's and of the signal's jets.

    Parameters
    ----------
    logits, labels
        Outputs and classes of N jets, (N, C) and (N,).
    signal
        Label of the class.
    background
        Label of another class, for log(p_signal / p_background); None for all other classes, and
        log(p_signal / (1 - p_signal)).
    """
    log_p = log_softmax(logits.astype(np.float64), axis=1)
    if background is not None:
        score = log_p[:, signal] - log_p[:, background]
        return score[labels == background], score[labels == signal]
    score = log_p[:, signal] - np.logaddexp.reduce(np.delete(log_p, signal, axis=1), axis=1)
    return score[labels != signal], score[labels == signal]


def require_backgrounds(
    backgrounds: Sequence[str], classes: Sequence[str], where: str | Path
) -> None:
    """Raise `InputError` when a background is no class of the tagger in file `where`."""
    for name in backgrounds:
        if name not in classes:
            raise InputError(
                where,
                "classes",
                f"has no '{name}', which backgrounds asks for",
                f"Take backgrounds among: {', '.join(classes)}",
            )


def curves(
    logits: NDArray[np.float32],
    labels: NDArray[np.int8],
    classes: Sequence[str],
    backgrounds: Sequence[str],
) -> pd.DataFrame:
    """Return the ROC curve of each class.

    Returns
    -------
    DataFrame
        Columns `class`, `signal_efficiency`, `background_efficiency` (against all other classes)
        and, for each background, its name in lower case with ``_efficiency``, such as
        `qcd_efficiency` (empty for the background itself).
    """
    columns = {name: f"{name.lower()}_efficiency" for name in backgrounds}
    tables = []
    for label, name in enumerate(classes):
        table = pd.DataFrame({"class": name, "signal_efficiency": _GRID})
        for against, column in ({REST: "background_efficiency"} | columns).items():
            if name == against:
                table[column] = np.nan
                continue
            background, signal = _pair(logits, labels, classes, label, against)
            table[column] = roc(signal, background, _GRID)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def metrics(
    logits: NDArray[np.float32],
    labels: NDArray[np.int8],
    classes: Sequence[str],
    backgrounds: Sequence[str],
) -> dict[str, Any]:
    """Return the figures of merit of N jets.

    Returns
    -------
    dict
        `jets`, `accuracy`, its standard deviation, cross-entropy per jet (`loss`); `auc` with
        `auc_std` (DeLong) per background (``rest`` and each of `backgrounds`) and class, their
        mean against the rest (`auc_mean`); `rejection`, the inverse efficiency of the first
        background at signal efficiencies in percent (absent where none of its jets passes).
    """
    count = len(labels)
    log_p = log_softmax(logits.astype(np.float64), axis=1)
    accuracy = float(np.mean(logits.argmax(axis=1) == labels))
    result: dict[str, Any] = {
        "jets": count,
        "accuracy": accuracy,
        "accuracy_std": float(np.sqrt(accuracy * (1 - accuracy) / count)),
        "loss": float(-np.mean(log_p[np.arange(count), labels])),
        "auc": {name: {} for name in (REST, *backgrounds)},
        "auc_std": {name: {} for name in (REST, *backgrounds)},
        "rejection": {},
    }
    for label, name in enumerate(classes):
        for against in (REST, *backgrounds):
            if name == against:
                continue
            background, signal = _pair(logits, labels, classes, label, against)
            area = auc(background, signal)
            result["auc"][against][name] = area.mean
            result["auc_std"][against][name] = area.stat
            if against == backgrounds[0]:
                result["rejection"][name] = _rejections(background, signal)
    result["auc_mean"] = float(np.mean(list(result["auc"][REST].values())))
    return result


def confusion(
    logits: NDArray[np.float32], labels: NDArray[np.int8], classes: Sequence[str]
) -> pd.DataFrame:
    """Count jets by true and most probable class.

    Returns
    -------
    DataFrame
        Columns `true`, `predicted`, `jets`, and their `share` of the true class.
    """
    size = len(classes)
    pairs = labels.astype(np.int64) * size + logits.argmax(axis=1)
    jets = np.bincount(pairs, minlength=size**2).reshape(size, size)
    return pd.DataFrame(
        {
            "true": np.repeat(classes, size),
            "predicted": np.tile(classes, size),
            "jets": jets.reshape(-1),
            "share": (jets / jets.sum(axis=1, keepdims=True)).reshape(-1),
        }
    )


def _pair(
    logits: NDArray[np.float32],
    labels: NDArray[np.int8],
    classes: Sequence[str],
    signal: int,
    against: str,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return scores(logits, labels, signal, None if against == REST else classes.index(against))


def _rejections(background: NDArray[np.float64], signal: NDArray[np.float64]) -> dict[str, float]:
    ordered = np.sort(signal)[::-1]
    result = {}
    for efficiency in _WORKING_POINTS:
        threshold = ordered[int(np.ceil(efficiency * len(signal))) - 1]
        passing = int((background >= threshold).sum())
        if passing:
            result[f"at{100 * efficiency:.0f}"] = len(background) / passing
    return result
