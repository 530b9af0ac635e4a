"""Latents on disk: what a tagger made of each jet.

The three layers are those of Algren et al. (arXiv:2507.08867, section 4.1): `z128`, the first
128-wide layer of the head; `zp128` (z'128), its last 128-wide layer; `z10` (z'10), the logits.
Those of another tagger keep these names, whatever their widths; such a file says what it holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from otcal.runtime.errors import InputError
from otcal.runtime.scratch import Column
from otcal.samples import splits, tables
from otcal.samples.classes import CLASSES
from otcal.samples.jets import JET_FLOATS

LAYERS = {"z128": 128, "zp128": 128, "z10": 10}
"""Calibrated and evaluated layers, and their widths."""

_KIND = b"otcal.latents"


@dataclass(frozen=True)
class Kind:
    """What a file of latents holds."""

    classes: tuple[str, ...] = CLASSES
    """Names of the classes, in the order of labels and logits."""
    widths: tuple[int, ...] = tuple(LAYERS.values())
    """Widths of `LAYERS`."""
    kinematics: tuple[str, ...] = JET_FLOATS
    """Columns of the jets: those of `otcal.samples.jets.JET_FLOATS` that are known."""

    @property
    def schema(self) -> pa.Schema:
        """Columns of the file."""
        content = {
            "classes": self.classes,
            "widths": self.widths,
            "kinematics": self.kinematics,
        }
        layers = zip(LAYERS, self.widths, strict=True)
        return pa.schema(
            [pa.field("jet_id", pa.int64()), pa.field("label", pa.int8())]
            + [pa.field(name, pa.float32()) for name in self.kinematics]
            + [pa.field(name, pa.list_(pa.float32(), width)) for name, width in layers],
            {_KIND: json.dumps(content).encode()},
        )


LATENT_SCHEMA = Kind().schema
"""Columns of the files that our own taggers make."""


def kind_of(path: str | Path) -> Kind:
    """Return what a file of latents says that it holds: ours, if it says nothing.

    Raises
    ------
    InputError
        When the file is missing or damaged.
    """
    return told_kind(path) or Kind()


def told_kind(path: str | Path) -> Kind | None:
    """Return what a Parquet file says that it holds of latents, None if nothing; as `kind_of`."""
    told = (tables.open_table(path).schema_arrow.metadata or {}).get(_KIND)
    if told is None:
        return None
    try:
        return Kind(**{name: tuple(values) for name, values in json.loads(told).items()})
    except (ValueError, TypeError, AttributeError) as error:
        problem = f"are not those of this version ({error})"
        raise InputError(path, "metadata", problem, "Read or export the latents again") from None


def labels_of(path: str | Path, names: Sequence[str]) -> list[int]:
    """Return the labels of classes, which are the columns of their logits, in a file of latents.

    Raises
    ------
    InputError
        For a class that the file does not know.
    """
    classes = kind_of(path).classes
    for name in names:
        if name not in classes:
            raise InputError(
                path, "label", f"has no class {name}", f"Its classes are {', '.join(classes)}"
            )
    return [classes.index(name) for name in names]


@contextmanager
def latent_writer(
    path: str | Path, provenance: dict[str, Any], kind: Kind | None = None
) -> Iterator[pq.ParquetWriter]:
    """Yield a Parquet writer for tables of a kind's schema; write one row group at a time."""
    with tables.table_writer(path, (kind or Kind()).schema, provenance) as writer:
        yield writer


def iterate_latents(
    path: str | Path, columns: Sequence[str], batch_size: int = tables.ROW_GROUP
) -> Iterator[pa.Table]:
    """Yield pieces of at most `batch_size` jets; bad files raise `InputError`."""
    yield from tables.iterate_tables([path], _schema_with(path, columns), columns, batch_size)


def _schema_with(path: str | Path, columns: Sequence[str]) -> pa.Schema:
    """Return the columns that a file says to have, if those are there (`InputError`)."""
    schema = kind_of(path).schema
    for name in columns:
        if name in JET_FLOATS and name not in schema.names:
            raise InputError(
                path,
                name,
                "column is missing",
                f"The file has: {', '.join(schema.names)}. Map it in samples.<dataset>.columns",
            )
    return schema


def read_latents(
    path: str | Path,
    columns: Sequence[str],
    fractions: Mapping[str, float] | None = None,
    split: str | None = None,
    labels: Sequence[int] | None = None,
    scratch: Path | None = None,
) -> dict[str, NDArray[Any]]:
    """Read columns as arrays: (N,), layers (N, D).

    Parameters
    ----------
    path
        A file of latents.
    columns
        Columns of the file, see `Kind.schema`.
    fractions, split
        Keep the jets of this split (see `otcal.samples.splits`); None keeps all.
    labels
        Keep the jets with these labels; None keeps all.
    scratch
        Directory for temporary files that hold the layers, see `otcal.runtime.scratch`; None holds
        them in memory.

    Raises
    ------
    InputError
        As `otcal.samples.tables.iterate_tables`.
    ValueError
        When `split` is given without `fractions`.
    """
    if split is not None and fractions is None:
        raise ValueError(f"split '{split}' needs the fractions of all splits")
    wanted = list(dict.fromkeys([*columns, "jet_id", "label"]))
    result = {name: Column(scratch if name in LAYERS else None) for name in columns}
    empty = _schema_with(path, wanted).empty_table()
    for name, column in result.items():
        column.append(tables.to_numpy(empty[name]))
    for table in iterate_latents(path, wanted):
        keep = np.ones(len(table), dtype=bool)
        if split is not None and fractions is not None:
            keep &= splits.select(tables.to_numpy(table["jet_id"]), fractions, split)
        if labels is not None:
            keep &= np.isin(tables.to_numpy(table["label"]), labels)
        for name in columns:
            result[name].append(tables.to_numpy(table[name])[keep])
    return {name: column.array() for name, column in result.items()}
