"""Export the maps of a finished study as a bundle: ONNX models, scale factors and model card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from otcal.bundle.exporting import SETTINGS, export_bundle
from otcal.runtime import cli, device


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--kind", choices=("simplex", "latent"), required=True, help="which study")
    parser.add_argument("--study", type=Path, required=True, help="directory of its files")
    parser.add_argument("--output", type=Path, required=True, help="directory to write")
    options = parser.parse_args(argv)
    spec = cli.load_spec(options.spec, SETTINGS[options.kind])
    device.limit_threads(options.threads)
    export_bundle(options.kind, options.study, options.output, spec, force=True)


if __name__ == "__main__":
    cli.run(main)
