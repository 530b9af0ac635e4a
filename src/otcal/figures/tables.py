"""The small tables that figures read and write."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from otcal.figures.histograms import Histogram
from otcal.runtime.errors import InputError
from otcal.runtime.files import atomic_path
from otcal.samples.tables import table_writer

Columns = dict[str, NDArray[Any]]

_TEXT = pa.string()
_NUMBER = pa.float64()

MARGINALS = pa.schema(
    [
        ("variable", _TEXT),
        ("title", _TEXT),
        ("sample", _TEXT),
        ("low", _NUMBER),
        ("high", _NUMBER),
        ("weights", _NUMBER),
        ("variances", _NUMBER),
    ]
)
"""One row per bin of a one-dimensional histogram; `title` is its axis title (TeX)."""

PAIRS = pa.schema(
    [
        ("x", _TEXT),
        ("y", _TEXT),
        ("sample", _TEXT),
        ("x_low", _NUMBER),
        ("x_high", _NUMBER),
        ("y_low", _NUMBER),
        ("y_high", _NUMBER),
        ("weights", _NUMBER),
        ("variances", _NUMBER),
    ]
)
"""One row per bin of a two-dimensional histogram, y running fastest."""

Pairs = dict[tuple[str, str, str], Histogram]


@dataclass(frozen=True)
class Marginals:
    """One-dimensional histograms of several variables and samples.

    Parameters
    ----------
    histograms
        Keyed by (variable, sample).
    titles
        Axis title of each variable (TeX).
    where
        The file that they come from, for messages.
    """

    histograms: dict[tuple[str, str], Histogram]
    titles: dict[str, str]
    where: str = "table"

    def pick(self, variable: str, sample: str) -> Histogram:
        """Return one histogram; `InputError` when the table does not have it."""
        if (variable, sample) not in self.histograms:
            there = sorted({f"{v} of {s}" for v, s in self.histograms})
            raise InputError(
                self.where,
                "variable",
                f"has no histogram of {variable} for {sample}",
                f"The file has: {', '.join(there)}",
            )
        return self.histograms[variable, sample]


def read(
    path: str | Path,
    columns: Sequence[str],
    optional: Sequence[str] = (),
    gaps: Sequence[str] = (),
) -> Columns:
    """Read columns of a CSV or Parquet table (the suffix decides).

    Of the `optional` columns those are read that are there and have no empty cell; the columns
    `gaps` may have empty cells, which become NaN.

    Raises
    ------
    InputError
        When the file is missing or damaged, has no rows, lacks a column, or has empty cells or
        NaN in it.
    """
    path = Path(path)
    remedy = "Delete it so that it is made again"
    try:
        table = pq.read_table(path) if path.suffix == ".parquet" else pv.read_csv(path)
    except FileNotFoundError:
        raise InputError(path, "file", "does not exist", "Check the path") from None
    except (pa.ArrowException, OSError) as error:
        raise InputError(path, "file", f"cannot be read ({error})", remedy) from None
    present = [*columns, *gaps, *(name for name in optional if _complete(table, name))]
    for name in present:
        if name not in table.column_names:
            there = ", ".join(table.column_names)
            raise InputError(path, name, "column is missing", f"The file has: {there}")
        column = table[name]
        numeric = pa.types.is_floating(column.type)
        if name not in gaps and (
            column.null_count or (numeric and not pc.all(pc.is_finite(column)).as_py())
        ):
            raise InputError(path, name, "has empty, NaN or infinite cells", remedy)
    if table.num_rows == 0:
        raise InputError(path, "rows", "has none", remedy)
    return {name: table[name].to_numpy() for name in present}


def _complete(table: pa.Table, name: str) -> bool:
    return name in table.column_names and table[name].null_count == 0


def write_csv(path: str | Path, columns: Mapping[str, Any], digits: int = 6) -> None:
    """Write columns of equal length as CSV with `digits` significant; NaN makes an empty cell."""
    texts = []
    for values in columns.values():
        array = np.asarray(values)
        floats = np.issubdtype(array.dtype, np.floating)
        texts.append([_cell(v, digits) if floats else str(v) for v in array.tolist()])
    with atomic_path(path) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*texts, strict=True))


def _cell(value: float, digits: int) -> str:
    return "" if math.isnan(value) else f"{value:.{digits}g}"


def stack(parts: Sequence[Mapping[str, Any]]) -> Columns:
    """Put tables with the same columns below one another; scalars are repeated."""
    result: dict[str, list[NDArray[Any]]] = {name: [] for name in parts[0]}
    for part in parts:
        size = max(np.size(values) for values in part.values())
        for name in result:
            values = np.asarray(part[name])
            result[name].append(np.repeat(values, size) if values.ndim == 0 else values)
    return {name: np.concatenate(pieces) for name, pieces in result.items()}


def write_marginals(path: str | Path, content: Marginals, provenance: dict[str, Any]) -> None:
    """Write one-dimensional histograms as Parquet."""
    parts = [
        {
            "variable": variable,
            "title": content.titles[variable],
            "sample": sample,
            "low": histogram.edges[0][:-1],
            "high": histogram.edges[0][1:],
            "weights": histogram.weights,
            "variances": histogram.variances,
        }
        for (variable, sample), histogram in content.histograms.items()
    ]
    _write(path, parts, MARGINALS, provenance)


def write_pairs(path: str | Path, content: Pairs, provenance: dict[str, Any]) -> None:
    """Write two-dimensional histograms, keyed by (x, y, sample), as Parquet."""
    parts = []
    for (x, y, sample), histogram in content.items():
        x_edges, y_edges = histogram.edges
        nx, ny = histogram.weights.shape
        parts.append(
            {
                "x": x,
                "y": y,
                "sample": sample,
                "x_low": np.repeat(x_edges[:-1], ny),
                "x_high": np.repeat(x_edges[1:], ny),
                "y_low": np.tile(y_edges[:-1], nx),
                "y_high": np.tile(y_edges[1:], nx),
                "weights": histogram.weights.ravel(),
                "variances": histogram.variances.ravel(),
            }
        )
    _write(path, parts, PAIRS, provenance)


def read_marginals(path: str | Path) -> Marginals:
    """Read what `write_marginals` wrote; errors as in `read`."""
    table = read(path, MARGINALS.names)
    result = Marginals({}, {}, str(path))
    for (variable, title, sample), rows in _groups(table, ("variable", "title", "sample")):
        edges = np.append(table["low"][rows], table["high"][rows][-1])
        result.titles[variable] = title
        result.histograms[variable, sample] = Histogram(
            (edges,), table["weights"][rows], table["variances"][rows]
        )
    return result


def read_pairs(path: str | Path) -> Pairs:
    """Read what `write_pairs` wrote; errors as in `read`."""
    table = read(path, PAIRS.names)
    result: Pairs = {}
    for key, rows in _groups(table, ("x", "y", "sample")):
        x_edges = np.append(np.unique(table["x_low"][rows]), table["x_high"][rows].max())
        y_edges = np.append(np.unique(table["y_low"][rows]), table["y_high"][rows].max())
        shape = (len(x_edges) - 1, len(y_edges) - 1)
        result[key[0], key[1], key[2]] = Histogram(
            (x_edges, y_edges),
            table["weights"][rows].reshape(shape),
            table["variances"][rows].reshape(shape),
        )
    return result


def _groups(table: Columns, keys: Sequence[str]) -> list[tuple[tuple[str, ...], slice]]:
    """Return runs of rows with the same keys."""
    change = np.zeros(len(table[keys[0]]), dtype=bool)
    change[0] = True
    for name in keys:
        change[1:] |= table[name][1:] != table[name][:-1]
    starts = np.flatnonzero(change)
    stops = np.append(starts[1:], len(change))
    return [
        (tuple(str(table[name][start]) for name in keys), slice(start, stop))
        for start, stop in zip(starts, stops, strict=True)
    ]


def _write(
    path: str | Path,
    parts: Sequence[Mapping[str, Any]],
    schema: pa.Schema,
    provenance: dict[str, Any],
) -> None:
    columns = stack(parts)
    table = pa.table({name: pa.array(columns[name]) for name in schema.names}).cast(schema)
    with table_writer(path, schema, provenance) as writer:
        writer.write_table(table)
