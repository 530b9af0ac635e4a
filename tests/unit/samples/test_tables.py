"""Parquet files with a schema: what is good comes back, what is bad is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from otcal.runtime.errors import InputError
from otcal.samples import tables

SCHEMA = pa.schema(
    [
        pa.field("jet_id", pa.int64()),
        pa.field("x", pa.float32()),
        pa.field("parts", pa.list_(pa.float32())),
        pa.field("z", pa.list_(pa.float32(), 2)),
    ]
)
GOOD: dict[str, pa.Array] = {
    "jet_id": pa.array([7, 8, 9, 2**60], pa.int64()),
    "x": pa.array([0.1, -2, 3, 4], pa.float32()),
    "parts": pa.array([[1, 2], [], [3], []], pa.list_(pa.float32())),
    "z": pa.array([[1, 2], [3, 4], [5, 6], [7, 8]], pa.list_(pa.float32(), 2)),
}


def write(path: Path, **change: pa.Array | None) -> Path:
    columns = {name: column for name, column in (GOOD | change).items() if column is not None}
    pq.write_table(pa.table(columns), path)
    return path


def read(*paths: Path) -> pa.Table:
    return tables.read_tables(paths, SCHEMA, SCHEMA.names)


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    provenance = {"step": "s", "seed": 3, "spec": {"a": [0.1]}}
    tables.write_table(path, pa.table(GOOD), SCHEMA, provenance)
    assert read(path).equals(pa.table(GOOD, schema=SCHEMA))
    assert tables.read_provenance(path) == provenance
    assert tables.row_count(path) == 4


def test_somebody_elses_file_has_no_provenance(tmp_path: Path) -> None:
    assert tables.read_provenance(write(tmp_path / "t.parquet")) == {}


def test_equal_tables_are_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        tables.write_table(tmp_path / name, pa.table(GOOD), SCHEMA, {"b": 1, "a": 2})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    def fails() -> None:
        with tables.table_writer(tmp_path / "t.parquet", SCHEMA, {}) as writer:
            writer.write_table(pa.table(GOOD, schema=SCHEMA))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert list(tmp_path.iterdir()) == []


def test_pieces_are_no_larger_than_asked_and_in_order(tmp_path: Path) -> None:
    paths = []
    for first in (0, 100):
        ids = np.arange(first, first + 100)
        table = pa.table({"jet_id": ids, "x": np.zeros(100, np.float32)})
        paths.append(tmp_path / f"{first}.parquet")
        pq.write_table(table, paths[-1], row_group_size=30)
    pieces = list(tables.iterate_tables(paths, SCHEMA, ["jet_id"], batch_size=40))
    assert max(map(len, pieces)) <= 40
    joined = np.concatenate([tables.to_numpy(piece["jet_id"]) for piece in pieces])
    np.testing.assert_array_equal(joined, np.arange(200))


def test_columns_come_in_the_order_asked(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet")
    assert tables.read_tables([path], SCHEMA, ["z", "jet_id"]).column_names == ["z", "jet_id"]


def test_wider_numbers_and_longer_lists_are_taken(tmp_path: Path) -> None:
    path = write(
        tmp_path / "t.parquet",
        jet_id=GOOD["jet_id"].cast(pa.uint64()),
        x=pa.array([0.1, -2, 3, 4], pa.float64()),
        parts=GOOD["parts"].cast(pa.large_list(pa.float64())),
        z=GOOD["z"].cast(pa.list_(pa.float64(), 2)),
    )
    assert read(path).equals(pa.table(GOOD, schema=SCHEMA))


@pytest.mark.parametrize("rows", [0, 2])
def test_empty_tables_and_jets_without_constituents_are_no_error(tmp_path: Path, rows: int) -> None:
    columns: dict[str, Any] = {name: column[:rows] for name, column in GOOD.items()}
    columns["parts"] = pa.array([[]] * rows, pa.list_(pa.float32()))
    path = write(tmp_path / "t.parquet", **columns)
    table = read(path)
    assert len(table) == rows
    assert tables.to_numpy(table["z"]).shape == (rows, 2)
    assert table.schema.names == SCHEMA.names


def test_no_files_are_an_empty_table() -> None:
    assert read().schema.equals(SCHEMA)


@pytest.mark.parametrize(
    ("name", "column", "problem"),
    [
        ("x", None, "column is missing"),
        ("x", pa.array(["a", "b", "c", "d"]), "has type string"),
        ("x", GOOD["parts"], "has type list<"),
        ("parts", GOOD["x"], "has type float"),
        ("parts", pa.array([["a"]] * 4), "has type list<"),
        ("z", GOOD["parts"], "has type list<"),
        ("z", pa.array([[1.0] * 3] * 4, pa.list_(pa.float32(), 3)), "has type fixed_size_list<"),
        ("x", pa.array([1, np.nan, 2, 3], pa.float32()), "NaN or infinite value (element 1 "),
        ("x", pa.array([1, 2, np.inf, 3], pa.float32()), "NaN or infinite value (element 2 "),
        ("x", pa.array([1, 2, 3, 1e300], pa.float64()), "NaN or infinite value (element 3 "),
        (
            "parts",
            pa.array([[1], [], [2, -np.inf], []], pa.list_(pa.float32())),
            "NaN or infinite value (element 2 ",
        ),
        (
            "z",
            pa.array([[0, 0], [0, np.nan], [0, 0], [0, 0]], pa.list_(pa.float32(), 2)),
            "NaN or infinite value (element 3 ",
        ),
        (
            "z",
            pa.array([[1, 2]] * 4, pa.list_(pa.timestamp("s"), 2)),
            "has type fixed_size_list<",
        ),
        (
            "z",
            pa.array([[{"a": 1}, {"a": 2}]] * 4, pa.list_(pa.struct([("a", pa.int8())]), 2)),
            "has type fixed_size_list<",
        ),
        ("parts", pa.array([[1]] * 4, pa.list_(pa.timestamp("s"))), "has type list<"),
        ("jet_id", pa.array([1, 2, 3, 2**63], pa.uint64()), "a value that does not fit int64"),
        ("jet_id", pa.array([1, 2.5, 3, 4], pa.float64()), "a value that does not fit int64"),
        ("jet_id", pa.array([1, None, 2, 3], pa.int64()), "missing values"),
        ("x", pa.array([1, None, 2, 3], pa.float32()), "missing values"),
        ("parts", pa.array([[1], None, [], []], pa.list_(pa.float32())), "missing values"),
        ("parts", pa.array([[1], [None], [], []], pa.list_(pa.float32())), "missing values"),
        ("z", pa.array([[1, 2], None, [3, 4], [5, 6]], pa.list_(pa.float32(), 2)), "missing"),
    ],
)
def test_a_bad_column_is_named(
    tmp_path: Path, name: str, column: pa.Array | None, problem: str
) -> None:
    good, bad = write(tmp_path / "good.parquet"), write(tmp_path / "bad.parquet", **{name: column})
    with pytest.raises(InputError) as caught:
        read(good, bad)
    assert caught.value.where == str(bad)
    assert caught.value.field == name
    assert problem in caught.value.problem
    assert "damaged" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_column_that_is_there_twice_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    columns = [*GOOD.values(), GOOD["x"]]
    pq.write_table(pa.Table.from_arrays(columns, names=[*GOOD, "x"]), path)
    with pytest.raises(InputError, match=r"t\.parquet: x: is the name of several columns"):
        read(path)
    assert len(tables.read_tables([path], SCHEMA, ["jet_id", "z"])) == 4


def test_a_bad_column_that_nobody_asked_for_is_no_error(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", x=pa.array(["a"] * 4))
    assert len(tables.read_tables([path], SCHEMA, ["jet_id"])) == 4


def test_a_missing_column_lists_those_that_are_there(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", x=None)
    with pytest.raises(InputError, match="The file has: jet_id, parts, z"):
        read(path)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"root file", b"PAR1" + bytes(100) + b"PAR1"])
def test_another_kind_of_file_is_an_input_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.parquet"
    path.write_bytes(content)
    for reader in (read, tables.row_count, tables.read_provenance):
        with pytest.raises(InputError, match=r"t\.parquet: file: is not a readable Parquet file"):
            reader(path)


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_a_truncated_file_is_an_input_error(tmp_path: Path, share: float) -> None:
    path = write(tmp_path / "t.parquet")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match="is not a readable Parquet file"):
        read(path)


def test_damaged_data_are_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    table = pa.table({"x": np.random.default_rng(1).normal(size=20_000).astype(np.float32)})
    tables.write_table(path, table, pa.schema([SCHEMA.field("x")]), {})
    content = bytearray(path.read_bytes())
    content[200:3000] = bytes(2800)
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        tables.read_tables([path], SCHEMA, ["x"])
    assert caught.value.where == str(path)
    assert "damaged" in caught.value.remedy
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read(tmp_path / "t.parquet")


def test_arrays_become_columns_and_back() -> None:
    values = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    column = tables.fixed_size_list(values.T.copy().T)  # Fortran order
    np.testing.assert_array_equal(tables.to_numpy(column), values)
    chunked = pa.chunked_array([column[1:3], column[4:]])
    np.testing.assert_array_equal(tables.to_numpy(chunked), values[[1, 2, 4]])
    assert tables.to_numpy(tables.fixed_size_list(values[:0])).shape == (0, 3)


def test_what_has_been_read_is_given_back(tmp_path: Path) -> None:
    """Of a file of forty row groups, memory holds a few: buffers and the one that is read."""
    schema = pa.schema([pa.field("z", pa.list_(pa.float32(), 128))])
    rng = np.random.default_rng(0)
    values = rng.standard_normal((40_000, 128), dtype=np.float32)
    with tables.table_writer(tmp_path / "z.parquet", schema, {}) as writer:
        for start in range(0, len(values), 1000):
            rows = tables.fixed_size_list(values[start : start + 1000])
            writer.write_table(pa.table({"z": rows}))
    del writer, rows
    before = pa.total_allocated_bytes()
    held = [
        pa.total_allocated_bytes() - before
        for _ in tables.iterate_tables([tmp_path / "z.parquet"], schema, ["z"], 1000)
    ]
    assert len(held) == 40
    assert max(held) < values.nbytes / 4
