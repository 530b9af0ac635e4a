"""Targets on disk: samples of a flavour's extracted density and of its variations.

Columns `variation` (`nominal`, or the name of a variation), `z` (ILR coordinates), and those of the
conditions, such as `jet_pt`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from otcal.runtime.errors import InputError
from otcal.samples import tables


@dataclass(frozen=True)
class TargetSample:
    """Points of a density: ILR coordinates (N, D), and conditions (N, C) in their own units."""

    z: NDArray[Any]
    conditions: NDArray[Any]


def target_schema(dimensions: int = 2, conditions: Sequence[str] = ()) -> pa.Schema:
    """Return the columns of a file of targets with this many ILR coordinates."""
    return pa.schema(
        [
            pa.field("variation", pa.string()),
            pa.field("z", pa.list_(pa.float32(), dimensions)),
            *(pa.field(name, pa.float32()) for name in conditions),
        ]
    )


def write_targets(
    path: str | Path,
    samples: Mapping[str, TargetSample],
    provenance: dict[str, Any],
    conditions: Sequence[str] = (),
) -> None:
    """Write samples by the name of their variation."""
    names = np.repeat(list(samples), [len(sample.z) for sample in samples.values()])
    z, given = (
        np.concatenate([getattr(sample, part) for sample in samples.values()]).astype(np.float32)
        for part in ("z", "conditions")
    )
    columns = dict(zip(conditions, given.T, strict=True))
    table = pa.table({"variation": pa.array(names), "z": tables.fixed_size_list(z), **columns})
    tables.write_table(path, table, target_schema(z.shape[1], conditions), provenance)


def read_target(
    path: str | Path,
    variation: str = "nominal",
    dimensions: int = 2,
    conditions: Sequence[str] = (),
) -> TargetSample:
    """Read the sample of one variation, with the conditions asked for.

    Raises
    ------
    InputError
        When the file is not one of targets or has no such variation; names those that it has.
    """
    schema = target_schema(dimensions, conditions)
    table = tables.read_tables([path], schema, ["z", *conditions])
    names = pq.read_table(path, columns=["variation"])  # its reader knows numbers only
    if not names.num_columns:
        raise InputError(path, "variation", "column is missing", "Make it with sample_targets")
    chosen = np.asarray(names["variation"]) == variation
    if not chosen.any():
        known = ", ".join(names["variation"].unique().to_pylist())
        raise InputError(path, "variation", f"has no '{variation}'", f"The file has: {known}")
    z = np.asarray(tables.to_numpy(table["z"])[chosen], dtype=np.float32)
    given = [tables.to_numpy(table[name])[chosen] for name in conditions]
    return TargetSample(z, np.stack(given, axis=1) if given else np.empty((len(z), 0), np.float32))
