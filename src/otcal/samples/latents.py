"""Latents on disk: what a tagger made of each jet.

The three layers are those of Algren et al. (arXiv:2507.08867, section 4.1): `z128`, the first
128-wide layer of the head; `zp128` (z'128), its last 128-wide layer; `z10` (z'10), the logits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from otcal.runtime.scratch import Column
from otcal.samples import splits, tables
from otcal.samples.jets import JET_FLOATS

LAYERS = {"z128": 128, "zp128": 128, "z10": 10}
"""Calibrated and evaluated layers, and their widths."""

LATENT_SCHEMA = pa.schema(
    [pa.field("jet_id", pa.int64()), pa.field("label", pa.int8())]
    + [pa.field(name, pa.float32()) for name in JET_FLOATS]
    + [pa.field(name, pa.list_(pa.float32(), width)) for name, width in LAYERS.items()]
)


@contextmanager
def latent_writer(path: str | Path, provenance: dict[str, Any]) -> Iterator[pq.ParquetWriter]:
    """Yield a Parquet writer for tables of `LATENT_SCHEMA`; write one row group at a time."""
    with tables.table_writer(path, LATENT_SCHEMA, provenance) as writer:
        yield writer


def iterate_latents(
    path: str | Path, columns: Sequence[str], batch_size: int = tables.ROW_GROUP
) -> Iterator[pa.Table]:
    """Yield pieces of at most `batch_size` jets; bad files raise `InputError`."""
    yield from tables.iterate_tables([path], LATENT_SCHEMA, columns, batch_size)


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
        Columns of `LATENT_SCHEMA`.
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
    empty = LATENT_SCHEMA.empty_table()
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
