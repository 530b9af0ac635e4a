"""The jets of the closure tests: held out from the map, and folded for the discriminators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otcal.config.closure import MIN_JETS, JetSelection
from otcal.config.splits import Splits
from otcal.runtime import scratch as files
from otcal.runtime.errors import InputError
from otcal.samples import splits
from otcal.samples.latents import labels_of, read_latents

FOLDS = ("train", "validation", "test")
"""A discriminator's own division of the jets; the position is the number in files."""

SAMPLES = ("source", "target", "calibrated", "target_half")
"""Samples by their number in files; `target_half` is the half that the floor tests as source."""

# Salts make these divisions independent of the calibration split and of each other.
_FOLD_SALT = 101
_HALF_SALT = 102


@dataclass(frozen=True)
class Sample:
    """Held-out jets of one file."""

    jet_id: NDArray[np.int64]
    """Shape (N,)."""
    fold: NDArray[np.int8]
    """Position in `FOLDS`, shape (N,)."""
    columns: dict[str, NDArray[Any]]
    """Layers by name, shapes (N, D)."""
    scratch: Path | None = None
    """Directory for the layers' temporary files; None: they are in memory."""

    def take(self, keep: NDArray[np.bool_]) -> Sample:
        """Return the jets where `keep` is true."""
        columns = {
            name: files.select(values, keep, self.scratch) for name, values in self.columns.items()
        }
        return Sample(self.jet_id[keep], self.fold[keep], columns, self.scratch)

    def only(self, fold: str) -> Sample:
        """Return the jets of one fold."""
        return self.take(self.fold == FOLDS.index(fold))

    def bare(self) -> Sample:
        """Return the jets without their layers."""
        return replace(self, columns={})


def fold(jet_id: NDArray[np.int64], folds: Splits) -> NDArray[np.int8]:
    """Return the fold of each jet, shape (N,), as a position in `FOLDS`.

    A jet's fold hangs on its id alone, which a calibrated jet shares with the source jet it was
    made from: neither ever tests a discriminator that the other one trained.
    """
    edges = np.array([folds.train, folds.train + folds.validation])
    return np.searchsorted(edges, splits.uniform(jet_id, _FOLD_SALT), side="right").astype(np.int8)


def read_sample(
    path: str | Path,
    columns: Sequence[str],
    selection: JetSelection,
    scratch: Path | None = None,
) -> Sample:
    """Read the held-out jets of the calibrated classes; layers into files of `scratch`, if given.

    Raises
    ------
    InputError
        When the file is unreadable, or a fold has fewer than `MIN_JETS` jets.
    """
    arrays = read_latents(
        path,
        ["jet_id", *columns],
        selection.fractions,
        selection.split,
        labels_of(path, selection.classes),
        scratch,
    )
    jet_id = arrays.pop("jet_id").astype(np.int64)
    sample = Sample(jet_id, fold(jet_id, selection.folds), arrays, scratch)
    check_folds(path, sample, f"jets of {', '.join(selection.classes)}")
    return sample


def halves(target: Sample) -> tuple[Sample, Sample]:
    """Divide the target in two disjoint halves, by another hash of the ids."""
    first = splits.uniform(target.jet_id, _HALF_SALT) < 0.5
    return target.take(first), target.take(~first)


def check_folds(path: str | Path, sample: Sample, what: str) -> None:
    """Raise `InputError` when a fold of a sample is (nearly) empty."""
    counts = np.bincount(sample.fold, minlength=len(FOLDS))
    for name, count in zip(FOLDS, counts, strict=True):
        if count < MIN_JETS:
            raise InputError(
                path,
                "jet_id",
                f"only {count} held-out {what} in the {name} fold, {MIN_JETS} are needed",
                "Simulate more jets, or raise the share of this fold in closure.folds",
            )
