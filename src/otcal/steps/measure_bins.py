"""Compare one map for all jets, one that depends on columns, and one for each of their bins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from otcal.closure.bins import bin_rows, require_jets
from otcal.closure.jets import Sample, read_sample
from otcal.config.bins import bin_columns
from otcal.config.closure import BinsSpec
from otcal.figures.bins import write
from otcal.runtime import cli, device, provenance
from otcal.transport.fitted import TransportMap


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--source", type=Path, required=True, help="latents (Parquet)")
    parser.add_argument("--target", type=Path, required=True, help="latents (Parquet)")
    parser.add_argument("--inclusive", type=Path, required=True, help="map of all jets")
    parser.add_argument("--conditional", type=Path, required=True, help="map with conditions")
    parser.add_argument(
        "--binned", type=Path, nargs="+", required=True, help="a map of each bin's jets, in order"
    )
    parser.add_argument("--output", type=Path, required=True, help="table of distances (CSV)")
    parser.add_argument("--figure", type=Path, required=True, help="figure, without suffix")
    options = parser.parse_args(argv)
    spec = cli.load_spec(options.spec, BinsSpec)
    device.limit_threads(options.threads)
    source, target = (_sample(path, spec) for path in (options.source, options.target))
    maps = {
        name: TransportMap.load(getattr(options, name)) for name in ("inclusive", "conditional")
    }
    binned = [TransportMap.load(path) for path in options.binned]
    most = spec.distances.jets
    rows = bin_rows(source, target, maps, binned, spec.bins, spec.layer, most)
    inputs = [options.source, options.target, options.inclusive, options.conditional]
    origin = provenance.record(
        "measure_bins", spec.model_dump(mode="json"), [*inputs, *options.binned]
    )
    write(rows, "jets", options.output, options.figure, origin)


def _sample(path: Path, spec: BinsSpec) -> Sample:
    """Read the jets that no map has seen; each bin needs some."""
    sample = read_sample(path, [spec.layer, *bin_columns(spec.bins)], spec.jets)
    require_jets(path, sample, spec.bins, "closure.bins.edges")
    return sample


if __name__ == "__main__":
    cli.run(main)
