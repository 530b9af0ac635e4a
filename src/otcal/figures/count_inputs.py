"""Histograms of the tagger's inputs, counted row group by row group."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
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

_TRANSFORMED_BINS = 60

_Describe = Callable[[str, float, float], Feature]
_Values = NDArray[Any]


def count(
    files: Mapping[str, Sequence[Path]], preprocessing: Preprocessing, spec: InputTables
) -> Marginals:
    """Count every feature of every sample, before and after the tagger's quantile transform.

    Constituents are those that the tagger keeps; impact parameters are counted for charged ones
    only, since they are not defined for others.

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
    jet_features = _features(preprocessing.jets, jet)
    constituent_features = _features(preprocessing.constituents, constituent)
    result = Marginals({}, {})
    for feature in (*jet_features, *constituent_features):
        for version, bins in ((feature, spec.bins), (feature.transformed, _TRANSFORMED_BINS)):
            result.titles[version.name] = version.title
            for sample in files:
                edges = version.edges(bins)
                result.histograms[version.name, sample] = Histogram.empty(edges)
    for sample, paths in files.items():
        total = 0
        for jets in _pieces(paths, preprocessing, spec.max_jets):
            total += len(jets)
            changed = preprocessing(jets)
            for i, feature in enumerate(jet_features):
                _fill(result, feature, sample, jets.features[:, i], changed.features[:, i])
            charged = (jets.kinds != PHOTON) & (jets.kinds != NEUTRAL_HADRON)
            names = list(preprocessing.constituents)
            for i, feature in enumerate(constituent_features):
                rows = charged if names[i] in CHARGED_ONLY else slice(None)
                _fill(result, feature, sample, jets.values[rows, i], changed.values[rows, i])
        if total == 0:
            where = paths[0] if paths else f"--{sample}"
            raise InputError(where, sample, "has no jets", "Simulate more events")
    return result


def _features(transforms: Mapping[str, QuantileNormal], describe: _Describe) -> list[Feature]:
    """Return how to show each transformed feature; an unknown one spans the fitted range."""
    return [
        describe(name, float(transform.quantiles[0]), float(transform.quantiles[-1]))
        for name, transform in transforms.items()
    ]


def _fill(
    result: Marginals, feature: Feature, sample: str, before: _Values, after: _Values
) -> None:
    result.histograms[feature.name, sample].fill(before)
    result.histograms[feature.transformed.name, sample].fill(after)


def _pieces(paths: Sequence[Path], preprocessing: Preprocessing, most: int) -> Iterator[Jets]:
    """Yield about `most` jets as the tagger sees them, the same number from each file's head."""
    features = list(preprocessing.constituents), list(preprocessing.jets), CLASSES
    share = math.ceil(most / max(len(paths), 1))
    for path in paths:
        left = share
        for table in iterate_jets([path], columns(*features), min(ROW_GROUP, share)):
            jets = from_table(table.slice(0, left), *features, path)
            yield jets.leading(preprocessing.max_constituents)
            left -= len(table)
            if left <= 0:
                break
