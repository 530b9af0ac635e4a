"""Closure of several maps in bins of a column of the jets."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from otcal.closure.jets import Sample, halves
from otcal.config.closure import BinsSpec
from otcal.transport.fitted import TransportMap
from otcal.transport.metrics import energy

COLUMNS = ("low", "high", "map", "energy", "error", "source_jets", "target_jets")

Array = NDArray[np.float32]


def bin_rows(
    source: Sample,
    target: Sample,
    maps: Mapping[str, TransportMap],
    binned: list[TransportMap],
    spec: BinsSpec,
) -> list[dict[str, Any]]:
    """Return the energy distance to the target of moved jets, in each bin and in all.

    Of each bin, one half of the target is what is compared with; layers are standardised on it.
    The other half stands for a map without a fault (`floor`), the jets before any map for `source`.
    Distances are unbiased, so that they may be slightly negative.

    Parameters
    ----------
    source, target
        Jets that no map has seen, with the layer and the bins' column.
    maps
        Maps of all jets by name; with one condition, it is the bins' column.
    binned
        A map of each bin's jets alone, which together are called `binned`.
    spec
        Bins, layer, and most jets of a sample in a distance.

    Returns
    -------
    list
        Rows of `COLUMNS`; `error` is the standard error of first order, jets are those compared.
    """
    column, edges = spec.bins.column, list(pairwise(spec.bins.edges))
    moved = {"source": source.columns[spec.layer]}
    for name, one in maps.items():
        moved[name] = _moved(one, source, spec)
    moved["binned"] = moved["source"].copy()
    for (low, high), one in zip(edges, binned, strict=True):
        rows = _inside(source, column, low, high)
        moved["binned"][rows] = _moved(one, source.take(rows), spec)
    whole = (spec.bins.edges[0], spec.bins.edges[-1])
    found: list[dict[str, Any]] = []
    for low, high in (*edges, whole):
        rows = _inside(source, column, low, high)
        other, reference = halves(target.take(_inside(target, column, low, high)))
        y = reference.columns[spec.layer]
        compared = {name: values[rows] for name, values in moved.items()}
        compared["floor"] = other.columns[spec.layer]
        jets = min(spec.distances.jets, len(y), *(len(x) for x in compared.values()))
        found += [
            {"low": low, "high": high, "map": name, **_distance(x[:jets], y[:jets])}
            for name, x in compared.items()
        ]
    return found


def _distance(x: Array, y: Array) -> dict[str, float]:
    """Return the energy distance in units of the reference's spread, with its error."""
    mean, scale = y.mean(0), np.maximum(y.std(0), 1e-12)
    a, b = (torch.from_numpy(((z - mean) / scale).astype(np.float64)) for z in (x, y))
    found = energy(a, b)
    variance = found.sample.var() / len(a) + found.reference.var() / len(b)
    return {
        "energy": found.value,
        "error": float(variance.sqrt()),
        "source_jets": len(a),
        "target_jets": len(b),
    }


def _moved(one: TransportMap, sample: Sample, spec: BinsSpec) -> Array:
    given = sample.columns[spec.bins.column][:, None] if one.conditions else None
    return np.asarray(one.transport(sample.columns[spec.layer], given))


def _inside(sample: Sample, column: str, low: float, high: float) -> NDArray[np.bool_]:
    values = sample.columns[column]
    return np.asarray((values >= low) & (values < high))
