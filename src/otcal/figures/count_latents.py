"""Histograms of latents, outputs and discriminants, counted row group by row group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otcal.closure.discriminants import log_ratio, title
from otcal.config.tabulation import LatentTablesSpec
from otcal.figures import tables
from otcal.figures.components import PrincipalAxes
from otcal.figures.histograms import Histogram
from otcal.figures.tables import Marginals, Pairs
from otcal.runtime.errors import InputError
from otcal.samples import splits
from otcal.samples.classes import title as class_title
from otcal.samples.latents import iterate_latents, kind_of, labels_of
from otcal.samples.tables import row_count, to_numpy

REFERENCE = "target"
REWEIGHTED = "reweighted"

# Makes the jets that set the axes independent of the calibration split.
_RANGE_SALT = 301

Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class LatentHistograms:
    """What the steps write: principal components of z128, outputs z'10, discriminants."""

    components: Marginals
    component_pairs: Pairs
    outputs: Marginals
    output_pairs: Pairs
    discriminants: Marginals


def count(files: dict[str, Path], weights: Path, spec: LatentTablesSpec) -> LatentHistograms:
    """Count the jets of the spec's split and classes.

    Components are those of the target's z128, whitened by the target; axes span
    all samples but for `spec.tail` at each end. The sample `reweighted` is the source with the
    weights of the vertical baseline, for the jets that have one.

    Parameters
    ----------
    files
        Latents of each sample, `source` and `target` among them.
    weights
        Parquet table of `jet_id` and `weight`.
    spec
        Bins, and which jets to count.

    Raises
    ------
    InputError
        For an unreadable file, a sample without jets, or weights of other jets.
    """
    axes = _axes(files[REFERENCE], spec)
    classes = kind_of(files[REFERENCE]).classes
    for entry in spec.discriminants:
        labels_of(files[REFERENCE], (*entry.signal, *entry.background))
    drawers = _variables(axes, spec, classes)
    ranges = _ranges(files, drawers, spec)
    result = _empty(axes, spec, classes)
    lookup = _Weights(weights)
    for sample, path in files.items():
        total = 0
        for piece in _pieces(path, ["jet_id", "z128", "z10"], spec):
            total += len(piece["jet_id"])
            values = {name: function(piece) for name, function in drawers.items()}
            _fill(result, ranges, values, sample, None, spec)
            if sample == "source":
                found, weight = lookup(piece["jet_id"])
                kept = {name: value[found] for name, value in values.items()}
                _fill(result, ranges, kept, REWEIGHTED, weight, spec)
        if total == 0:
            raise InputError(
                path, spec.split, f"has no jets of {', '.join(spec.classes)}", "Simulate more jets"
            )
    lookup.check()
    return result


class _Weights:
    """Finds the weights of jets, and notices when there are none."""

    def __init__(self, path: Path) -> None:
        table = tables.read(path, ["jet_id", "weight"])
        order = np.argsort(table["jet_id"], kind="stable")
        self.path, self.found = path, 0
        self.jet_id, self.weight = table["jet_id"][order], table["weight"][order]

    def __call__(self, jet_id: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[Any]]:
        """Return which jets have a weight (N,), and the weights of those."""
        place = np.minimum(np.searchsorted(self.jet_id, jet_id), len(self.jet_id) - 1)
        found = self.jet_id[place] == jet_id
        self.found += int(found.sum())
        return found, self.weight[place[found]]

    def check(self) -> None:
        if self.found == 0:
            raise InputError(
                self.path, "jet_id", "has no jet of the source", "Make it again from this source"
            )


def _pieces(path: Path, columns: list[str], spec: LatentTablesSpec) -> Iterator[Columns]:
    """Yield arrays of the jets of the spec's split and classes."""
    labels = labels_of(path, spec.classes)
    wanted = list(dict.fromkeys(["jet_id", "label", *columns]))
    for table in iterate_latents(path, wanted):
        keep = splits.select(to_numpy(table["jet_id"]), spec.fractions, spec.split)
        keep &= np.isin(to_numpy(table["label"]), labels)
        yield {name: to_numpy(table[name])[keep] for name in columns}


def _axes(path: Path, spec: LatentTablesSpec) -> PrincipalAxes:
    try:
        return PrincipalAxes.fit(
            (piece["z128"] for piece in _pieces(path, ["z128"], spec)), spec.components
        )
    except ValueError as error:
        remedy = "Give more jets, or lower tables.latents.components"
        raise InputError(path, "z128", str(error), remedy) from None


def _component(number: int) -> str:
    return f"pc{number + 1}"


def _variables(
    axes: PrincipalAxes, spec: LatentTablesSpec, classes: Sequence[str]
) -> dict[str, Any]:
    """Return the functions from a piece to groups of variables, (N, K) each."""
    return {
        "components": lambda piece: axes.project(piece["z128"]),
        "outputs": lambda piece: piece["z10"].astype(np.float64),
        "discriminants": lambda piece: np.stack(
            [log_ratio(piece["z10"], entry, classes) for entry in spec.discriminants], axis=1
        ),
    }


def _ranges(
    files: dict[str, Path], drawers: dict[str, Any], spec: LatentTablesSpec
) -> dict[str, NDArray[np.float64]]:
    """Return the ends of the axes of each group of variables, (K, 2)."""
    ends: dict[str, list[NDArray[np.float64]]] = {name: [] for name in drawers}
    for path in files.values():
        share = spec.range_jets / max(row_count(path), 1)
        seen: dict[str, list[NDArray[np.float64]]] = {name: [] for name in drawers}
        for piece in _pieces(path, ["jet_id", "z128", "z10"], spec):
            chosen = splits.uniform(piece["jet_id"], _RANGE_SALT) < share
            taken = {name: values[chosen] for name, values in piece.items()}
            for name, function in drawers.items():
                seen[name].append(function(taken))
        for name, parts in seen.items():
            values = np.concatenate(parts)
            if len(values):
                ends[name].append(np.quantile(values, [spec.tail, 1.0 - spec.tail], axis=0))
    result = {}
    for name, pairs in ends.items():
        low, high = (np.stack(pairs)[:, end] for end in (0, 1))
        low, high = low.min(axis=0), high.max(axis=0)
        # A constant variable gets an axis of unit length around its value.
        flat = high - low < 1e-6 * np.maximum(1.0, np.abs(high))
        result[name] = np.stack([low - 0.5 * flat, high + 0.5 * flat], axis=1)
    return result


def _empty(axes: PrincipalAxes, spec: LatentTablesSpec, classes: Sequence[str]) -> LatentHistograms:
    components = {
        _component(k): f"PC {k + 1} ({100 * share:.2g} %)" for k, share in enumerate(axes.shares)
    }
    outputs = {name: class_title(name) for name in classes}
    discriminants = {entry.name: title(entry) for entry in spec.discriminants}
    return LatentHistograms(
        Marginals({}, components), {}, Marginals({}, outputs), {}, Marginals({}, discriminants)
    )


def _fill(
    result: LatentHistograms,
    ranges: dict[str, NDArray[np.float64]],
    values: dict[str, NDArray[np.float64]],
    sample: str,
    weights: NDArray[np.float64] | None,
    spec: LatentTablesSpec,
) -> None:
    groups: list[tuple[str, Marginals, Pairs | None, int]] = [
        ("components", result.components, result.component_pairs, spec.corner_bins),
        ("outputs", result.outputs, result.output_pairs, spec.logit_bins),
        ("discriminants", result.discriminants, None, spec.discriminant_bins),
    ]
    for group, marginals, pairs, bins in groups:
        names = list(marginals.titles)
        edges = [np.linspace(low, high, bins + 1) for low, high in ranges[group]]
        for k, name in enumerate(names):
            histogram = marginals.histograms.setdefault((name, sample), Histogram.empty(edges[k]))
            histogram.fill(values[group][:, k], weights=weights)
        # Corner plots compare unweighted samples only.
        if pairs is None or weights is not None:
            continue
        corner = [np.linspace(low, high, spec.corner_bins + 1) for low, high in ranges[group]]
        for i, j in combinations(range(len(names)), 2):
            pair = pairs.setdefault(
                (names[i], names[j], sample), Histogram.empty(corner[i], corner[j])
            )
            pair.fill(values[group][:, i], values[group][:, j])
