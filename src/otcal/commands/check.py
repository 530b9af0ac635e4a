"""Tell what files of jets, latents or scores offer, and what can be done with them.

Reads the files as a whole. Exit status 1: nothing can be done with some file, or it is bad.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any


def add(commands: Any) -> None:
    """Add the command to a parser."""
    parser = commands.add_parser(
        "check",
        help="tell what files offer, and what can be done with them",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="ROOT, HDF5 or Parquet")
    parser.add_argument("--tree", default="tree", help="TTree of ROOT files (default: tree)")
    parser.add_argument(
        "--layout",
        help="how the files are meant: the keys format, columns, labels, unit of a block of "
        "`samples`, as JSON (default: by the content)",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    # Imported when it runs: `otcal apply` needs none of this.
    from otcal.commands.checking import check

    status = check(options.files, options.layout, options.tree)
    if status:
        sys.exit(status)
