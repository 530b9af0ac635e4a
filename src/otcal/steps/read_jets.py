"""Read jets of a file in another format into a file of jets.

ROOT, HDF5 or Parquet; see `otcal.samples.readers`.
"""

from __future__ import annotations

from collections.abc import Sequence

from otcal.config.samples import ReadSpec
from otcal.runtime import cli, provenance
from otcal.samples.readers.jets import write_jets


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--output", required=True, help="Parquet file to write")
    arguments = parser.parse_args(argv)
    spec = cli.load_spec(arguments.spec, ReadSpec)
    record = provenance.record("read_jets", spec.model_dump(mode="json"), [spec.file])
    write_jets(spec, arguments.output, record)


if __name__ == "__main__":
    cli.run(main)
