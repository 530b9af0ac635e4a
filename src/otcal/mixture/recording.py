"""Responsibilities of every iteration on disk."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from otcal.mixture.events import Events
from otcal.runtime.files import atomic_path
from otcal.samples import tables

Array = NDArray[np.float64]


def responsibility_schema(flavours: int) -> pa.Schema:
    """Return the columns iteration, region, jet_id, gamma (one number per flavour)."""
    return pa.schema(
        [
            pa.field("iteration", pa.int32()),
            pa.field("region", pa.string()),
            pa.field("jet_id", pa.int64()),
            pa.field("gamma", pa.list_(pa.float32(), flavours)),
        ]
    )


class ResponsibilityRecorder:
    """Writes a file per iteration, so that a fit can be continued, and joins them at the end.

    Parameters
    ----------
    directory
        Where the files of an unfinished fit are kept.
    events
        The fit's events.
    flavours
        Number of components.
    """

    def __init__(self, directory: Path, events: Events, flavours: int) -> None:
        self.directory, self.events = directory, events
        self.schema = responsibility_schema(flavours)

    def write(self, iteration: int, gamma: Array) -> None:
        """Keep γ, shape (N, K)."""
        columns = [
            pa.array(np.full(len(gamma), iteration, dtype=np.int32)),
            pa.array(np.asarray(self.events.regions)[self.events.region]),
            pa.array(self.events.ids),
            tables.fixed_size_list(gamma.astype(np.float32)),
        ]
        table = pa.table(columns, schema=self.schema)
        tables.write_table(self._part(iteration), table, self.schema, {})

    def join(self, path: Path, iterations: int, provenance: Mapping[str, Any]) -> None:
        """Write the iterations 0 … `iterations` to one file, piece by piece."""
        with tables.table_writer(path, self.schema, dict(provenance)) as writer:
            for iteration in range(iterations + 1):
                for batch in pq.ParquetFile(self._part(iteration)).iter_batches(tables.ROW_GROUP):
                    writer.write_batch(batch.cast(self.schema))

    def forget(self) -> None:
        """Remove the files of the unfinished fit."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _part(self, iteration: int) -> Path:
        return self.directory / f"{iteration:05d}.parquet"


def write_history(
    path: Path, history: list[dict[str, Any]], regions: tuple[str, ...], flavours: tuple[str, ...]
) -> None:
    """Write a CSV: iteration, figures of `otcal.mixture.em.Fit`, pi_<region>_<flavour>."""
    names = ["iteration", "log_likelihood", "objective", "imbalance", "held_out"]
    fractions = [f"pi_{region}_{flavour}" for region in regions for flavour in flavours]
    lines = [",".join([*names, *fractions])]
    for row in history:
        numbers = [row[name] for name in names] + np.ravel(row["pi"]).tolist()
        lines.append(",".join(repr(number) for number in numbers))
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
