"""Files of scores: what is good comes back, what is bad is named by its row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from otcal.runtime.errors import InputError
from otcal.samples import scores, tables

FLAVOURS = ("b", "c", "light")
N = 500


def make(n: int = N, seed: int = 1) -> scores.Scores:
    rng = np.random.default_rng(seed)
    return scores.Scores(
        ids=rng.permutation(10 * n)[:n] + 2**40,
        labels=rng.integers(0, 3, n).astype(np.int8),
        pt=rng.uniform(20, 250, n).astype(np.float32),
        eta=rng.uniform(-2.5, 2.5, n).astype(np.float32),
        p=rng.dirichlet([0.3, 0.3, 0.3], n),
    )


def store(path: Path, sample: scores.Scores) -> Path:
    table = sample.to_table(FLAVOURS)
    with scores.score_writer(path, FLAVOURS, {"step": "export_scores"}) as writer:
        for start in range(0, len(table), 200):
            writer.write_table(table.slice(start, 200))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return store(tmp_path / "data.parquet", make())


def edit(path: Path, row: int, **values: float | None) -> None:
    """Overwrite a row's values of some columns, in row groups as before."""
    table = pq.read_table(path)
    for name, value in values.items():
        column = table[name].to_pylist()
        column[row] = value
        field = table.schema.field(name)
        table = table.set_column(
            table.column_names.index(name), field, pa.array(column, field.type)
        )
    pq.write_table(table, path, row_group_size=200)


def test_columns_are_those_of_the_contract() -> None:
    schema = scores.score_schema(FLAVOURS)
    assert schema.names == ["jet_id", "label", "jet_pt", "jet_eta", "p_b", "p_c", "p_light"]
    assert [str(kind) for kind in schema.types] == ["int64", "int8", *["float"] * 5]
    assert scores.score_schema(("s", "t")).names[4:] == ["p_s", "p_t"]


def test_scores_come_back(path: Path) -> None:
    sample, read = make(), scores.read_scores(path, FLAVOURS)
    for name in ("ids", "labels", "pt", "eta"):
        np.testing.assert_array_equal(getattr(read, name), getattr(sample, name))
        assert getattr(read, name).dtype == getattr(sample, name).dtype
    assert read.p.dtype == np.float64
    np.testing.assert_allclose(read.p.sum(axis=1), 1, atol=3e-16)
    np.testing.assert_allclose(read.p, sample.p, rtol=2e-7)
    assert tables.read_provenance(path) == {"step": "export_scores"}
    assert pq.ParquetFile(path).num_row_groups == 3
    assert pq.read_schema(path).equals(scores.score_schema(FLAVOURS))


@pytest.mark.parametrize("labels", [[0], [1, 2], []])
def test_jets_of_some_labels(path: Path, labels: list[int]) -> None:
    whole, read = (scores.read_scores(path, FLAVOURS, which) for which in (None, labels))
    keep = np.isin(whole.labels, labels)
    np.testing.assert_array_equal(read.ids, whole.ids[keep])
    np.testing.assert_array_equal(read.p, whole.p[keep])


def test_reading_and_writing_again_changes_nothing_but_rounding(path: Path, tmp_path: Path) -> None:
    once = scores.read_scores(path, FLAVOURS)
    twice = scores.read_scores(store(tmp_path / "again.parquet", once), FLAVOURS)
    np.testing.assert_allclose(twice.p, once.p, rtol=2e-7)
    np.testing.assert_array_equal(twice.ids, once.ids)


def test_selected_jets_keep_their_values() -> None:
    sample, order = make(), np.array([4, 0, 499])
    few = sample.select(order)
    assert len(few) == 3
    for name in ("ids", "labels", "pt", "eta", "p"):
        np.testing.assert_array_equal(getattr(few, name), getattr(sample, name)[order])


def test_no_jets(tmp_path: Path) -> None:
    read = scores.read_scores(store(tmp_path / "x.parquet", make().select(np.arange(0))), FLAVOURS)
    assert len(read) == 0
    assert read.p.shape == (0, 3)


def test_unknown_labels_and_foreign_columns_are_fine(path: Path) -> None:
    edit(path, 3, label=-1)
    table = pq.read_table(path)
    pq.write_table(table.append_column("weight", pa.array(np.ones(N))), path)
    assert scores.read_scores(path, FLAVOURS).labels[3] == -1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"p_b": 1.0, "p_c": 0.0, "p_light": 0.0}, r"p_c: is 0 in row 417 .*Set a floor"),
        ({"p_b": 0.6, "p_c": 0.6, "p_light": -0.2}, r"p_light: is -0\.2 in row 417 .*softmax"),
        ({"p_b": 0.5, "p_c": 0.2, "p_light": 0.1}, r"p_b, p_c, p_light: sum to 0\.8 .* row 417 "),
        ({"p_b": float("nan")}, r"p_b: has a NaN or infinite value \(element 417 of a piece of 5"),
        ({"p_c": float("inf")}, r"p_c: has a NaN or infinite value \(element 417 of a piece of 5"),
        ({"p_c": None}, r"p_c: has missing values"),
        ({"label": 3}, r"label: is 3 in row 417 .*0 = b, 1 = c, 2 = light, or -1"),
        ({"label": -2}, r"label: is -2 in row 417 "),
    ],
)
def test_a_bad_row_is_named(path: Path, values: dict[str, float | None], message: str) -> None:
    edit(path, 417, **values)
    with pytest.raises(InputError, match=rf"data\.parquet: {message}"):
        scores.read_scores(path, FLAVOURS)
    with pytest.raises(InputError, match=message):  # whatever jets are wanted
        scores.read_scores(path, FLAVOURS, labels=[])


def test_a_floor_mends_zeros_and_says_so(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    expected = scores.read_scores(path, FLAVOURS).p
    assert caplog.text == ""
    edit(path, 417, p_b=1.0, p_c=0.0, p_light=0.0)
    read = scores.read_scores(path, FLAVOURS, floor=1e-4).p
    np.testing.assert_allclose(read[417], np.array([1, 1e-4, 1e-4]) / 1.0002, rtol=1e-12)
    untouched = (expected >= 1e-4).all(axis=1) & (np.arange(N) != 417)
    np.testing.assert_array_equal(read[untouched], expected[untouched])
    floored = 1 + (np.delete(expected, 417, axis=0) < 1e-4).any(axis=1).sum()
    assert f"data.parquet: probabilities of {floored} of 500 jets raised to 0.0001" in caplog.text


def test_another_taggers_file_is_refused(path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.parquet: p_tau: column is missing"):
        scores.read_scores(path, (*FLAVOURS, "tau"))
    with pytest.raises(InputError, match=r"absent\.parquet: file: does not exist"):
        scores.read_scores(path.with_name("absent.parquet"), FLAVOURS)
