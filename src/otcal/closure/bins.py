"""Closure of several maps in bins of columns of the jets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from otcal.closure.jets import Sample, halves
from otcal.config.bins import Bin, Bins, bin_columns, named_bins
from otcal.config.closure import MIN_JETS
from otcal.runtime.errors import InputError
from otcal.samples import splits
from otcal.transport.fitted import TransportMap
from otcal.transport.metrics import energy

COLUMNS = ("column", "low", "high", "map", "energy", "error", "source_jets", "target_jets")

_ORDER_SALT = 103

Array = NDArray[np.float32]


def bin_rows(
    source: Sample,
    target: Sample,
    maps: Mapping[str, TransportMap],
    binned: list[TransportMap],
    bins: Bins,
    layer: str,
    most: int,
) -> list[dict[str, Any]]:
    """Return the energy distance to the target of moved jets, in each bin and in all of a column.

    Of each bin, one half of the target is what is compared with; layers are standardised on it.
    The other half stands for a map without a fault (`floor`), the jets before any map for `source`.
    Distances are unbiased, so that they may be slightly negative.

    Parameters
    ----------
    source, target
        Jets that no map has seen, with the layer and the columns of the bins.
    maps
        Maps of all jets by name; conditions, if they have any, are the columns of the bins.
    binned
        A map of each bin's jets alone, in the order of `otcal.config.bins.named_bins`; those of a
        column together are called `binned`.
    bins
        Columns and edges.
    layer
        What the maps move.
    most
        Jets of a sample in a distance at most: its cost is their square.

    Returns
    -------
    list
        Rows of `COLUMNS`; `error` is the standard error of first order, jets are those compared,
        the first ones in an order by their ids.
    """
    given = bin_columns(bins)
    moved = {"source": source.columns[layer]}
    for name, one in maps.items():
        moved[name] = _moved(one, source, layer, given)
    own = dict(zip(named_bins(bins).values(), binned, strict=True))
    order = _shuffled(source)
    found: list[dict[str, Any]] = []
    for block in bins:
        parts = [part for part in own if part.column == block.column]
        moved["binned"] = moved["source"].copy()
        for part in parts:
            inside = _inside(source, part)
            moved["binned"][inside] = _moved(own[part], source.take(inside), layer, given)
        for part in (*parts, Bin(block.column, block.edges[0], block.edges[-1])):
            rows = order[_inside(source, part)[order]]
            halved = halves(target.take(_inside(target, part)))
            other, reference = (half.columns[layer][_shuffled(half)] for half in halved)
            jets = min(most, len(rows), len(other), len(reference))
            compared = {name: values[rows[:jets]] for name, values in moved.items()}
            compared["floor"] = other[:jets]
            found += [
                {**part._asdict(), "map": name, **_distance(x, reference[:jets])}
                for name, x in compared.items()
            ]
    return found


def _shuffled(sample: Sample) -> NDArray[np.int64]:
    """Return the rows in an order of their ids: files may hold one process after the other."""
    return np.argsort(splits.uniform(sample.jet_id, _ORDER_SALT), kind="stable")


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


def require_jets(path: str | Path, sample: Sample, bins: Bins, setting: str) -> None:
    """Raise an `InputError` when a bin has too few jets for a distance and a floor."""
    for block in bins:
        values = pd.Series(sample.columns[block.column])
        counts = pd.cut(values, list(block.edges), right=False).value_counts(sort=False)
        poor = counts[counts < 4 * MIN_JETS]
        if len(poor):
            raise InputError(
                path,
                block.column,
                f"only {poor.iloc[0]} held-out jets are in the bin {poor.index[0]}",
                f"Merge bins in {setting}, or simulate more jets",
            )


def _moved(one: TransportMap, sample: Sample, layer: str, names: Sequence[str]) -> Array:
    given = np.column_stack([sample.columns[name] for name in names]) if one.conditions else None
    return np.asarray(one.transport(sample.columns[layer], given))


def _inside(sample: Sample, part: Bin) -> NDArray[np.bool_]:
    values = sample.columns[part.column]
    return np.asarray((values >= part.low) & (values < part.high))
