"""Jets run through a tagger piece by piece; it sees its inputs and nothing else."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from otcal.config.tagger import Inference
from otcal.runtime.errors import InputError
from otcal.samples.classes import CLASSES
from otcal.samples.jets import JET_SCHEMA, write_jets
from otcal.tagger.constituents import columns, from_table
from otcal.tagger.network import Tagger
from otcal.tagger.preprocessing import Preprocessing
from otcal.tagger.saved import SavedTagger
from otcal.tagger.streaming import Piece, stream

CPU = torch.device("cpu")
NAMES = ("deta", "dphi", "d0val", "d0err"), ("pt", "eta")
CLOSE = {"atol": 1e-6, "rtol": 1e-5}


@pytest.fixture(scope="module")
def tagger(make_jets) -> SavedTagger:
    jets = from_table(make_jets(100, 7), *NAMES, CLASSES, "test")
    transform = Preprocessing.fit(jets, *NAMES, quantiles=50, max_constituents=40)
    torch.manual_seed(3)
    network = Tagger(
        constituent_features=4,
        jet_features=2,
        classes=10,
        d_model=32,
        blocks=2,
        heads=4,
        expansion=2,
        dropout=0.1,
        head=[16, 16],
    )
    for block in network.blocks:  # so that the jet features do something
        torch.nn.init.normal_(block.film.weight, std=0.2)
    return SavedTagger(network.eval().requires_grad_(False), transform, CLASSES)


@pytest.fixture
def run(tagger, tmp_path):
    def through(*tables: pa.Table, also=(), **more) -> list[Piece]:
        paths = [tmp_path / f"{number}.parquet" for number in range(len(tables))]
        for path, table in zip(paths, tables, strict=True):
            write_jets(path, table, {})
        settings = {"device": CPU, "threads": 1, "label": "test"} | more
        return list(stream(tagger, paths, also, Inference(), **settings))

    return through


def joined(pieces: list[Piece], layer: int = 2) -> np.ndarray:
    return np.concatenate([piece.layers[layer] for piece in pieces])


def replaced(table: pa.Table, name: str, seed: int = 0) -> pa.Table:
    """Return the table with other numbers in a column, of the same shape."""
    field = JET_SCHEMA.field(name)
    column = table[name].combine_chunks()
    flat = column.flatten() if pa.types.is_list(field.type) else column
    values = np.random.default_rng(seed).permutation(flat.to_numpy(zero_copy_only=False))
    if not pa.types.is_integer(flat.type):
        values = 3 * values + 1
    new = pa.array(values.astype(flat.type.to_pandas_dtype()), flat.type)
    if pa.types.is_list(field.type):
        new = pa.ListArray.from_arrays(column.offsets, new)
    return table.set_column(table.column_names.index(name), field, new)


def test_pieces_are_the_files_in_their_order(run, make_jets) -> None:
    tables = make_jets(70, 1), make_jets(20, 2)
    pieces = run(*tables, also=["jet_energy", "jet_id"], batch_size=30)
    assert [(piece.path.name, piece.first, len(piece.ids)) for piece in pieces] == [
        *(("0.parquet", 0, 30), ("0.parquet", 30, 30), ("0.parquet", 60, 10)),
        ("1.parquet", 0, 20),
    ]
    whole = pa.concat_tables(tables)
    found = pa.concat_tables([piece.table for piece in pieces])
    np.testing.assert_array_equal(found["jet_energy"].to_numpy(), whole["jet_energy"].to_numpy())
    ids = np.concatenate([piece.ids for piece in pieces])
    np.testing.assert_array_equal(ids, whole["jet_id"].to_numpy())
    np.testing.assert_array_equal(
        np.concatenate([piece.labels for piece in pieces]),
        from_table(whole, *NAMES, CLASSES, "test").labels,
    )
    assert [joined(pieces, layer).shape for layer in range(3)] == [(90, 16), (90, 16), (90, 10)]


def test_a_jet_in_two_files_is_refused(run, make_jets) -> None:
    table = make_jets(20, 1)
    with pytest.raises(InputError, match=r"jet_id: 1 ids are there more than once"):
        run(table, pa.concat_tables([make_jets(20, 2), table.slice(7, 1)]))


def test_the_size_of_pieces_has_no_influence(run, make_jets) -> None:
    table = make_jets(70, 1)
    one, many = joined(run(table)), joined(run(table, batch_size=11))
    np.testing.assert_allclose(many, one, **CLOSE)


def test_labels_truth_ids_and_unlisted_features_reach_no_output(run, make_jets) -> None:
    table = make_jets(60, 1)
    listed = columns(*NAMES, ())
    other = table
    for name in JET_SCHEMA.names:
        if name.startswith("label_"):
            flags = [int(name == f"label_{CLASSES[-1]}")] * 60
            field = JET_SCHEMA.field(name)
            place = other.column_names.index(name)
            other = other.set_column(place, field, pa.array(flags, field.type))
        elif name not in listed or name == "jet_id":
            other = replaced(other, name)
    pieces = run(other)
    assert (pieces[0].labels == 9).all()
    assert sorted(pieces[0].ids) == sorted(table["jet_id"].to_pylist())
    np.testing.assert_array_equal(joined(pieces), joined(run(table)))


def test_what_a_tagger_reads_is_what_its_settings_list() -> None:
    assert columns(*NAMES, ("b", "c", "light")) == [
        "jet_id",  # splits jets
        *("part_px", "part_py"),  # pT, which orders the constituents
        *("part_charge", "part_isChargedHadron", "part_isNeutralHadron"),  # particle type
        *("part_isElectron", "part_isMuon"),
        *("part_deta", "part_dphi", "part_d0val", "part_d0err"),
        *("jet_pt", "jet_eta"),
        *("label_b", "label_c", "label_light"),  # the truth in training
    ]


@pytest.mark.parametrize("name", ["part_d0val", "part_deta", "part_charge", "jet_pt", "jet_eta"])
def test_each_listed_feature_reaches_the_output(run, make_jets, name: str) -> None:
    table = make_jets(60, 1)
    change = np.abs(joined(run(replaced(table, name))) - joined(run(table))).max(axis=1)
    assert (change > 1e-4).mean() > 0.9


def test_a_change_is_made_before_the_tagger_sees_the_jets(run, make_jets) -> None:
    table = make_jets(60, 1)
    seen = []

    def change(piece: pa.Table) -> pa.Table:
        seen.append(piece.schema.names)
        return replaced(piece, "part_d0val")

    pieces = run(table, also=["jet_pt", "part_energy"], change=change)
    assert {"jet_pt", "part_energy", "part_d0val"} <= set(seen[0]) < set(JET_SCHEMA.names)
    np.testing.assert_array_equal(joined(pieces), joined(run(replaced(table, "part_d0val"))))
    np.testing.assert_array_equal(pieces[0].table["jet_pt"], table["jet_pt"])


def test_jets_without_constituents_have_outputs(run, make_jets) -> None:
    table = make_jets(4, 1)
    bare = table
    for name in JET_SCHEMA.names:
        if name.startswith("part_"):
            field = JET_SCHEMA.field(name)
            bare = bare.set_column(
                bare.column_names.index(name), field, pa.array([[]] * 4, field.type)
            )
    alone = joined(run(bare))
    assert np.isfinite(alone).all()
    together = joined(run(pa.concat_tables([table, bare])))
    np.testing.assert_allclose(together[4:], alone, **CLOSE)
