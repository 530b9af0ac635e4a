"""Write the calibration of a finished study as a bundle that `otcal apply` reads.

A bundle is a directory with ONNX models, scale factors for correctionlib, and a model card.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Add the command to a parser."""
    parser = commands.add_parser(
        "export",
        help="export the calibration of a finished study",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("study", type=Path, help="its directory, such as results/simplex")
    parser.add_argument("bundle", type=Path, help="directory to write")
    parser.add_argument(
        "--kind",
        choices=("simplex", "latent"),
        help="which study it is (default: as its directory is named)",
    )
    parser.add_argument(
        "--spec",
        default="{}",
        help="settings as the block `bundle` of the study in config.yaml: JSON, or @FILE with JSON",
    )
    parser.add_argument("--force", action="store_true", help="replace a bundle that exists")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    # Imported when it runs: `otcal apply` needs none of this.
    from otcal.bundle.exporting import SETTINGS, export_bundle
    from otcal.runtime.cli import load_spec
    from otcal.runtime.errors import InputError

    kind = options.kind or options.study.resolve().name
    if kind not in ("simplex", "latent"):
        raise InputError(options.study, "kind", "is not clear from the name", "Pass --kind")
    spec = load_spec(options.spec, SETTINGS[kind])
    export_bundle(kind, options.study, options.bundle, spec, options.force)
