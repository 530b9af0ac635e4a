"""The training dataset: preprocessed jets of a split, in memory or memory-mapped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otcal.config import tagger as config
from otcal.runtime.distributed import ALONE, Team
from otcal.runtime.errors import InputError
from otcal.runtime.scratch import Column, mapped
from otcal.samples import splits
from otcal.samples.jets import iterate_jets, jet_schema
from otcal.samples.tables import ROW_GROUP, row_count
from otcal.tagger import constituents
from otcal.tagger.constituents import Jets
from otcal.tagger.preprocessing import Preprocessing

_FIT_SALT = 1
"""Makes the choice of jets that fit the transforms independent of the splits."""


def iterate(
    paths: Iterable[str | Path],
    constituent_features: Sequence[str],
    jet_features: Sequence[str],
    classes: Sequence[str],
    batch_size: int = ROW_GROUP,
) -> Iterator[Jets]:
    """Yield the jets of files in pieces, untransformed; bad files raise `InputError`."""
    wanted = constituents.columns(constituent_features, jet_features, classes)
    schema = jet_schema(classes)
    for path in paths:
        for table in iterate_jets([path], wanted, batch_size, schema):
            yield constituents.from_table(table, constituent_features, jet_features, classes, path)


def fit_preprocessing(
    paths: Sequence[str | Path],
    settings: config.Preprocessing,
    classes: Sequence[str],
    fractions: Mapping[str, float],
) -> Preprocessing:
    """Fit the preprocessing on the train split of files of jets.

    At most about `settings.fit_jets` jets are used, chosen by a hash of their ids, so that every
    file contributes its share.

    Raises
    ------
    InputError
        For bad files, or when a class or all charged constituents are missing.
    """
    names = settings.constituent_features, settings.jet_features
    expected = fractions["train"] * sum(row_count(path) for path in paths)
    share = settings.fit_jets / max(expected, 1)

    def chosen() -> Iterator[Jets]:
        for piece in iterate(paths, *names, classes):
            keep = splits.select(piece.ids, fractions, "train")
            keep &= splits.uniform(piece.ids, salt=_FIT_SALT) < share
            yield piece.select(keep)

    jets = load(chosen())
    require_all_classes(jets.labels, classes, "train")
    return Preprocessing.fit(
        jets,
        *names,
        quantiles=settings.quantiles,
        max_constituents=settings.max_constituents,
    )


def iterate_split(
    paths: Iterable[str | Path],
    preprocessing: Preprocessing,
    classes: Sequence[str],
    fractions: Mapping[str, float],
    split: str,
) -> Iterator[Jets]:
    """Yield the preprocessed jets of a split in pieces; bad files raise `InputError`."""
    names = tuple(preprocessing.constituents), tuple(preprocessing.jets)
    for piece in iterate(paths, *names, classes):
        yield preprocessing(piece.select(splits.select(piece.ids, fractions, split)))


def load(pieces: Iterable[Jets], scratch: Path | None = None, team: Team = ALONE) -> Jets:
    """Join pieces of jets.

    Parameters
    ----------
    pieces
        What `iterate_split` yields.
    scratch
        Directory for a temporary file of about 1.2 kB per jet, which is memory-mapped and
        disappears with the arrays; None keeps all in memory.
    team
        Processes that all need the jets. With a temporary file one of them reads the pieces and all
        map that file; without one each reads the pieces by itself.
    """
    columns: dict[str, Any] = {
        name: Column(scratch, team.size > 1)
        for name in ("values", "kinds", "lengths", "features", "labels", "ids")
    }
    if scratch is None or team.size == 1:
        _fill(columns, pieces)
        arrays = {name: column.array() for name, column in columns.items()}
    else:
        places = team.from_leader(lambda: _fill(columns, pieces))
        arrays = {name: mapped(*place) for name, place in places.items()}
        team.wait()  # the leader's files lose their names with its columns
    return Jets(offsets=constituents.offsets_of(arrays.pop("lengths")), **arrays)


def require_all_classes(labels: NDArray[np.int8], classes: Sequence[str], split: str) -> None:
    """Raise `InputError` when a class has no jet among the labels (N,) of a split."""
    counts = np.bincount(labels, minlength=len(classes))
    empty = [name for name, count in zip(classes, counts, strict=True) if count == 0]
    if empty:
        raise InputError(
            "training jets",
            f"label_{empty[0]}",
            f"no jet of {', '.join(empty)} in the {split} split ({len(labels)} jets)",
            "Simulate more jets of this class, or enlarge the split",
        )


def _fill(columns: Mapping[str, Column], pieces: Iterable[Jets]) -> dict[str, Any]:
    """Add pieces to columns and return the places of those that are in files."""
    for piece in pieces:
        for name, column in columns.items():
            column.append(getattr(piece, name))
    if not columns["ids"].blocks:
        raise InputError("training jets", "files", "none given", "Name files of jets")
    return {name: column.place() for name, column in columns.items() if column.file}
