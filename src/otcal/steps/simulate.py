"""Generate one shard of jets.

Pythia 8, the parametrised JetClass detector and FastJet; see `otcal.simulation`.
"""

from __future__ import annotations

from collections.abc import Sequence

from otcal.config.simulation import ShardSpec
from otcal.runtime import cli, provenance
from otcal.simulation.shard import write_shard


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--output", required=True, help="Parquet file to write")
    arguments = parser.parse_args(argv)
    spec = cli.load_spec(arguments.spec, ShardSpec)
    record = provenance.record("simulate", spec.model_dump(mode="json"), seed=spec.seed)
    write_shard(spec, arguments.output, record)


if __name__ == "__main__":
    cli.run(main)
