"""Latents of other taggers, in foreign files: checked and in pieces of bounded size."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from otcal.config.outputs import ReadLatentsSpec
from otcal.config.samples import Layout
from otcal.runtime.errors import InputError
from otcal.samples.columns import numbered
from otcal.samples.ids import require_distinct, require_in_all_or_none
from otcal.samples.jets import JET_FLOATS
from otcal.samples.latents import LAYERS, Kind, latent_writer
from otcal.samples.readers.files import BATCH, ColumnFile, open_columns
from otcal.samples.readers.outputs import names_of
from otcal.samples.readers.pieces import (
    Piece,
    label_columns,
    label_numbers,
    labelling,
    missing,
    momentum_factor,
    require_unweighted,
)
from otcal.samples.readers.recipes import MOMENTA
from otcal.samples.tables import fixed_size_list, to_numpy
from otcal.tagger.head_model import HeadModel, LogitCheck

_LOG = logging.getLogger(__name__)

LATENT = "z128"


@dataclass(frozen=True)
class LatentView:
    """What a file of latents offers, seen in a layout.

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
    def parts(self) -> list[str]:
        """Columns of the latent: one of lists, or several of numbers.

        Raises
        ------
        InputError
            When one is not there, or a range counts down.
        """
        parts = numbered(self.layout.columns.get(LATENT, LATENT))
        for part in parts:
            if part not in self.file.columns:
                raise missing(self.file, part, f"column is missing, which is to be {LATENT}")
        return parts

    @cached_property
    def names(self) -> dict[str, str]:
        """Names in the file by ours, of ids and what is known of the jets."""
        others = {name: one for name, one in self.layout.columns.items() if name != LATENT}
        layout = self.layout.model_copy(update={"columns": others})
        return names_of(self.file, layout, [], ["jet_id", *JET_FLOATS])

    @property
    def kinematics(self) -> tuple[str, ...]:
        """Those of `JET_FLOATS` that the file offers."""
        return tuple(name for name in JET_FLOATS if name in self.names)

    def iterate(
        self, rows: tuple[int, int], first_id: int, size: int = BATCH
    ) -> Iterator[tuple[pa.Table, int]]:
        """Yield jets, and of how many rows they are; those whose label is mapped to null are left.

        Columns are `jet_id`, `label`, `kinematics` and `z128`.

        Parameters
        ----------
        rows
            First and last (exclusive) row of the file.
        first_id
            Id of the file's first jet; of no meaning when the file has ids.
        size
            Most rows in memory.

        Raises
        ------
        InputError
            For a column that is missing, of another type or of weights that are not to be ignored,
            lists of different lengths, NaN or infinite values, unknown labels, ids that are no
            whole numbers; names file, column, row.
        """
        require_unweighted(self.file, self.layout)
        labels = labelling(self.file, self.layout, self.classes)
        wanted = [*self.parts, *self.names.values(), *label_columns(labels, self.classes)]
        row, last = rows
        for table in self.file.iterate(list(dict.fromkeys(wanted)), row, last, size):
            piece = Piece(self.file.path, table, row)
            row += len(table)
            label = label_numbers(piece, labels, self.classes)
            # What is dropped need not be in order.
            piece, label = piece.select(label >= 0), label[label >= 0]
            columns: dict[str, Any] = {
                "jet_id": piece.ids(self.names.get("jet_id"), first_id),
                "label": label.astype(np.int8),
            }
            for name in self.kinematics:
                factor = momentum_factor(self.layout) ** MOMENTA.get(name, 0)
                columns[name] = (factor * piece.numbers(self.names[name])).astype(np.float32)
            columns[LATENT] = fixed_size_list(piece.matrix(self.parts))
            yield pa.table(columns), len(table)


def write_latents(
    spec: ReadLatentsSpec, head: HeadModel, output: str | Path, provenance: dict[str, Any]
) -> None:
    """Read files of latents into one of ours, with the layers that the head makes of them.

    Memory does not grow with the number of jets, but for their ids.

    Raises
    ------
    InputError
        As `LatentView.iterate` and `HeadModel`; also for latents of another width than the head's,
        a head that makes probabilities of them, files with different columns, ids that repeat, and
        when no jet is left.
    """
    classes = head.spec.classes
    paths = spec.files.with_ids(spec.where)
    with open_columns(next(iter(paths.values()))[0], spec.files.tree) as file:
        first = LatentView(file, spec.files, classes)
        kinematics, first_has_ids = first.kinematics, "jet_id" in first.names
    kind = Kind(classes, (head.width, *head.widths), kinematics)
    ids: list[NDArray[np.int64]] = []
    outputs = LogitCheck(head)
    rows = 0
    with latent_writer(output, provenance, kind) as writer:
        for path, first_id in paths.values():
            with open_columns(path, spec.files.tree) as file:
                view = LatentView(file, spec.files, classes)
                _require_same(view, kinematics)
                require_in_all_or_none(path, "jet_id" in view.names, first.file.path, first_has_ids)
                for jets, count in view.iterate(spec.files.rows(file.rows), first_id):
                    rows += count
                    if len(jets):
                        table = _with_layers(jets, head, view, kind)
                        outputs.add(to_numpy(table["z10"]))
                        writer.write_table(table)
                        ids.append(jets["jet_id"].to_numpy())
        kept = sum(map(len, ids))
        if kept == 0:
            raise InputError(
                spec.where, "files", f"have no jets of {', '.join(classes)}", "Give other files"
            )
        require_distinct(spec.where, ids)
        outputs.require()
    _LOG.info("%s: %d jets of %d rows; %d dropped", spec.where, kept, rows, rows - kept)


def _with_layers(jets: pa.Table, head: HeadModel, view: LatentView, kind: Kind) -> pa.Table:
    latent = jets[LATENT].combine_chunks()
    width = latent.type.list_size
    if width != head.width:
        raise InputError(
            view.file.path,
            view.parts[0],
            f"has {width} numbers for each jet",
            f"The input of {head.path} takes {head.width}: give head and latents of one tagger",
        )
    z = latent.flatten().to_numpy().reshape(-1, width)
    for name, layer in zip(list(LAYERS)[1:], head(z), strict=True):
        jets = jets.append_column(name, fixed_size_list(layer))
    return jets.select(kind.schema.names).cast(kind.schema)


def _require_same(view: LatentView, kinematics: tuple[str, ...]) -> None:
    differ = set(view.kinematics) ^ set(kinematics)
    if differ:
        raise InputError(
            view.file.path,
            min(differ),
            "is not in all files of the dataset",
            "Files of one dataset must have the same columns: add it, or read two datasets",
        )
