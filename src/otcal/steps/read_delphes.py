"""Make a file of jets of events in a file that Delphes wrote.

Jets are clustered from its energy-flow candidates and labelled by its generated particles; see
`otcal.simulation.delphes`.
"""

from __future__ import annotations

from collections.abc import Sequence

from otcal.config.samples import ReadDelphesSpec
from otcal.runtime import cli, provenance
from otcal.simulation.delphes.jets import write_jets


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--output", required=True, help="Parquet file to write")
    arguments = parser.parse_args(argv)
    spec = cli.load_spec(arguments.spec, ReadDelphesSpec)
    record = provenance.record("read_delphes", spec.model_dump(mode="json"), [spec.file])
    write_jets(spec, arguments.output, record)


if __name__ == "__main__":
    cli.run(main)
