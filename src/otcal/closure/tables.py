"""Small tables of all discriminators: AUC, ROC curves, score histograms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from otcal.closure.jets import SAMPLES
from otcal.closure.metrics import roc
from otcal.closure.scores import Scores, read_scores
from otcal.runtime.errors import InputError
from otcal.runtime.files import read_json
from otcal.samples.latents import LAYERS

EVALUATION_ORDER = ("nominal", "calibrated", "retrained", "floor")
MODEL_ORDER = ("mlp", "linear")


@dataclass(frozen=True)
class Outcome:
    """What `train_discriminator` wrote for one layer, training and model."""

    layer: str
    training: str
    model: str
    evaluations: dict[str, dict[str, Any]]
    scores: Scores


def read_outcomes(results: Sequence[Path], scores: Sequence[Path]) -> list[Outcome]:
    """Read result files (JSON) and the score files (Parquet) with the same stems.

    Raises
    ------
    InputError
        When a result has no score file, is foreign, or two results are for the same task.
    """
    by_stem = {path.stem: path for path in scores}
    outcomes: dict[tuple[str, str, str], Outcome] = {}
    for path in results:
        if path.stem not in by_stem:
            raise InputError(
                path, "--scores", f"no file named {path.stem}.parquet", "Add it to --scores"
            )
        content = read_json(path)
        try:
            key = content["layer"], content["training"], content["model"]
            outcome = Outcome(*key, content["evaluations"], read_scores(by_stem[path.stem]))
        except (KeyError, TypeError) as error:
            raise InputError(
                path, str(error), "is not in the file", "Pass a result of train_discriminator"
            ) from None
        if key in outcomes:
            raise InputError(path, " ".join(key), "appears twice", "Pass each result once")
        outcomes[key] = outcome
    order = {name: i for i, name in enumerate((*LAYERS, *EVALUATION_ORDER, *MODEL_ORDER))}
    return [outcomes[key] for key in sorted(outcomes, key=lambda key: [order[k] for k in key])]


def auc_table(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """Return one row per layer, evaluation and model.

    Columns: layer, evaluation, model; auc, std (mean and sample standard deviation over fits), stat
    (DeLong, of the mean); fits, n_other, n_target (evaluated jets); auc_fit0, auc_fit1, ...
    """
    rows = []
    for outcome in outcomes:
        for evaluation, content in outcome.evaluations.items():
            per_fit = content["per_fit"]
            rows.append(
                {
                    **_key(outcome, evaluation),
                    **{name: content[name] for name in ("auc", "std", "stat")},
                    "fits": len(per_fit),
                    "n_other": outcome.scores.of(content["other"]).shape[1],
                    "n_target": outcome.scores.of("target").shape[1],
                    **{f"auc_fit{i}": value for i, value in enumerate(per_fit)},
                }
            )
    return pd.DataFrame(rows)


def roc_table(outcomes: Sequence[Outcome], points: int) -> pd.DataFrame:
    """Return the ROC curves on a common grid.

    Columns: layer, evaluation, model, fpr (share of the other sample above threshold), tpr and
    tpr_std (mean and sample standard deviation over fits of the share of target above it).
    """
    grid = np.linspace(0.0, 1.0, points)
    tables = []
    for outcome in outcomes:
        target = outcome.scores.of("target")
        for evaluation, content in outcome.evaluations.items():
            other = outcome.scores.of(content["other"])
            curves = np.stack([roc(x, y, grid) for x, y in zip(other, target, strict=True)])
            spread = curves.std(axis=0, ddof=1) if len(curves) > 1 else np.zeros(points)
            columns = {"fpr": grid, "tpr": curves.mean(axis=0), "tpr_std": spread}
            tables.append(pd.DataFrame({**_key(outcome, evaluation), **columns}))
    return pd.concat(tables, ignore_index=True)


def score_table(scores: Scores, bins: int) -> pd.DataFrame:
    """Return histograms of the mean score over fits of source, target and calibrated jets.

    [MTG] Fig. 4(b). Columns: quantity (`logit`, or `probability` = its sigmoid), sample, low, high
    (bin edges), density (normalised to one), error (statistical, of the density), count. The range
    of the logit holds the central 99.8 % of source and target; its outer bins take the rest.
    """
    samples = [
        name for name in ("source", "target", "calibrated") if SAMPLES.index(name) in scores.sample
    ]
    logits = {name: scores.of(name).mean(axis=0, dtype=np.float64) for name in samples}
    both = np.concatenate([logits["source"], logits["target"]])
    low, high = np.quantile(both, [0.001, 0.999])
    edges = {
        "logit": np.linspace(low, max(high, np.nextafter(low, np.inf)), bins + 1),
        "probability": np.linspace(0.0, 1.0, bins + 1),
    }
    tables = []
    for quantity, bounds in edges.items():
        for name, values in logits.items():
            x = values if quantity == "logit" else expit(values)
            columns = _histogram(np.clip(x, bounds[0], bounds[-1]), bounds)
            tables.append(pd.DataFrame({"quantity": quantity, "sample": name, **columns}))
    return pd.concat(tables, ignore_index=True)


def _histogram(x: NDArray[Any], edges: NDArray[np.float64]) -> Mapping[str, NDArray[Any]]:
    count, _ = np.histogram(x, edges)
    unit = len(x) * np.diff(edges)
    return {
        "low": edges[:-1],
        "high": edges[1:],
        "density": count / unit,
        "error": np.sqrt(count) / unit,
        "count": count,
    }


def _key(outcome: Outcome, evaluation: str) -> dict[str, str]:
    return {"layer": outcome.layer, "evaluation": evaluation, "model": outcome.model}
