"""Targets on disk: samples of a flavour's extracted density and of its variations.

Columns `variation` (`nominal`, or the name of a variation) and `z` (ILR coordinates).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from otcal.runtime.errors import InputError
from otcal.samples import tables


def target_schema(dimensions: int = 2) -> pa.Schema:
    """Return the columns of a file of targets with this many ILR coordinates."""
    return pa.schema(
        [pa.field("variation", pa.string()), pa.field("z", pa.list_(pa.float32(), dimensions))]
    )


def write_targets(
    path: str | Path, samples: Mapping[str, NDArray[Any]], provenance: dict[str, Any]
) -> None:
    """Write samples by the name of their variation, arrays (N, D)."""
    names = np.repeat(list(samples), [len(z) for z in samples.values()])
    z = np.concatenate(list(samples.values())).astype(np.float32)
    table = pa.table({"variation": pa.array(names), "z": tables.fixed_size_list(z)})
    tables.write_table(path, table, target_schema(z.shape[1]), provenance)


def read_target(
    path: str | Path, variation: str = "nominal", dimensions: int = 2
) -> NDArray[np.float32]:
    """Read the sample of one variation, shape (N, D).

    Raises
    ------
    InputError
        When the file is not one of targets or has no such variation; names those that it has.
    """
    z = tables.to_numpy(tables.read_tables([path], target_schema(dimensions), ["z"])["z"])
    names = pq.read_table(path, columns=["variation"])  # its reader knows numbers only
    if not names.num_columns:
        raise InputError(path, "variation", "column is missing", "Make it with sample_targets")
    chosen = np.asarray(names["variation"]) == variation
    if not chosen.any():
        known = ", ".join(names["variation"].unique().to_pylist())
        raise InputError(path, "variation", f"has no '{variation}'", f"The file has: {known}")
    return np.asarray(z[chosen], dtype=np.float32)
