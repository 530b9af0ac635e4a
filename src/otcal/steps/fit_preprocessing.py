"""Fit the transforms of the tagger's inputs on training jets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from otcal.config.tagger import PreprocessingSpec
from otcal.runtime import cli, provenance
from otcal.runtime.files import write_json
from otcal.tagger.dataset import fit_preprocessing


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--jets", nargs="+", action=cli.NumberedFiles, required=True, help="training jets"
    )
    parser.add_argument("--output", type=Path, required=True, help="preprocessing (.json)")
    args = parser.parse_args(argv)
    spec = cli.load_spec(args.spec, PreprocessingSpec)
    settings = spec.preprocessing
    preprocessing = fit_preprocessing(args.jets, settings, spec.classes, spec.splits.fractions())
    write_json(args.output, preprocessing.to_json())
    provenance.write_sidecar(
        args.output, provenance.record("fit_preprocessing", spec.model_dump(), args.jets)
    )


if __name__ == "__main__":
    cli.run(main)
