"""Scores on disk: the class probabilities that a tagger gives each jet.

Columns `jet_id`, `label` (position of the true class; -1 where it is not known), `jet_pt` (GeV),
`jet_eta`, and `p_<class>`. A row of probabilities is positive and sums to one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from otcal.runtime.errors import InputError
from otcal.samples import tables
from otcal.simplex import check_probabilities

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scores:
    """Probabilities of N jets, with what belongs to a jet."""

    ids: NDArray[np.int64]
    """Ids of the jets, (N,)."""
    labels: NDArray[np.int8]
    """Positions of the true flavours, (N,); -1 where it is not known."""
    pt: NDArray[np.float32]
    """Transverse momenta in GeV, (N,)."""
    eta: NDArray[np.float32]
    """Pseudorapidities, (N,)."""
    p: NDArray[np.float64]
    """Probabilities of the K flavours, (N, K)."""

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, which: NDArray[Any]) -> Scores:
        """Return the jets of a mask (N,) or of positions."""
        return Scores(
            self.ids[which], self.labels[which], self.pt[which], self.eta[which], self.p[which]
        )

    def conditions(self, names: Sequence[str]) -> NDArray[np.float64]:
        """Return columns that a map may depend on, `jet_pt` and `jet_eta`, (N, C)."""
        columns = {"jet_pt": self.pt, "jet_eta": self.eta}
        found = [columns[name].astype(np.float64) for name in names]
        return np.stack(found, axis=1) if found else np.empty((len(self), 0))

    def within(self, ranges: Mapping[Any, tuple[float, float]]) -> Scores:
        """Return the jets whose columns lie in the ranges, upper ends exclusive."""
        low, high = np.array(list(ranges.values())).reshape(-1, 2).T
        values = self.conditions(list(ranges))
        return self.select(np.all((values >= low) & (values < high), axis=1))

    def to_table(self, flavours: Sequence[str]) -> pa.Table:
        """Return a table of `score_schema`; `flavours` name the columns of `p`."""
        columns = [self.ids, self.labels, self.pt, self.eta, *self.p.T]
        schema = score_schema(flavours)
        arrays = [
            pa.array(np.ascontiguousarray(column)).cast(field.type, safe=False)
            for field, column in zip(schema, columns, strict=True)
        ]
        return pa.table(arrays, schema=schema)


def score_schema(flavours: Sequence[str]) -> pa.Schema:
    """Return the columns of a file of scores of these flavours."""
    return pa.schema(
        [
            pa.field("jet_id", pa.int64()),
            pa.field("label", pa.int8()),
            pa.field("jet_pt", pa.float32()),
            pa.field("jet_eta", pa.float32()),
            *(pa.field(f"p_{name}", pa.float32()) for name in flavours),
        ]
    )


@contextmanager
def score_writer(
    path: str | Path, flavours: Sequence[str], provenance: dict[str, Any]
) -> Iterator[pq.ParquetWriter]:
    """Yield a Parquet writer for tables of `score_schema`; write one row group at a time."""
    with tables.table_writer(path, score_schema(flavours), provenance) as writer:
        yield writer


def read_scores(
    path: str | Path,
    flavours: Sequence[str],
    labels: Sequence[int] | None = None,
    floor: float | None = None,
) -> Scores:
    """Read a file of scores, piece by piece, and check every row of it.

    Parameters
    ----------
    path
        A file with the columns of `score_schema`; others are ignored.
    flavours
        Names of the classes, in the order of the labels.
    labels
        Keep the jets with these labels; None keeps all.
    floor
        Raise smaller probabilities to this one, see `otcal.simplex.check_probabilities`; None
        refuses zeros.

    Raises
    ------
    InputError
        When the file is not one of scores, or for a label without flavour, or for a probability
        that is zero, negative or not a number, or a row of them that does not sum to one; names
        file, row (from 0), column and remedy.
    """
    schema = score_schema(flavours)
    pieces: list[Scores] = []
    rows = floored = 0
    for table in chain([schema.empty_table()], tables.iterate_tables([path], schema, schema.names)):
        ids, found, pt, eta, *columns = (tables.to_numpy(table[name]) for name in schema.names)
        _check_labels(found, flavours, path, rows)
        values = np.stack(columns, axis=1)
        p, raised = check_probabilities(values, path, floor, schema.names[4:], rows)
        scores = Scores(ids, found, pt, eta, p)
        pieces.append(scores if labels is None else scores.select(np.isin(found, labels)))
        rows += len(table)
        floored += raised
    if floored:
        _LOG.warning("%s: probabilities of %d of %d jets raised to %g", path, floored, rows, floor)
    fields = zip(*(vars(piece).values() for piece in pieces), strict=True)
    return Scores(*(np.concatenate(field) for field in fields))


def _check_labels(
    labels: NDArray[np.int8], flavours: Sequence[str], path: str | Path, first: int
) -> None:
    bad = (labels < -1) | (labels >= len(flavours))
    if bad.any():
        row = int(np.argmax(bad))
        meaning = ", ".join(f"{i} = {name}" for i, name in enumerate(flavours))
        raise InputError(
            path,
            "label",
            f"is {labels[row]} in row {first + row} ({int(bad.sum())} bad rows)",
            f"Set {meaning}, or -1 where the flavour is not known",
        )
