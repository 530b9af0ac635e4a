"""Generate one shard of jets with Delphes.

Runs the program DelphesPythia8 with the detector and the variation of the settings, as often as it
takes; see `otcal.simulation.delphes`.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

from otcal.config.simulation import ShardSpec
from otcal.runtime import cli, provenance
from otcal.simulation.delphes.run import find, generate, identify
from otcal.simulation.output import write_tables


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--output", required=True, help="Parquet file to write")
    parser.add_argument(
        "--directory",
        type=Path,
        help="existing directory for cards and logs of Delphes, which stay there; without it, a "
        "temporary one beside the output",
    )
    arguments = parser.parse_args(argv)
    spec = cli.load_spec(arguments.spec, ShardSpec)
    program = find()
    record = provenance.record("simulate_delphes", spec.model_dump(mode="json"), seed=spec.seed)
    record["program"] = identify(program)
    place = Path(arguments.output).parent
    place.mkdir(parents=True, exist_ok=True)
    given = arguments.directory
    scratch = nullcontext(given) if given else TemporaryDirectory(prefix=".delphes-", dir=place)
    with scratch as directory, closing(generate(spec, program, Path(directory))) as tables:
        write_tables(spec, tables, arguments.output, record)


if __name__ == "__main__":
    # It raises, so that Delphes ends with this process and its files go.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    cli.run(main)
