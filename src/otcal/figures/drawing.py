"""What all drawing steps share: their command line, and writing a panel."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from otcal.config.figures import FiguresConfig
from otcal.figures import style
from otcal.figures.tables import Columns, write_csv
from otcal.runtime import cli


def arguments(
    description: str | None,
    figures: Iterable[str],
    inputs: dict[str, str],
    argv: Sequence[str] | None,
    optional: Sequence[str] = (),
) -> tuple[argparse.Namespace, FiguresConfig]:
    """Parse the command line of a drawing step.

    Parameters
    ----------
    description
        Help of the step.
    figures
        Names that ``--figure`` takes.
    inputs
        Option → help of each table that the step reads.
    argv
        Arguments, None for those of the process.
    optional
        Options that not every figure needs.
    """
    parser = cli.parser(description)
    parser.add_argument("--figure", required=True, choices=sorted(figures), help="what to draw")
    for name, text in inputs.items():
        required = name not in optional
        parser.add_argument(f"--{name}", type=Path, required=required, help=f"table: {text}")
    parser.add_argument(
        "--outputs", type=Path, required=True, help="directory for PDF, PNG and CSV of each panel"
    )
    parsed = parser.parse_args(argv)
    return parsed, cli.load_spec(parsed.spec, FiguresConfig)


def write(directory: Path, panel: str, figure: Figure, columns: Columns) -> None:
    """Write `panel`.pdf, `panel`.png, and the table that is drawn, `panel`.csv."""
    style.save(figure, directory / panel)
    write_csv(directory / f"{panel}.csv", columns)
