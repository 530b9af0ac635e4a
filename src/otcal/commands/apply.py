"""Write a copy of a file of jets with calibrated columns.

Format by suffix: ROOT (.root), HDF5 (.h5, .hdf5) or Parquet (.parquet, .pq). Every other branch,
data set and column stays. A jet's status says what became of it: 0 calibrated; 1 calibrated outside
the range in which the map was fitted; 2 no map for its label; 3 an input is NaN, infinite or
missing; 4 inputs are not positive or do not sum to one; 5 a map gives no finite number. Jets with 2
to 5 have NaN in calibrated columns.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Add the command to a parser."""
    parser = commands.add_parser(
        "apply",
        help="apply a calibration to a file of jets",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundle", type=Path, help="directory of `otcal export`")
    parser.add_argument("input", type=Path, help="file of jets")
    parser.add_argument("output", type=Path, help="file to write, of the same format")
    parser.add_argument("--table", help="tree, data set or group of the jets, if there are several")
    parser.add_argument(
        "--columns",
        nargs="+",
        default=[],
        type=_pair,
        metavar="NAME=COLUMN",
        help="the file's columns for the bundle's, such as p_b=GN2_pb",
    )
    parser.add_argument("--label", metavar="COLUMN", help="column of the true label")
    parser.add_argument(
        "--labels",
        nargs="+",
        type=_pair,
        metavar="VALUE=MAP",
        help="which label gets which map, such as 5=b 4=c 0=light, instead of the bundle's table",
    )
    parser.add_argument(
        "--variations", nargs="*", metavar="NAME", help="variations to add (default: all)"
    )
    parser.add_argument("--prefix", default="calibrated_", help="of the new columns' names")
    parser.add_argument(
        "--copy-unmapped",
        action="store_true",
        help="give jets whose label has no map their inputs instead of NaN",
    )
    parser.add_argument(
        "--beside", action="store_true", help="ROOT: add a friend tree, leave all else bit for bit"
    )
    parser.add_argument(
        "--unit",
        choices=("GeV", "MeV"),
        default="GeV",
        help="of momenta and energies that a map depends on",
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the models")
    parser.add_argument("--chunk", type=_positive, help="most rows in memory at once")
    parser.add_argument("--force", action="store_true", help="replace an output that exists")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    # Imported when it runs: another command needs other libraries.
    from otcal.bundle.applying import Settings, apply_bundle
    from otcal.bundle.rewriting import CHUNK

    settings = Settings(
        columns=dict(options.columns),
        label=options.label,
        labels=_labels(options.labels) if options.labels else None,
        table=options.table,
        variations=options.variations,
        prefix=options.prefix,
        copy_unmapped=options.copy_unmapped,
        threads=options.threads,
        unit=options.unit,
        beside=options.beside,
        chunk=options.chunk or CHUNK,
        force=options.force,
    )
    apply_bundle(options.bundle, options.input, options.output, settings)


def _labels(pairs: list[tuple[str, str]]) -> dict[int, str]:
    from otcal.runtime.errors import InputError

    try:
        return {int(value): name for value, name in pairs}
    except ValueError as error:
        raise InputError("--labels", str(error), "is no whole number", "Write 5=b") from None


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not (name and sign and value):
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form NAME=VALUE")
    return name, value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not positive")
    return value
