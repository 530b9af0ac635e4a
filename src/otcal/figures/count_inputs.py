"""Histograms of the tagger's inputs, counted row group by row group."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from otcal.config.tabulation import InputTables
from otcal.figures.features import Feature, constituent, jet
from otcal.figures.histograms import Histogram
from otcal.figures.tables import Marginals
from otcal.runtime.errors import InputError
from otcal.samples.classes import CLASSES
from otcal.samples.jets import iterate_jets
from otcal.samples.tables import ROW_GROUP
from otcal.tagger.constituents import (
    CHARGED_ONLY,
    NEUTRAL_HADRON,
    PHOTON,
    Jets,
    columns,
    from_table,
)
from otcal.tagger.preprocessing import Preprocessing
from otcal.tagger.quantiles import QuantileNormal

JET_FEATURES = ("nparticles",)
CONSTITUENT_FEATURES = ("d0val",)
"""What [MTG] Fig. 1 shows, counted also when the tagger does not read it."""

_TRANSFORMED_BINS = 60

_Values = NDArray[Any]
_Describe = Callable[[str, float, float], Feature]


def count(
    files: Mapping[str, Sequence[Path]], preprocessing: Preprocessing, spec: InputTables
) -> Marginals:
    """Count every feature of every sample, before and after the tagger's quantile transform.

    Constituents are those that the tagger keeps; impact parameters are counted for charged ones
    only, since they are not defined for others. Features of Fig. 1 that the tagger does not read
    have no transform.

    Parameters
    ----------
    files
        Files of jets of each sample.
    preprocessing
        The tagger's fitted transforms.
    spec
        Bins, and how many jets to read.

    Raises
    ------
    InputError
        For an unreadable file, or a sample without jets.
    """
    jet_features = _features(preprocessing.jets, jet, JET_FEATURES)
    constituent_features = _features(preprocessing.constituents, constituent, CONSTITUENT_FEATURES)
    fitted = len(preprocessing.jets), len(preprocessing.constituents)
    transformed = {*jet_features[: fitted[0]], *constituent_features[: fitted[1]]}
    result = Marginals({}, {})
    for feature in (*jet_features, *constituent_features):
        versions = [(feature, spec.bins)]
        if feature in transformed:
            versions.append((feature.transformed, _TRANSFORMED_BINS))
        for version, bins in versions:
            result.titles[version.name] = version.title
            for sample in files:
                edges = version.edges(bins)
                result.histograms[version.name, sample] = Histogram.empty(edges)
    for sample, paths in files.items():
        total = 0
        for jets in _pieces(paths, constituent_features, jet_features, spec.max_jets):
            jets = jets.leading(preprocessing.max_constituents)
            total += len(jets)
            changed = preprocessing(_first(jets, *fitted))
            for name, values in _columns(jet_features, jets.features, changed.features):
                result.histograms[name, sample].fill(values)
            charged = (jets.kinds != PHOTON) & (jets.kinds != NEUTRAL_HADRON)
            for name, values in _columns(constituent_features, jets.values, changed.values):
                rows = charged if name.split(".")[1] in CHARGED_ONLY else slice(None)
                result.histograms[name, sample].fill(values[rows])
        if total == 0:
            where = paths[0] if paths else f"--{sample}"
            raise InputError(where, sample, "has no jets", "Simulate more events")
    return result


def _features(
    transforms: Mapping[str, QuantileNormal], describe: _Describe, more: Sequence[str]
) -> list[Feature]:
    """Return how to show each transformed feature, then `more` (once, and of known range).

    An unknown feature spans the fitted range.
    """
    ranges = {name: (t.quantiles[0], t.quantiles[-1]) for name, t in transforms.items()}
    ranges |= {name: (0.0, 0.0) for name in more if name not in ranges}
    return [describe(name, float(low), float(high)) for name, (low, high) in ranges.items()]


def _columns(
    features: Sequence[Feature], before: _Values, after: _Values
) -> Iterator[tuple[str, _Values]]:
    """Yield name and values of each feature, and after the transform for those that have one."""
    for i, feature in enumerate(features):
        yield feature.name, before[:, i]
        if i < after.shape[1]:
            yield feature.transformed.name, after[:, i]


def _first(jets: Jets, features: int, values: int) -> Jets:
    """Return the jets with their first so many features, of themselves and of constituents."""
    return replace(jets, features=jets.features[:, :features], values=jets.values[:, :values])


def _names(features: Sequence[Feature]) -> list[str]:
    return [feature.name.partition(".")[2] for feature in features]


def _pieces(
    paths: Sequence[Path],
    constituent_features: Sequence[Feature],
    jet_features: Sequence[Feature],
    most: int,
) -> Iterator[Jets]:
    """Yield about `most` jets, the same number from each file's head."""
    features = _names(constituent_features), _names(jet_features), CLASSES
    share = math.ceil(most / max(len(paths), 1))
    for path in paths:
        left = share
        for table in iterate_jets([path], columns(*features), min(ROW_GROUP, share)):
            yield from_table(table.slice(0, left), *features, path)
            left -= len(table)
            if left <= 0:
                break
