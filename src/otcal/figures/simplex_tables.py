"""Columns of the tables that the simplex study's figures are drawn from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from otcal.figures.tables import Columns
from otcal.samples.flavours import FLAVOURS
from otcal.samples.tables import write_table

_TEXT, _NUMBER, _COUNT = pa.string(), pa.float64(), pa.int64()


def _schema(texts: tuple[str, ...], numbers: tuple[str, ...], counts: tuple[str, ...]) -> pa.Schema:
    fields = [(name, _TEXT) for name in texts]
    fields += [(name, _COUNT) for name in counts] + [(name, _NUMBER) for name in numbers]
    return pa.schema(fields)


MIXTURE = _schema(
    ("region", "enriched", "feature", "sample", "flavour"), ("low", "high", "jets"), ()
)
"""Jets of each region per bin: `data` (flavour `all`), mixtures `before` and `after` the fit."""

COMPONENTS = _schema(
    ("region", "enriched", "feature", "flavour"),
    ("low", "high", "extracted", "shape_up", "shape_down", "total_up", "total_down", "truth"),
    (),
)
"""Jets of each region, flavour and bin: extracted with the edges of its bands, and true ones."""

CONVERGENCE = _schema(
    ("start", "region", "flavour"),
    ("iteration", "log_likelihood", "objective", "fraction"),
    (),
)
"""One row per start, iteration, region and flavour."""

PLANE = _schema(("flavour",), ("z1", "z2", "moved_z1", "moved_z2"), ("jets",))
"""Mean position and mean image of simulated jets in a bin of the ILR plane."""

SIMPLEX = _schema(
    ("flavour",),
    (*(f"p_{name}" for name in FLAVOURS), *(f"moved_{name}" for name in FLAVOURS)),
    ("jets", "shown", *(f"cell_{name}" for name in FLAVOURS)),
)
"""The same in a triangle of the simplex; `shown` is 1 where there are jets enough for an arrow."""


def write(path: Path, columns: Columns, schema: pa.Schema, provenance: dict[str, Any]) -> None:
    """Write a table as Parquet, with its provenance."""
    table = pa.table({name: pa.array(columns[name]) for name in schema.names})
    write_table(path, table, schema, provenance)
