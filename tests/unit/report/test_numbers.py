"""Numbers in writing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from otcal.report.making import duration
from otcal.report.manifest import Table
from otcal.report.numbers import Summary, grid, write


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.4996, 3, "0.500"),
        (-0.25, 2, "−0.25"),
        (-0.0004, 2, "0.00"),
        (-0.0, 0, "0"),
        (8181000.0, 0, "8\u202f181\u202f000"),
        (-1234.5, 1, "−1\u202f234.5"),
    ],
)
def test_numbers(value: float, digits: int, text: str) -> None:
    assert write(value, digits) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (7200, "2.0 h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.fixture
def summary(tmp_path: Path) -> Summary:
    path = tmp_path / "summary.json"
    values = {"auc.a": 0.5, "auc.a.std": 0.003, "auc.a.stat": 0.004, "auc.b": 0.6, "auc.c": 0.7}
    path.write_text(json.dumps(values | {"error.a": 0.01, "error.b": 0.02, "error.c": 0.03}))
    return Summary(path)


def test_errors_are_joined_in_quadrature(summary: Summary) -> None:
    assert summary.cell("auc.a", 3).spread == "± 0.005"
    assert summary.cell("auc.b", 3).spread == ""


def test_rows_have_the_order_of_their_names_and_may_have_errors_of_their_own(
    summary: Summary,
) -> None:
    columns = [{"title": "AUC", "key": "auc.{row}", "error": "error.{row}"}]
    names = {"c": "Third", "a": "First", "unused": "?"}
    table = Table.model_validate(
        {"id": "t", "title": "T", "row_title": "R", "rows": "*", "names": names}
        | {"columns": columns, "caption": "C"}
    )
    rows = grid(table, summary).rows
    assert [title for title, _ in rows] == ["Third", "First", "b"]
    assert [cells[0].spread for _, cells in rows] == ["± 0.030", "± 0.010", "± 0.020"]
