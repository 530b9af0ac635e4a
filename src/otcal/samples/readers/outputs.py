"""Probabilities of other taggers, in foreign files: checked and in pieces of bounded size."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from otcal.config.outputs import ReadScoresSpec
from otcal.config.samples import Layout
from otcal.runtime.errors import InputError
from otcal.samples.flavours import FLAVOURS
from otcal.samples.ids import require_distinct, require_in_all_or_none
from otcal.samples.readers.files import BATCH, ColumnFile, open_columns
from otcal.samples.readers.pieces import (
    Piece,
    label_columns,
    label_numbers,
    labelling,
    missing,
    momentum_factor,
    require_unweighted,
)
from otcal.samples.readers.recipes import NAMES
from otcal.samples.scores import Scores, score_writer
from otcal.simplex import check_probabilities

_LOG = logging.getLogger(__name__)

PROBABILITIES = tuple(f"p_{name}" for name in FLAVOURS)
KINEMATICS = ("jet_pt", "jet_eta")
"""Columns of files of scores beside the probabilities."""


class ScorePiece(NamedTuple):
    """Jets of some rows of a file."""

    scores: Scores
    """Those with a label that is not dropped."""
    rows: int
    """Rows that they are of."""
    floored: int
    """Jets with a probability that was raised to the floor."""


def names_of(
    file: ColumnFile, layout: Layout, needed: Sequence[str], optional: Sequence[str]
) -> dict[str, str]:
    """Return the names in a file by ours, of the columns that are there.

    Raises
    ------
    InputError
        When a needed column is not there, or a name of `layout.columns` means nothing.
    """
    known = (*needed, *optional)
    for ours in layout.columns:
        if ours not in known:
            raise InputError(
                "columns", ours, "is not a name of ours here", f"Known: {', '.join(known)}"
            )
    wanted = {name: name for name in needed}
    wanted |= {name: theirs for name, theirs in NAMES[layout.format].items() if name in known}
    wanted |= layout.columns
    for ours, theirs in wanted.items():
        if theirs not in file.columns and (ours in needed or ours in layout.columns):
            raise missing(file, theirs, f"column is missing, which is to be {ours}")
    return {ours: theirs for ours, theirs in wanted.items() if theirs in file.columns}


def id_column(file: ColumnFile, layout: Layout) -> str | None:
    """Return the column of ids; None when the file has none."""
    name = layout.columns.get("jet_id", NAMES[layout.format].get("jet_id"))
    return name if name in file.columns else None


def iterate_scores(
    file: ColumnFile,
    layout: Layout,
    rows: tuple[int, int],
    first_id: int,
    floor: float | None = None,
    size: int = BATCH,
) -> Iterator[ScorePiece]:
    """Yield the scores of the rows from the first to the last (exclusive).

    Parameters
    ----------
    file
        The open file.
    layout
        How it is meant.
    rows
        First and last row.
    first_id
        Id of the file's first jet; of no meaning when the file has ids.
    floor
        Smaller probabilities are raised to this one; None refuses zeros.
    size
        Most rows in memory.

    Raises
    ------
    InputError
        For a column that is missing, of another type or of weights that are not to be ignored, NaN
        or infinite values, probabilities that are none, unknown labels, ids that are no whole
        numbers; names file, column and row.
    """
    require_unweighted(file, layout)
    names = names_of(file, layout, [*PROBABILITIES, *KINEMATICS], ["jet_id"])
    labels = labelling(file, layout, FLAVOURS)
    columns = list(dict.fromkeys([*names.values(), *label_columns(labels, FLAVOURS)]))
    row, last = rows
    for table in file.iterate(columns, row, last, size):
        piece = Piece(file.path, table, row)
        row += len(table)
        label = label_numbers(piece, labels, FLAVOURS)
        # What is dropped need not be in order.
        piece, label = piece.select(label >= 0), label[label >= 0]
        p = np.stack([piece.numbers(names[name]) for name in PROBABILITIES], axis=1)
        if layout.normalise:
            p = normalised(p)
        # As it will be on disk: what vanishes there must not get there.
        p, floored = check_probabilities(
            p.astype(np.float32),
            file.path,
            floor,
            [names[name] for name in PROBABILITIES],
            piece.rows,
        )
        pt = piece.numbers(names["jet_pt"])
        if (pt <= 0).any():
            at = int(np.argmax(pt <= 0))
            raise InputError(
                file.path,
                names["jet_pt"],
                f"is {pt[at]:g} in row {piece.rows[at]}",
                "A transverse momentum is positive: drop these jets or give another column",
            )
        scores = Scores(
            piece.ids(names.get("jet_id"), first_id),
            label.astype(np.int8),
            (momentum_factor(layout) * pt).astype(np.float32),
            piece.numbers(names["jet_eta"]).astype(np.float32),
            p,
        )
        yield ScorePiece(scores, len(table), floored)


def write_scores(spec: ReadScoresSpec, output: str | Path, provenance: dict[str, Any]) -> None:
    """Read files of scores into one of ours; memory does not grow with their number, but for ids.

    Raises
    ------
    InputError
        As `iterate_scores`; also for ids that repeat, or are in some files only, and when no jet
        is left.
    """
    ids: list[NDArray[np.int64]] = []
    rows = floored = 0
    first: tuple[str, bool] | None = None
    with score_writer(output, FLAVOURS, provenance) as writer:
        for path, first_id in spec.files.with_ids(spec.where).values():
            with open_columns(path, spec.files.tree) as file:
                has_ids = id_column(file, spec.files) is not None
                first = first or (path, has_ids)
                require_in_all_or_none(path, has_ids, *first)
                span = spec.files.rows(file.rows)
                for piece in iterate_scores(file, spec.files, span, first_id, spec.floor):
                    writer.write_table(piece.scores.to_table(FLAVOURS))
                    ids.append(piece.scores.ids)
                    rows, floored = rows + piece.rows, floored + piece.floored
        kept = sum(map(len, ids))
        if kept == 0:
            raise InputError(
                spec.where, "files", f"have no jets of {', '.join(FLAVOURS)}", "Give other files"
            )
        require_distinct(spec.where, ids)
    _LOG.info("%s: %d jets of %d rows; %d dropped", spec.where, kept, rows, rows - kept)
    if floored:
        _LOG.warning("probabilities of %d jets raised to %g", floored, spec.floor)


def normalised(p: NDArray[Any]) -> NDArray[np.float64]:
    """Return rows (N, D) over their sums; as they are where that is not positive."""
    total = p.sum(axis=1, keepdims=True, dtype=np.float64)
    return np.divide(p, total, out=p.astype(np.float64), where=total > 0)
