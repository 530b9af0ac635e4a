"""Join the summaries of all studies into one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from otcal.closure.summary import merge
from otcal.config.closure import MergeSpec
from otcal.runtime import cli
from otcal.runtime.errors import InputError
from otcal.runtime.files import write_json


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--parts", type=Path, nargs="+", required=True, help="one JSON per study, in their order"
    )
    parser.add_argument("--output", type=Path, required=True, help="JSON to write")
    options = parser.parse_args(argv)
    spec = cli.load_spec(options.spec, MergeSpec)
    if len(options.parts) != len(spec.studies):
        raise InputError(
            "--parts",
            "files",
            f"{len(options.parts)} for {len(spec.studies)} studies",
            f"Pass one for each of: {', '.join(spec.studies)}",
        )
    write_json(options.output, merge(dict(zip(spec.studies, options.parts, strict=True))))


if __name__ == "__main__":
    cli.run(main)
