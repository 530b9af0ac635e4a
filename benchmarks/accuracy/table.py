"""The table of results: a CSV file with a row per family, solver, seed and budget."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

KEY = ("family", "solver", "seed", "budget_s", "version", "machine")
FIGURES = (
    "l2_uvp",
    "cosine",
    "cpu_s",
    "wall_s",
    "steps",
    "points_per_s",
    "energy",
    "sliced_w2",
    "peak_rss_mb",
    "notes",
)

DIVERGED = 200.0
"""L2-UVP (%) from which on a number says no more than that a fit diverged."""

Key = tuple[str, ...]


def key(row: Mapping[str, Any]) -> Key:
    """Return what identifies a row."""
    return tuple(str(row[name]) for name in KEY)


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a file, none when there is no file.

    Raises
    ------
    SystemExit
        When the file has other columns.
    """
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != [*KEY, *FIGURES]:
            raise SystemExit(f"{path}: has columns of another version; give another --output")
        return list(reader)


def append(path: Path, row: Mapping[str, Any]) -> None:
    """Add one row, which is on disk when this returns."""
    new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*KEY, *FIGURES])
        if new:
            writer.writeheader()
        writer.writerow({name: _cell(value) for name, value in row.items()})


def frame(rows: list[dict[str, str]]) -> pd.DataFrame:
    """Return the rows as a data frame with numbers."""
    table = pd.DataFrame(rows, columns=[*KEY, *FIGURES])
    numbers = [
        name for name in table if name not in ("family", "solver", "version", "machine", "notes")
    ]
    table[numbers] = table[numbers].apply(pd.to_numeric)
    return table


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Return medians over the seeds, with the range of the error."""
    groups = table.groupby(["family", "budget_s", "solver"], sort=False)
    summary = groups[["l2_uvp", "cosine", "cpu_s", "points_per_s", "energy", "sliced_w2"]].median()
    summary.insert(1, "lowest", groups["l2_uvp"].min())
    summary.insert(2, "highest", groups["l2_uvp"].max())
    summary["seeds"] = groups["seed"].nunique()
    return summary.reset_index()


def markdown(table: pd.DataFrame, titles: Mapping[str, str]) -> str:
    """Return the medians of the error in Markdown: a row per family, a column per solver.

    Of several budgets the largest counts. The lowest error of a row, in two digits, is bold; a
    number of seeds stands behind medians of fewer than others have. Of fits that diverged the limit
    is given.

    Parameters
    ----------
    table
        What `frame` returns.
    titles
        What solvers are called, by their names and in order.
    """
    rows = summarise(table)
    rows = rows.loc[rows.groupby(["family", "solver"], sort=False)["budget_s"].idxmax()]
    solvers = [name for name in titles if name in set(rows["solver"])]
    seeds = rows["seeds"].max()
    lines = ["| L2-UVP (%) | " + " | ".join(titles[name] for name in solvers) + " |"]
    lines.append("| --- " * (len(solvers) + 1) + "|")
    for family in dict.fromkeys(rows["family"]):
        lowest = f"{rows.loc[rows['family'] == family, 'l2_uvp'].min():.2g}"
        line = dict.fromkeys(solvers, "")
        for row in rows[rows["family"] == family].itertuples():
            error = f"{row.l2_uvp:.2g}" if row.l2_uvp < DIVERGED else f"> {DIVERGED:g}"
            bold = "**" if error == lowest else ""
            fewer = f" ({row.seeds})" if row.seeds < seeds else ""
            line[row.solver] = f"{bold}{error}{bold}{fewer}"
        lines.append("| " + " | ".join([family, *line.values()]) + " |")
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
