"""Distances to the target of source, calibrated and reweighted jets, as one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from otcal.closure.discriminants import log_ratio
from otcal.closure.jets import Sample, halves
from otcal.closure.metrics import ks_distance, ks_noise
from otcal.closure.reweighting import dilution
from otcal.config.closure import Discriminant, DistanceSpec
from otcal.samples.classes import CLASSES
from otcal.samples.latents import LAYERS
from otcal.transport.metrics import energy_distance, sliced_wasserstein

COLUMNS = ("space", "quantity", "sample", "metric", "value", "noise")


def ks_rows(
    samples: Mapping[str, Sample],
    weights: NDArray[np.float64],
    discriminants: Sequence[Discriminant],
    classes: Sequence[str] = CLASSES,
) -> list[dict[str, Any]]:
    """Return KS distances to the target of every physics discriminant and every logit.

    Parameters
    ----------
    samples
        `source`, `target` and `calibrated`, with z10.
    weights
        Weights of the source jets, which make the `reweighted` sample.
    discriminants
        Physics discriminants.
    classes
        Names of the logits.

    Returns
    -------
    list
        Rows of `COLUMNS` with metric `ks`; `noise` is the mean KS of two samples from one
        distribution at these sizes, for weighted jets at their effective number.
    """
    logits = {name: sample.columns["z10"] for name, sample in samples.items()}
    quantities = {
        ("discriminant", entry.name): {n: log_ratio(z, entry, classes) for n, z in logits.items()}
        for entry in discriminants
    }
    for i, name in enumerate(classes):
        quantities["logit", name] = {n: z[:, i] for n, z in logits.items()}

    effective = dilution(weights).rho * len(weights)
    versions: list[tuple[str, str, NDArray[np.float64] | None, float]] = [
        ("source", "source", None, len(weights)),
        ("calibrated", "calibrated", None, len(samples["calibrated"].jet_id)),
        ("reweighted", "source", weights, effective),
    ]
    size = len(samples["target"].jet_id)
    return [
        {
            "space": space,
            "quantity": quantity,
            "sample": label,
            "metric": "ks",
            "value": ks_distance(values[origin], values["target"], w),
            "noise": ks_noise(jets, size),
        }
        for (space, quantity), values in quantities.items()
        for label, origin, w, jets in versions
    ]


def layer_rows(
    samples: Mapping[str, Sample], spec: DistanceSpec, seed: int
) -> list[dict[str, Any]]:
    """Return sliced Wasserstein and energy distances to the target in every layer.

    Inputs are standardised on the target. All comparisons use equally many jets, the `floor` (one
    half of the target against the other) among them, so that it shows what finite samples give.

    Parameters
    ----------
    samples
        `source`, `target` and `calibrated`, with all layers.
    spec
        Number of jets and directions.
    seed
        Seed of the directions.

    Returns
    -------
    list
        Rows of `COLUMNS` with metrics `sliced_w2` and `energy`, the latter unbiased (it may be
        slightly negative); `noise` is NaN.
    """
    half, reference = halves(samples["target"])
    compared = {name: samples[name] for name in ("source", "calibrated")} | {"floor": half}
    jets = min(spec.jets, *(len(s.jet_id) for s in (*compared.values(), reference)))
    rows = []
    for layer in LAYERS:
        target = torch.from_numpy(reference.columns[layer][:jets].astype(np.float64))
        mean, scale = target.mean(0), target.std(0).clamp_min(1e-12)
        y = (target - mean) / scale
        for name, sample in compared.items():
            x = (torch.from_numpy(sample.columns[layer][:jets].astype(np.float64)) - mean) / scale
            values = {
                "sliced_w2": sliced_wasserstein(x, y, spec.directions, seed),
                "energy": energy_distance(x, y),
            }
            rows += [
                {
                    "space": layer,
                    "quantity": "all",
                    "sample": name,
                    "metric": metric,
                    "value": value,
                    "noise": np.nan,
                }
                for metric, value in values.items()
            ]
    return rows


def distance_table(
    samples: Mapping[str, Sample],
    weights: NDArray[np.float64],
    discriminants: Sequence[Discriminant],
    spec: DistanceSpec,
    seed: int,
    classes: Sequence[str] = CLASSES,
) -> pd.DataFrame:
    """Return `ks_rows` and `layer_rows` as one table with the columns `COLUMNS`."""
    rows = ks_rows(samples, weights, discriminants, classes) + layer_rows(samples, spec, seed)
    return pd.DataFrame(rows, columns=list(COLUMNS))
