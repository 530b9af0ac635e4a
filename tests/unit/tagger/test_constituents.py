from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from otcal.runtime.errors import InputError
from otcal.samples.jets import JET_SCHEMA


def set_column(table: pa.Table, name: str, values: object) -> pa.Table:
    field = JET_SCHEMA.field(name)
    return table.set_column(table.column_names.index(name), field, pa.array(values, field.type))


def test_one_jet_by_hand(make_jets, ragged) -> None:
    table = make_jets(1, 0)
    lists = {
        "part_px": [3.0, 0.0, 30.0, 6.0, 1.0, 2.0, 0.5, 0.1],
        "part_py": [4.0, 1.0, 40.0, 8.0, 0.0, 0.0, 0.0, 0.0],
        "part_charge": [0, 0, 1, -1, -1, 1, -1, 1],
        "part_isPhoton": [1, 0, 0, 0, 0, 0, 0, 0],
        "part_isNeutralHadron": [0, 1, 0, 0, 0, 0, 0, 0],
        "part_isChargedHadron": [0, 0, 1, 1, 0, 0, 0, 0],
        "part_isElectron": [0, 0, 0, 0, 1, 1, 0, 0],
        "part_isMuon": [0, 0, 0, 0, 0, 0, 1, 1],
        "part_deta": [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7],
    }
    for name in [name for name in JET_SCHEMA.names if name.startswith("part_")]:
        table = set_column(table, name, [lists.get(name, [0.0] * 8)])
    jets = ragged(table)
    np.testing.assert_allclose(jets.values[:, 0], [50, 10, 5, 2, 1, 1, 0.5, 0.1])
    assert jets.kinds.tolist() == [3, 1, 0, 5, 2, 4, 6, 7]
    np.testing.assert_allclose(
        jets.values[:, 1], [0.2, 0.3, 0.0, 0.5, 0.1, 0.4, 0.6, 0.7], rtol=1e-6
    )
    assert jets.offsets.tolist() == [0, 8]
    assert jets.labels.tolist() == [0]


def test_selection_keeps_each_jets_own_constituents(make_jets, ragged) -> None:
    table = make_jets(50, 1)
    keep = np.random.default_rng(0).random(50) < 0.5
    chosen = ragged(table).select(keep)
    expected = ragged(table.filter(pa.array(keep)))
    for name in ("values", "kinds", "offsets", "features", "labels", "ids"):
        np.testing.assert_array_equal(getattr(chosen, name), getattr(expected, name))


def test_a_piece_in_the_middle_of_a_table(make_jets, ragged) -> None:
    table = make_jets(50, 2)
    whole, piece = ragged(table), ragged(table.slice(10, 20))
    np.testing.assert_array_equal(piece.lengths, whole.lengths[10:30])
    np.testing.assert_array_equal(piece.values, whole.values[whole.offsets[10] : whole.offsets[30]])


def test_no_jets(make_jets, ragged) -> None:
    jets = ragged(make_jets(5, 3).slice(0, 0))
    assert len(jets) == 0
    assert jets.values.shape == (0, 7)


def test_lists_of_different_length_are_refused(make_jets, ragged) -> None:
    table = make_jets(3, 0)
    values = table["part_deta"].to_pylist()
    values[1] = values[1][:-1]
    with pytest.raises(InputError, match="part_deta: has another number of constituents"):
        ragged(set_column(table, "part_deta", values))


@pytest.mark.parametrize("value", [0, 1])
def test_a_jet_needs_exactly_one_class(make_jets, ragged, value: int) -> None:
    table = make_jets(4, 0)  # QCD, Hbb, Hcc, Hgg
    label = [0, value, 0, 0]
    table = set_column(table, "label_Hbb", label)
    table = set_column(table, "label_H4q", label)
    with pytest.raises(InputError, match="1 jets do not have exactly one class"):
        ragged(table)
