"""Count the tagger's inputs, before and after their transform, into the table of the figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from otcal.config.tabulation import InputTables
from otcal.figures.count_inputs import count
from otcal.figures.tables import write_marginals
from otcal.runtime import cli
from otcal.runtime.files import read_json
from otcal.runtime.provenance import record
from otcal.tagger.preprocessing import Preprocessing

SAMPLES = ("training", "source", "target")


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    for sample in SAMPLES:
        parser.add_argument(
            f"--{sample}",
            nargs="+",
            action=cli.NumberedFiles,
            required=True,
            help=f"files of jets, {sample}",
        )
    parser.add_argument(
        "--preprocessing", type=Path, required=True, help="the tagger's fitted transforms (JSON)"
    )
    parser.add_argument("--output", type=Path, required=True, help="table to write (Parquet)")
    arguments = parser.parse_args(argv)
    spec = cli.load_spec(arguments.spec, InputTables)
    files = {sample: getattr(arguments, sample) for sample in SAMPLES}
    preprocessing = Preprocessing.from_json(
        read_json(arguments.preprocessing), arguments.preprocessing
    )
    result = count(files, preprocessing, spec)
    provenance = record(
        "tabulate_inputs",
        spec.model_dump(mode="json"),
        [arguments.preprocessing, *(path for paths in files.values() for path in paths)],
    )
    write_marginals(arguments.output, result, provenance)


if __name__ == "__main__":
    cli.run(main)
