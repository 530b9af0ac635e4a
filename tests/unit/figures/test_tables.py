from __future__ import annotations

import numpy as np
import pytest

from otcal.figures import tables
from otcal.figures.histograms import Histogram
from otcal.figures.tables import Marginals
from otcal.runtime.errors import InputError


def histogram(*edges):
    result = Histogram.empty(*edges)
    rng = np.random.default_rng(4)
    result.fill(*rng.uniform(size=(len(edges), 300)), weights=rng.exponential(size=300))
    return result


def test_marginals_survive_a_round_trip(tmp_path):
    edges = np.geomspace(0.01, 1, 8)
    content = Marginals(
        {("a", "source"): histogram(edges), ("a", "target"): histogram(edges)}, {"a": "$a$"}
    )
    tables.write_marginals(tmp_path / "t.parquet", content, {"step": "x"})
    back = tables.read_marginals(tmp_path / "t.parquet")
    assert back.titles == {"a": "$a$"}
    assert list(back.histograms) == [("a", "source"), ("a", "target")]
    for key, expected in content.histograms.items():
        np.testing.assert_array_equal(back.histograms[key].edges[0], expected.edges[0])
        np.testing.assert_array_equal(back.histograms[key].weights, expected.weights)
        np.testing.assert_array_equal(back.histograms[key].variances, expected.variances)


def test_pairs_survive_a_round_trip(tmp_path):
    x, y = np.linspace(0, 1, 5), np.linspace(0, 2, 4)
    content = {("a", "b", "source"): histogram(x, y), ("a", "c", "source"): histogram(y, x)}
    tables.write_pairs(tmp_path / "t.parquet", content, {})
    back = tables.read_pairs(tmp_path / "t.parquet")
    assert list(back) == list(content)
    for key, expected in content.items():
        np.testing.assert_array_equal(back[key].weights, expected.weights)
        np.testing.assert_array_equal(back[key].edges[1], expected.edges[1])


def test_csv_round_trip_with_empty_cells_for_nan(tmp_path):
    path = tmp_path / "t.csv"
    tables.write_csv(path, {"name": ["a", "b"], "x": [1 / 3, np.nan], "n": [1, 2]})
    assert path.read_text() == "name,x,n\na,0.333333,1\nb,,2\n"
    with pytest.raises(InputError, match=r"t\.csv: x: has empty, NaN or infinite cells"):
        tables.read(path, ["x"])
    assert list(tables.read(path, ["n"], optional=["x", "y", "name"])) == ["n", "name"]


def test_missing_column_names_file_column_and_what_there_is(tmp_path):
    tables.write_csv(tmp_path / "t.csv", {"fpr": [0.1]})
    with pytest.raises(InputError, match=r"t\.csv: tpr: column is missing\. The file has: fpr"):
        tables.read(tmp_path / "t.csv", ["fpr", "tpr"])


@pytest.mark.parametrize("name", ["no.csv", "no.parquet"])
def test_missing_file(tmp_path, name):
    with pytest.raises(InputError, match="does not exist"):
        tables.read(tmp_path / name, ["x"])


@pytest.mark.parametrize("content", [b"PAR1 and then nothing", b""])
def test_damaged_parquet_file(tmp_path, content):
    (tmp_path / "t.parquet").write_bytes(content)
    with pytest.raises(InputError, match="cannot be read"):
        tables.read(tmp_path / "t.parquet", ["x"])


def test_table_without_rows(tmp_path):
    (tmp_path / "t.csv").write_text("x,y\n")
    with pytest.raises(InputError, match="rows: has none"):
        tables.read(tmp_path / "t.csv", ["x"])


def test_unknown_histogram_names_the_known_ones():
    content = Marginals(
        {("a", "source"): histogram(np.linspace(0, 1, 3))}, {"a": "$a$"}, "t.parquet"
    )
    with pytest.raises(
        InputError, match=r"no histogram of b for source\. The file has: a of source"
    ):
        content.pick("b", "source")
