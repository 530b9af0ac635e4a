"""Jets and latents on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from otcal.runtime.errors import InputError
from otcal.samples import flavours, jets, latents, splits, tables
from otcal.samples.classes import CLASSES, TITLES, index

N = 600
FRACTIONS = {"train": 0.5, "validation": 0.2, "test": 0.3}


def make_jets(n: int, first: int = 0, schema: pa.Schema = jets.JET_SCHEMA) -> pa.Table:
    rng = np.random.default_rng(first)
    counts = rng.integers(1, 5, n)
    columns: dict[str, Any] = {}
    for field in schema:
        if field.name == "jet_id":
            columns[field.name] = np.arange(first, first + n)
        elif pa.types.is_list(field.type):
            columns[field.name] = [rng.integers(-3, 3, k).tolist() for k in counts]
        else:
            columns[field.name] = rng.integers(0, 2, n)
    return pa.table({f.name: pa.array(columns[f.name], f.type) for f in schema})


def latent_table(n: int = N) -> tuple[pa.Table, dict[str, np.ndarray]]:
    rng = np.random.default_rng(4)
    arrays = {
        "jet_id": np.arange(n) * 3,
        "label": rng.integers(0, len(CLASSES), n).astype(np.int8),
        **{name: rng.normal(size=n).astype(np.float32) for name in jets.JET_FLOATS},
        **{
            name: rng.normal(size=(n, width)).astype(np.float32)
            for name, width in latents.LAYERS.items()
        },
    }
    columns = {
        name: tables.fixed_size_list(a) if a.ndim == 2 else pa.array(a)
        for name, a in arrays.items()
    }
    return pa.table(columns, schema=latents.LATENT_SCHEMA), arrays


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    table, arrays = latent_table()
    path = tmp_path / "source.parquet"
    with latents.latent_writer(path, {"step": "export_latents"}) as writer:
        for start in range(0, N, 250):
            writer.write_table(table.slice(start, 250))
    return path, arrays


def test_classes_are_those_of_jetclass_in_its_order() -> None:
    assert (*("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl"),) == CLASSES
    assert [index(name) for name in CLASSES] == list(range(10))
    assert set(TITLES) == set(CLASSES)
    with pytest.raises(ValueError, match="not in tuple"):
        index("Htautau")


def test_jets_have_jetclass_columns() -> None:
    reference = {"part_px", "part_d0val", "part_isMuon", "jet_pt", "label_Tbl", "aux_truth_match"}
    assert reference | {"jet_id"} <= set(jets.JET_SCHEMA.names)
    assert tuple(f"label_{name}" for name in CLASSES) == jets.LABELS


def test_jets_of_several_files_come_back(tmp_path: Path) -> None:
    pieces = [make_jets(50), make_jets(70, first=50)]
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for path, piece in zip(paths, pieces, strict=True):
        jets.write_jets(path, piece, {"step": "simulate"})
    names = jets.JET_SCHEMA.names
    assert jets.read_jets(paths, names).equals(pa.concat_tables(pieces))
    lengths = [len(piece) for piece in jets.iterate_jets(paths, ["jet_pt"], batch_size=40)]
    assert sum(lengths) == 120
    assert max(lengths) <= 40


def test_jets_of_other_labels_differ_in_their_label_columns_only(tmp_path: Path) -> None:
    schema = jets.jet_schema(flavours.FLAVOURS)
    assert flavours.FLAVOURS == ("b", "c", "light")
    assert set(flavours.TITLES) == set(flavours.FLAVOURS)
    assert [flavours.index(name) for name in flavours.FLAVOURS] == [0, 1, 2]
    labels = [name for name in schema.names if name.startswith("label_")]
    assert labels == ["label_b", "label_c", "label_light"]
    others = [field for field in schema if field.name not in labels]
    assert others == [field for field in jets.JET_SCHEMA if field.name not in jets.LABELS]

    table = make_jets(30, schema=schema)
    path = tmp_path / "flavours.parquet"
    jets.write_jets(path, table, {}, schema)
    assert jets.read_jets([path], schema.names, schema).equals(table)
    assert pa.concat_tables(jets.iterate_jets([path], labels, 7, schema)).equals(
        table.select(labels)
    )
    with pytest.raises(InputError, match=r"flavours\.parquet: label_QCD: column is missing"):
        jets.read_jets([path], ["label_QCD"])


def test_jets_of_a_foreign_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign.parquet"
    pa.parquet.write_table(pa.table({"pt": [1.0]}), path)
    with pytest.raises(InputError, match=r"foreign\.parquet: jet_pt: column is missing"):
        jets.read_jets([path], ["jet_pt"])


def test_latents_come_back(stored: tuple[Path, dict[str, np.ndarray]]) -> None:
    path, arrays = stored
    read = latents.read_latents(path, list(arrays))
    assert list(read) == list(arrays)
    for name, expected in arrays.items():
        np.testing.assert_array_equal(read[name], expected)
        assert read[name].dtype == expected.dtype
    assert tables.read_provenance(path) == {"step": "export_latents"}
    assert pa.parquet.ParquetFile(path).num_row_groups == 3


@pytest.mark.parametrize("split", list(FRACTIONS))
@pytest.mark.parametrize("labels", [None, [0], [0, 3]])
def test_a_selection_of_latents(
    stored: tuple[Path, dict[str, np.ndarray]], split: str, labels: list[int] | None
) -> None:
    path, arrays = stored
    read = latents.read_latents(path, ["z10", "jet_pt"], FRACTIONS, split, labels)
    keep = splits.select(arrays["jet_id"], FRACTIONS, split)
    if labels is not None:
        keep &= np.isin(arrays["label"], labels)
    assert set(read) == {"z10", "jet_pt"}
    np.testing.assert_array_equal(read["z10"], arrays["z10"][keep])
    np.testing.assert_array_equal(read["jet_pt"], arrays["jet_pt"][keep])


def test_a_split_without_its_fractions_is_refused(
    stored: tuple[Path, dict[str, np.ndarray]],
) -> None:
    with pytest.raises(ValueError, match="fractions"):
        latents.read_latents(stored[0], ["z10"], split="test")


def test_no_jets_are_arrays_of_the_right_shape(tmp_path: Path) -> None:
    path = tmp_path / "empty.parquet"
    with latents.latent_writer(path, {}):
        pass
    read = latents.read_latents(path, ["z128", "z10", "jet_pt", "jet_id", "label"])
    shapes = {name: array.shape for name, array in read.items()}
    assert shapes == {
        "z128": (0, 128),
        "z10": (0, 10),
        "jet_pt": (0,),
        "jet_id": (0,),
        "label": (0,),
    }
    assert read["jet_id"].dtype == np.int64
    assert read["label"].dtype == np.int8


def test_latents_of_another_width_are_refused(tmp_path: Path) -> None:
    table, _ = latent_table(20)
    narrow = tables.fixed_size_list(np.zeros((20, 64), np.float32))
    path = tmp_path / "narrow.parquet"
    table = table.set_column(table.column_names.index("z128"), "z128", narrow)
    pa.parquet.write_table(table, path)
    with pytest.raises(InputError, match=r"narrow\.parquet: z128: has type .*\[64\]"):
        latents.read_latents(path, ["z128"])
    assert len(latents.read_latents(path, ["z10"])["z10"]) == 20
