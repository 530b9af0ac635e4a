"""Jets of foreign files, as tables of our columns, checked and in pieces of bounded size."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from otcal.config.samples import Labels, Layout, ReadSpec
from otcal.runtime.errors import InputError
from otcal.samples import tables
from otcal.samples.ids import require_distinct, require_in_all_or_none
from otcal.samples.jets import jet_schema
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
from otcal.samples.readers.recipes import (
    COLUMNS,
    MOMENTA,
    NAMES,
    RECIPES,
    REQUIRED,
    Array,
    Recipe,
    resolve,
)

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class View:
    """What a file offers, seen in a layout.

    Parameters
    ----------
    file
        The open file.
    layout
        How it is meant.
    classes
        Names of the classes that its labels may name.
    """

    file: ColumnFile
    layout: Layout
    classes: tuple[str, ...]

    @cached_property
    def names(self) -> dict[str, str]:
        """Names in the file by ours, of columns that are there.

        Raises
        ------
        InputError
            When a name of `layout.columns` is not there, or means nothing here.
        """
        known = {*COLUMNS, *RECIPES, *NAMES["root"], "jet_id"}
        there = self.file.columns
        for ours, theirs in self.layout.columns.items():
            if ours not in known:
                raise InputError(
                    "columns", ours, "is not a name of ours", f"Known: {', '.join(sorted(known))}"
                )
            if theirs not in there:
                raise missing(self.file, theirs, f"column is missing, which is to be {ours}")
        wanted = {**NAMES[self.layout.format], **self.layout.columns}
        return {ours: theirs for ours, theirs in wanted.items() if theirs in there}

    @cached_property
    def plans(self) -> dict[str, dict[str, Recipe | None]]:
        """How each column that the file offers is made."""
        ways = {name: resolve(name, self.names.keys()) for name in COLUMNS}
        plans = {name: way for name, way in ways.items() if way is not None}
        if "part_charge" in plans:  # constituents can be counted
            plans.setdefault("jet_nparticles", plans["part_charge"])
        return plans

    @property
    def absent(self) -> list[str]:
        """Columns that the file does not offer."""
        return [name for name in COLUMNS if name not in self.plans]

    @cached_property
    def labels(self) -> Labels | None:
        """What labels the jets; None for a column per class (`InputError` without)."""
        return labelling(self.file, self.layout, self.classes)

    def require(self) -> None:
        """Check that nothing is missing which every use of jets needs, and that none has a weight.

        Raises
        ------
        InputError
            Names what is missing, and what it could be made from; or the column of weights.
        """
        require_unweighted(self.file, self.layout)
        for name in REQUIRED:
            if name not in self.plans:
                ways = [(name,), *(recipe.needs for recipe in RECIPES.get(name, ()))]
                expected = NAMES[self.layout.format]
                told = [" and ".join(expected.get(one, one) for one in way) for way in ways]
                raise missing(
                    self.file,
                    expected.get(name, name),
                    f"column is missing; needed is {' or '.join(told)}",
                )
        _ = self.labels

    @cached_property
    def schema(self) -> pa.Schema:
        """Columns of the tables that come out."""
        offered = {"jet_id", *self.plans, *(f"label_{name}" for name in self.classes)}
        full = jet_schema(self.classes)
        return pa.schema([field for field in full if field.name in offered])

    def iterate(
        self, first: int, last: int, first_id: int, size: int = BATCH
    ) -> Iterator[tuple[pa.Table, int]]:
        """Yield jets of the rows from `first` to `last` (exclusive), and how many were dropped.

        Dropped are jets whose label is mapped to null, and those without constituents.

        Parameters
        ----------
        first, last
            Rows of the file.
        first_id
            Id of the file's first jet; of no meaning when the file has ids.
        size
            Most jets of a table.

        Raises
        ------
        InputError
            For a damaged file, columns of other types, NaN or infinite values, lists of different
            lengths, and labels that are not among the known values; names file, column and row.
        """
        self.require()
        own_ids = self.names.get("jet_id")
        raw = {self.names[name] for plan in self.plans.values() for name in plan if not plan[name]}
        raw |= {own_ids} if own_ids else set()
        raw |= set(label_columns(self.labels, self.classes))
        row = first
        for table in self.file.iterate(sorted(raw), first, last, size):
            piece = Piece(self.file.path, table, row)
            label = label_numbers(piece, self.labels, self.classes)
            columns = self._columns(piece, label)
            columns["jet_id"] = piece.ids(own_ids, first_id)
            jets = _table(self.schema, columns, piece)
            kept = (label >= 0) & (piece.lengths > 0)
            yield jets.filter(pa.array(kept)), int((~kept).sum())
            row += len(table)

    def _columns(self, piece: Piece, label: Array) -> dict[str, Array]:
        """Return our columns; those of constituents are flat."""
        made: dict[str, Array] = {}
        unit = momentum_factor(self.layout)
        for plan in self.plans.values():
            for name, recipe in plan.items():
                if name in made:
                    continue
                if recipe is None:
                    values = piece.values(self.names[name], name.startswith("part_"))
                    factor = unit ** MOMENTA.get(name, 0)
                    made[name] = values if factor == 1 else values * factor
                else:
                    needs = [
                        made[one][piece.owner]
                        if one.startswith("jet_") and name.startswith("part_")
                        else made[one]
                        for one in recipe.needs
                    ]
                    made[name] = recipe.make(*needs)
        made.setdefault("jet_nparticles", piece.lengths)
        result = {name: made[name] for name in self.plans}
        return result | {f"label_{name}": label == i for i, name in enumerate(self.classes)}


def _table(schema: pa.Schema, columns: Mapping[str, Array], piece: Piece) -> pa.Table:
    offsets = pa.array(piece.offsets, pa.int32())
    arrays = []
    for field in schema:
        listed = pa.types.is_list(field.type)
        kind = field.type.value_type if listed else field.type
        values = columns[field.name]
        cast = values.astype(kind.to_pandas_dtype())
        rounded = pa.types.is_integer(kind) and not np.array_equal(cast, values)
        if rounded or not np.isfinite(cast).all():
            raise InputError(
                piece.path,
                field.name,
                f"does not fit {kind}, or cannot be computed from the columns of the file, in some "
                f"of {len(piece)} rows from {piece.rows[0]}",
                "Correct the values or drop these jets",
            )
        array = pa.array(cast, kind)
        arrays.append(pa.ListArray.from_arrays(offsets, array) if listed else array)
    return pa.table(arrays, schema=schema)


def write_jets(spec: ReadSpec, output: str | Path, provenance: dict[str, Any]) -> None:
    """Read a part of a file into a file of jets; memory does not grow with their number.

    Columns that the file does not offer are not in the output: a later step that needs one says so.

    Raises
    ------
    InputError
        As `View.iterate`; when the columns differ from those of `spec.like`, or ids repeat.
    """
    with open_columns(spec.file, spec.layout.tree) as file:
        view = View(file, spec.layout, spec.classes)
        view.require()
        _same_columns(view, spec)
        first, last = spec.entries(file.rows)
        ids: list[NDArray[np.int64]] = []
        kept = dropped = 0
        with tables.table_writer(output, view.schema, provenance) as writer:
            for table, lost in view.iterate(first, last, spec.first_id):
                writer.write_table(table)
                kept, dropped = kept + len(table), dropped + lost
                if "jet_id" in view.names:
                    ids.append(tables.to_numpy(table["jet_id"]))
            require_distinct(spec.file, ids)
    _LOG.info("%s: %d jets of rows %d to %d; %d dropped", spec.file, kept, first, last, dropped)
    if view.absent:
        _LOG.info("not in the file, nor to be computed: %s", ", ".join(view.absent))


def _same_columns(view: View, spec: ReadSpec) -> None:
    if spec.like == spec.file:
        return
    with open_columns(spec.like, spec.layout.tree) as other:
        view_of_other = View(other, spec.layout, spec.classes)
    expected = view_of_other.schema
    require_in_all_or_none(
        spec.file, "jet_id" in view.names, spec.like, "jet_id" in view_of_other.names
    )
    for one, two in ((view.schema, expected), (expected, view.schema)):
        extra = [name for name in one.names if name not in two.names]
        if extra:
            has, lacks = (spec.file, spec.like) if one is view.schema else (spec.like, spec.file)
            raise InputError(
                spec.file,
                extra[0],
                f"is offered by {has}, but not by {lacks}",
                "Files of one dataset must have the same columns: read them as two datasets",
            )
