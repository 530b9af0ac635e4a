"""Compare one map for all jets, one that depends on a column, and one for each of its bins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from otcal.closure.bins import COLUMNS, bin_rows
from otcal.closure.jets import Sample, read_sample
from otcal.config.closure import MIN_JETS, BinsSpec
from otcal.figures import style
from otcal.figures.bins import draw
from otcal.runtime import cli, device, provenance
from otcal.runtime.errors import InputError
from otcal.runtime.files import atomic_path
from otcal.transport.fitted import TransportMap


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--source", type=Path, required=True, help="latents (Parquet)")
    parser.add_argument("--target", type=Path, required=True, help="latents (Parquet)")
    parser.add_argument("--inclusive", type=Path, required=True, help="map of all jets")
    parser.add_argument("--conditional", type=Path, required=True, help="map with a condition")
    parser.add_argument(
        "--binned", type=Path, nargs="+", required=True, help="a map of each bin's jets"
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
    table = pd.DataFrame(bin_rows(source, target, maps, binned, spec), columns=list(COLUMNS))
    with atomic_path(options.output) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
    inputs = [options.source, options.target, options.inclusive, options.conditional]
    origin = provenance.record(
        "measure_bins", spec.model_dump(mode="json"), [*inputs, *options.binned]
    )
    provenance.write_sidecar(options.output, origin)
    style.save(draw(table, spec.bins.column), options.figure)


def _sample(path: Path, spec: BinsSpec) -> Sample:
    """Read the jets that no map has seen; each bin needs some."""
    sample = read_sample(path, [spec.layer, spec.bins.column], spec.jets)
    counts = pd.cut(
        pd.Series(sample.columns[spec.bins.column]), list(spec.bins.edges), right=False
    ).value_counts(sort=False)
    poor = counts[counts < 4 * MIN_JETS]
    if len(poor):
        raise InputError(
            path,
            spec.bins.column,
            f"only {poor.iloc[0]} held-out jets are in the bin {poor.index[0]}",
            "Merge bins in closure.bins.edges, or simulate more jets",
        )
    return sample


if __name__ == "__main__":
    cli.run(main)
