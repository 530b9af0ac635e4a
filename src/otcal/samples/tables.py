"""Parquet files with a checked schema, written whole, read in row groups."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from otcal.runtime.errors import InputError
from otcal.runtime.files import atomic_path

ROW_GROUP = 16_384
"""Rows per group: what a reader holds in memory at once."""

_PROVENANCE = b"otcal.provenance"


@contextmanager
def table_writer(
    path: str | Path, schema: pa.Schema, provenance: dict[str, Any]
) -> Iterator[pq.ParquetWriter]:
    """Yield a Parquet writer; the file appears under `path` when the block succeeds.

    `provenance` (see `otcal.runtime.provenance`) is kept in the file's metadata, beside those of
    the schema.
    """
    told = {_PROVENANCE: json.dumps(provenance, sort_keys=True).encode()}
    schema = schema.with_metadata({**(schema.metadata or {}), **told})
    with (
        atomic_path(path) as temporary,
        # Checksums, because flipped bits in numbers are numbers too.
        pq.ParquetWriter(temporary, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        yield writer


def write_table(
    path: str | Path, table: pa.Table, schema: pa.Schema, provenance: dict[str, Any]
) -> None:
    """Write a table that is in memory; its columns are cast to `schema`."""
    with table_writer(path, schema, provenance) as writer:
        writer.write_table(table.select(schema.names).cast(schema), row_group_size=ROW_GROUP)


def read_provenance(path: str | Path) -> dict[str, Any]:
    """Return the provenance that a table carries; empty for somebody else's file."""
    metadata = open_table(path).schema_arrow.metadata or {}
    content: dict[str, Any] = json.loads(metadata.get(_PROVENANCE, b"{}"))
    return content


def row_count(path: str | Path) -> int:
    """Return the number of rows without reading them."""
    return int(open_table(path).metadata.num_rows)


def iterate_tables(
    paths: Iterable[str | Path],
    schema: pa.Schema,
    columns: Sequence[str],
    batch_size: int = ROW_GROUP,
) -> Iterator[pa.Table]:
    """Yield checked pieces of at most `batch_size` rows from several files.

    Raises
    ------
    InputError
        For a file that is missing, damaged, without a column, with a column twice or of another
        type, or with values that do not fit the type, NaN or infinite ones; names file, column and
        remedy.
    """
    for path in paths:
        file = open_table(path)
        _check_schema(path, file.schema_arrow, schema, columns)
        first = 0
        try:
            for batch in file.iter_batches(batch_size, columns=list(columns)):
                table = _cast(path, pa.Table.from_batches([batch]).select(list(columns)), schema)
                _check_finite(path, table, first)
                yield table
                first += len(table)
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                path,
                "data",
                f"cannot be read ({_line(error)})",
                "The file is damaged: make it again",
            ) from None


def read_tables(paths: Iterable[str | Path], schema: pa.Schema, columns: Sequence[str]) -> pa.Table:
    """Read columns of several files into one table; errors as in `iterate_tables`."""
    pieces = list(iterate_tables(paths, schema, columns))
    if not pieces:
        return pa.schema([schema.field(name) for name in columns]).empty_table()
    return pa.concat_tables(pieces)


def to_numpy(column: pa.ChunkedArray | pa.Array) -> NDArray[Any]:
    """Return a column as an array: (N,), or (N, D) for a fixed-size list."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_fixed_size_list(array.type):
        values = array.flatten().to_numpy(zero_copy_only=False)
        return np.asarray(values).reshape(len(array), array.type.list_size)
    return np.asarray(array.to_numpy(zero_copy_only=False))


def fixed_size_list(values: NDArray[np.float32]) -> pa.FixedSizeListArray:
    """Return an array of shape (N, D) as a column of N lists."""
    flat = pa.array(np.ascontiguousarray(values, dtype=np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def open_table(path: str | Path) -> pq.ParquetFile:
    """Open a Parquet file; `InputError` when it is missing or damaged."""
    try:
        # Buffered ahead, what has been read would stay in memory as long as the file is open.
        file = pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False)
        _ = file.schema_arrow  # a type that Arrow does not know is found out only here
    except FileNotFoundError:
        raise InputError(path, "file", "does not exist", "Check the path") from None
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            path,
            "file",
            f"is not a readable Parquet file ({_line(error)})",
            "Make or fetch it again",
        ) from None
    return file


def _check_schema(
    path: str | Path, found: pa.Schema, expected: pa.Schema, columns: Sequence[str]
) -> None:
    for name in columns:
        if name not in found.names:
            raise InputError(
                path, name, "column is missing", f"The file has: {', '.join(found.names)}"
            )
        if found.names.count(name) > 1:
            raise InputError(path, name, "is the name of several columns", "Keep one of them")
        there, wanted = found.field(name).type, expected.field(name).type
        if not _compatible(there, wanted):
            raise InputError(path, name, f"has type {there}", f"Store it as {wanted}")


def _compatible(there: pa.DataType, wanted: pa.DataType) -> bool:
    """Numbers may differ in width, lists in how they are stored."""
    if pa.types.is_fixed_size_list(wanted):
        return (
            pa.types.is_fixed_size_list(there)
            and there.list_size == wanted.list_size
            and _compatible(there.value_type, wanted.value_type)
        )
    if pa.types.is_list(wanted):
        return (pa.types.is_list(there) or pa.types.is_large_list(there)) and _compatible(
            there.value_type, wanted.value_type
        )
    if pa.types.is_string(wanted):
        return pa.types.is_string(there) or pa.types.is_large_string(there)
    numeric = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
    return any(check(there) for check in numeric) and any(check(wanted) for check in numeric)


def _cast(path: str | Path, table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the columns in the types of `schema`; `InputError` names one that does not fit."""
    fields = [schema.field(name) for name in table.column_names]
    arrays = []
    for field in fields:
        try:
            arrays.append(table[field.name].cast(field.type))
        except pa.ArrowException as error:
            raise InputError(
                path,
                field.name,
                f"has a value that does not fit {field.type} ({_line(error)})",
                "Correct the values or drop these jets",
            ) from None
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _check_finite(path: str | Path, table: pa.Table, first: int) -> None:
    for name in table.column_names:
        for chunk in table[name].chunks:
            values = chunk
            missing = values.null_count  # at each level: flattening drops lists that are null
            while pa.types.is_list(values.type) or pa.types.is_fixed_size_list(values.type):
                values = values.flatten()
                missing += values.null_count
            if missing:
                raise InputError(path, name, "has missing values", "Fill or drop these jets")
            if not pa.types.is_floating(values.type):
                continue
            if not pc.all(pc.is_finite(values), min_count=0).as_py():
                bad = int(np.argmin(np.isfinite(values.to_numpy(zero_copy_only=False))))
                raise InputError(
                    path,
                    name,
                    f"has a NaN or infinite value (element {bad} of a piece of {len(values)} "
                    f"that begins in row {first})",
                    "Drop these jets or make the file again",
                )
