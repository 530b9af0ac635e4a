"""Comparison of generated jets with the real JetClass sample.

The reference is 500 quantiles of every feature of JetClass's validation sample (see the README in
`otcal/simulation/data`), all ten classes in equal parts. The distance is that of Kolmogorov and
Smirnov, the largest difference of the cumulative distributions, looked at where quantiles are
known: 0.002 apart in probability, which is its resolution.

With 1000 jets per class all twelve features are within 0.03. The largest differences are those of
the jets' transverse momentum (0.027), whose spectrum follows from the cuts on the hard processes,
which JetClass does not publish, and of their multiplicity (0.021). The reference knows only the
mixture: a difference of a single class can hide in it, such as that of the jets of quarks and
gluons, which JetClass takes from Z plus jets and we from multijets.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from otcal.runtime.errors import InputError
from otcal.samples import splits
from otcal.samples.classes import CLASSES
from otcal.samples.jets import LABELS, iterate_jets
from otcal.samples.tables import to_numpy

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

JET_FEATURES = ("jet_pt", "jet_eta", "jet_phi", "jet_energy", "jet_nparticles")
CONSTITUENT_FEATURES = ("pt", "deta", "dphi", "d0val", "d0err", "dzval", "dzerr")
FEATURES = JET_FEATURES + CONSTITUENT_FEATURES

_COLUMNS = (
    "part_px",
    "part_py",
    "part_charge",
    *(f"part_{name}" for name in CONSTITUENT_FEATURES if name != "pt"),
)
_SALT = 103  # a choice of jets that no split knows of
_ANGLE_MAX = 0.8
"""The reference's angles to the jet axis are clipped here."""
_ROUNDING = 1e-6
"""Relative rounding of the printed quantiles."""


@dataclass(frozen=True)
class Reference:
    """Quantiles of one feature: `values` at `probabilities`, both ascending."""

    probabilities: Floats
    values: Floats

    def steps(self) -> tuple[Floats, Floats, Floats]:
        """Return distinct values, and the cumulative distribution left and right of each.

        A discrete feature repeats a value over many quantiles; its distribution jumps there.
        """
        values, first = np.unique(self.values, return_index=True)
        last = np.append(first[1:], len(self.values)) - 1
        return values, self.probabilities[first], self.probabilities[last]

    def cumulative(self, x: Floats) -> Floats:
        """Return the cumulative distribution, linear between distinct values."""
        values, left, right = self.steps()
        return np.interp(x, np.repeat(values, 2), np.stack([left, right], axis=1).ravel())


@dataclass(frozen=True)
class Sample:
    """Values of one feature with weights that mix the classes evenly and sum to one.

    Sorted by value; shape (N,) each.
    """

    values: Floats
    weights: Floats

    def cumulative(self, x: Floats, side: str) -> Floats:
        """Return the share of values below `x` (side left) or not above it (side right)."""
        total = np.concatenate([[0.0], np.cumsum(self.weights)])
        return total[np.searchsorted(self.values, x, side=side)]  # type: ignore[call-overload]

    def quantile(self, probabilities: Floats) -> Floats:
        """Return quantiles."""
        total = np.cumsum(self.weights)
        rows = np.searchsorted(total, probabilities * total[-1], side="left")
        return self.values[np.minimum(rows, len(self.values) - 1)]


def references() -> dict[str, Reference]:
    """Return the JetClass quantiles of all features."""
    result = {}
    for table, names in (("jet", JET_FEATURES), ("constituent", CONSTITUENT_FEATURES)):
        path = files("otcal.simulation") / "data" / f"jetclass_{table}_quantiles.csv"
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
        probabilities = np.array([float(row["probability"]) for row in rows])
        for name in names:
            result[name] = Reference(probabilities, np.array([float(row[name]) for row in rows]))
    return result


def distance(sample: Sample, reference: Reference) -> float:
    """Return the Kolmogorov-Smirnov distance of a sample to the reference."""
    values, left, right = reference.steps()
    slack = np.abs(values) * _ROUNDING
    below = np.abs(sample.cumulative(values - slack, "left") - left)
    up_to = np.abs(sample.cumulative(values + slack, "right") - right)
    return float(max(below.max(), up_to.max()))


def load(paths: Iterable[str | Path], max_jets: int) -> dict[str, Sample]:
    """Read generated jets into one sample per feature, the classes mixed evenly.

    Impact parameters are those of charged constituents.

    Parameters
    ----------
    paths
        Files of jets of all classes.
    max_jets
        Read about this many jets at most, a tenth of each class: evenly from all files, by a hash
        of their ids. Memory grows with this number only.

    Raises
    ------
    InputError
        For an unreadable file, or when a class has no jet: the reference is the mixture of all.
    """
    paths = list(paths)
    counts = _count(paths)
    absent = [name for name, count in zip(CLASSES, counts, strict=True) if count == 0]
    if absent:
        raise InputError(
            "--jets",
            f"label_{absent[0]}",
            f"has no jet of {', '.join(absent)} in {len(paths)} files, but JetClass's quantiles "
            "are of all ten classes mixed",
            "Give files of all classes",
        )
    jets = _read(paths, max_jets / len(CLASSES) / counts)
    label = _labels(jets)
    weight = 1.0 / np.bincount(label, minlength=len(CLASSES))[label]
    result = {name: _sample(to_numpy(jets[name]), weight) for name in JET_FEATURES}
    result.update(_constituents(jets, weight))
    return result


def _count(paths: list[str | Path]) -> Ints:
    """Return the number of jets of each class, shape (10,)."""
    counts = np.zeros(len(CLASSES), dtype=np.int64)
    for piece in iterate_jets(paths, LABELS):
        counts += np.bincount(_labels(piece), minlength=len(CLASSES))
    return counts


def _read(paths: list[str | Path], shares: Floats) -> pa.Table:
    """Read all columns that are compared, of a share of each class's jets, shape (10,)."""
    pieces = []
    for piece in iterate_jets(paths, ["jet_id", *LABELS, *JET_FEATURES, *_COLUMNS]):
        kept = splits.uniform(to_numpy(piece["jet_id"]), _SALT) < shares[_labels(piece)]
        pieces.append(piece.filter(pa.array(kept)))
    return pa.concat_tables(pieces)


def _labels(jets: pa.Table) -> Ints:
    return np.stack([to_numpy(jets[name]) for name in LABELS], axis=1).argmax(axis=1)


def _constituents(jets: pa.Table, jet_weight: Floats) -> dict[str, Sample]:
    lengths = to_numpy(pc.list_value_length(jets["part_px"]))
    weight = np.repeat(jet_weight, lengths)
    pt = np.hypot(_flat(jets, "part_px"), _flat(jets, "part_py"))
    result = {"pt": _sample(pt, weight)}
    for name in ("deta", "dphi"):
        angle = np.clip(_flat(jets, f"part_{name}"), -_ANGLE_MAX, _ANGLE_MAX)
        result[name] = _sample(angle, weight)
    charged = _flat(jets, "part_charge") != 0
    for name in ("d0val", "d0err", "dzval", "dzerr"):
        result[name] = _sample(_flat(jets, f"part_{name}")[charged], weight[charged])
    return result


def _flat(table: pa.Table, name: str) -> Floats:
    return to_numpy(table[name].combine_chunks().flatten()).astype(np.float64)


def _sample(values: Floats, weights: Floats) -> Sample:
    order = np.argsort(values, kind="stable")
    return Sample(values[order].astype(np.float64), weights[order] / weights.sum())
