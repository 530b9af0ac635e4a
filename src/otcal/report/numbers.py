"""Numbers of the page, looked up in the study's summary and put in writing."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from otcal.report.manifest import Column, Number, Table
from otcal.runtime.errors import InputError
from otcal.runtime.files import read_json


@dataclass(frozen=True)
class Cell:
    """One number, or a word, of the page."""

    text: str
    spread: str = ""
    """The number's uncertainty, empty when it has none."""
    note: str = ""
    """What to remark about it, in words."""
    good: bool = True
    """False when the remark is a warning."""


@dataclass(frozen=True)
class Grid:
    """A table, ready to be laid out."""

    groups: list[tuple[str, int]]
    """Headings above the columns and how many each spans; empty when there are none."""
    columns: list[tuple[str, bool]]
    """Headings, and whether the column holds words instead of numbers."""
    rows: list[tuple[str, list[Cell]]]


class Summary:
    """The flat summary of a study: dotted keys and finite numbers."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        content: Any = read_json(path)
        if not isinstance(content, dict):
            raise InputError(path, "file", "is not a JSON object", "Make it again")
        for key, value in content.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not math.isfinite(value):
                raise InputError(path, key, f"is not a finite number: {value!r}", "Make it again")
        self.values: dict[str, float] = content

    def __getitem__(self, key: str) -> float:
        if key not in self.values:
            raise InputError(
                self.path, key, "is missing", "Make the summary again, or correct the manifest"
            )
        return self.values[key]

    def cell(self, key: str, digits: int, error: str | None = None) -> Cell:
        """Return a number and, when the summary has one, its uncertainty.

        That is `error` if given; else `<key>.std`, the spread over fits, and `<key>.stat`, the
        statistical uncertainty, in quadrature, as the figures have it.
        """
        keys = [f"{key}.std", f"{key}.stat"]
        parts = [self[error]] if error else [self.values[k] for k in keys if k in self.values]
        return Cell(
            write(self[key], digits),
            spread=f"± {write(math.hypot(*parts), digits)}" if parts else "",
        )

    def names(self, template: str) -> list[str]:
        """Return what stands for {row} in the keys that match `template`, in their order."""
        before, _, after = template.partition("{row}")
        pattern = re.compile(re.escape(before) + r"([^.]+)" + re.escape(after))
        found = [match.group(1) for key in self.values if (match := pattern.fullmatch(key))]
        if not found:
            raise InputError(
                self.path,
                template.replace("{row}", "*"),
                "matches no key",
                "Make the summary again, or correct the manifest",
            )
        return found


def write(value: float, digits: int) -> str:
    """Write a number with a fixed number of digits, with a true minus sign and no minus zero."""
    text = f"{value:,.{digits}f}".replace(",", "\u202f")
    if text.startswith("-"):
        text = f"−{text[1:]}" if text.strip("-0.") else text[1:]
    return text


def key_number(number: Number, summary: Summary) -> Cell:
    """Return a key number, with a remark whether it lies where it should."""
    cell = summary.cell(number.key, number.digits)
    if number.expect is None:
        return cell
    low, high = number.expect
    good = low <= summary[number.key] <= high
    span = f"{low:g} to {high:g}"
    note = f"within the expected {span}" if good else f"outside the expected {span}"
    return Cell(cell.text, cell.spread, note, good)


def grid(table: Table, summary: Summary) -> Grid:
    """Return a table's cells; a key that the summary lacks raises `InputError`."""
    rows: Mapping[str, str]
    if isinstance(table.rows, str):
        found = summary.names(table.columns[0].key or "")
        # In the order of the names, which is the reader's; the summary's is alphabetical.
        known = [name for name in table.names if name in found]
        others = [name for name in found if name not in table.names]
        rows = {name: table.names.get(name, name) for name in known + others}
    else:
        rows = table.rows
    return Grid(
        groups=[(title, len(list(columns))) for title, columns in _groups(table)],
        columns=[(column.title, column.values is not None) for column in table.columns],
        rows=[
            (title, [_cell(column, name, summary) for column in table.columns])
            for name, title in rows.items()
        ],
    )


def _groups(table: Table) -> list[tuple[str, list[Column]]]:
    if not any(column.group for column in table.columns):
        return []
    grouped = groupby(table.columns, key=lambda column: column.group)
    return [(title, list(columns)) for title, columns in grouped]


def _cell(column: Column, row: str, summary: Summary) -> Cell:
    if column.values is not None:
        return Cell(column.values.get(row, "–"))
    key = (column.key or "").replace("{row}", row)
    error = column.error.replace("{row}", row) if column.error else None
    cell = summary.cell(key, column.digits, error)
    if column.limit is None or summary[key] <= column.limit:
        return cell
    return Cell(cell.text, cell.spread, f"above {column.limit:g}", good=False)
