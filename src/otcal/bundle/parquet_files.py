"""Add columns to a Parquet file; all others, row groups and metadata stay as they are."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from otcal.bundle.rewriting import Request, readable


def rewrite(source: Path, output: Path, request: Request) -> None:
    """Write a copy of `source` with the new columns at its end.

    Row groups of more than ``request.chunk`` rows are cut; codecs are kept column by column.

    Raises
    ------
    InputError
        When the file cannot be read, or its columns are not those that the request needs.
    """
    with (
        readable(source, pa.ArrowException, OSError),
        # Buffered ahead, what has been read would stay in memory as long as the file is open.
        pq.ParquetFile(source, page_checksum_verification=True, pre_buffer=False) as file,
    ):
        schema = file.schema_arrow
        request.check(source, schema.names)
        new = [_field(name, values) for name, values in request.empty().items()]
        complete = pa.schema([*schema, *new], metadata=schema.metadata)
        with pq.ParquetWriter(
            output, complete, compression=_codecs(file, complete), write_page_checksum=True
        ) as writer:
            for group in range(file.num_row_groups):
                for batch in file.iter_batches(request.chunk, row_groups=[group]):
                    writer.write_batch(_extended(source, batch, complete, request))


def _extended(
    path: Path, batch: pa.RecordBatch, schema: pa.Schema, request: Request
) -> pa.RecordBatch:
    given = request.inputs(path, lambda column, width: _to_numpy(batch.column(column), width))
    new = [_to_arrow(values) for values in request.compute(given).values()]
    return pa.record_batch([*batch.columns, *new], schema=schema)


def _to_numpy(array: pa.Array, width: int) -> NDArray[Any]:
    kind = array.type
    if width > 1 and (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    ):
        if array.null_count == 0 and pa.types.is_fixed_size_list(kind) and kind.list_size == width:
            flat = array.flatten().to_numpy(zero_copy_only=False)
            return np.asarray(flat).reshape(len(array), width)
        rows = array.to_pylist()
        if all(row is None or len(row) == width for row in rows):
            missing = [np.nan] * width
            return np.array([missing if row is None else row for row in rows], float).reshape(
                len(array), width
            )
    return np.asarray(array.to_numpy(zero_copy_only=False))


def _field(name: str, values: NDArray[Any]) -> pa.Field:
    return pa.field(name, _to_arrow(values).type)


def _to_arrow(values: NDArray[Any]) -> pa.Array:
    if values.ndim == 1:
        return pa.array(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def _codecs(file: pq.ParquetFile, complete: pa.Schema) -> dict[str, str] | str:
    """Return the codec of each column of the output: that of the first row group, or zstd."""
    if file.metadata.num_row_groups == 0:
        return "zstd"
    group = file.metadata.row_group(0)
    given = [str(group.column(i).compression).lower() for i in range(group.num_columns)]
    # Elements of lists can have other names than the writer gives them: their order is the same.
    empty = BytesIO()
    pq.write_table(complete.empty_table(), empty)
    schema = pq.ParquetFile(empty).schema
    paths = [schema.column(i).path for i in range(len(schema))]
    codecs = ["none" if codec == "uncompressed" else codec for codec in given]
    return dict(zip(paths, [*codecs, *["zstd"] * (len(paths) - len(codecs))], strict=True))
