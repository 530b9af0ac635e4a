"""Read the probabilities that somebody's tagger gave jets into a file of scores.

ROOT, HDF5 or Parquet; see `otcal.samples.readers`.
"""

from __future__ import annotations

from collections.abc import Sequence

from otcal.config.outputs import ReadScoresSpec
from otcal.runtime import cli, provenance
from otcal.samples.readers.outputs import write_scores


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--output", required=True, help="scores (.parquet)")
    arguments = parser.parse_args(argv)
    spec = cli.load_spec(arguments.spec, ReadScoresSpec)
    files = spec.files.found(spec.where).values()
    record = provenance.record("read_scores", spec.model_dump(mode="json"), files)
    write_scores(spec, arguments.output, record)


if __name__ == "__main__":
    cli.run(main)
