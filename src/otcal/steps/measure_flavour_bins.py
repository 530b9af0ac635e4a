"""Compare a flavour's maps in bins of columns: one for all jets, one with them, one for each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from otcal.closure.bins import bin_rows, require_jets
from otcal.closure.jets import Sample
from otcal.config.bins import bin_columns
from otcal.config.simplex_closure import FlavourBinsSpec
from otcal.figures.bins import write
from otcal.runtime import cli, device, provenance
from otcal.runtime.errors import InputError
from otcal.samples.flavours import FLAVOURS, index
from otcal.samples.scores import Scores, read_scores
from otcal.simplex import ilr
from otcal.transport.flavour_samples import simulated
from otcal.transport.simplex_maps import SimplexMap

LAYER = "z"
"""What the maps move: ILR coordinates."""


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    for name, text in (
        ("simulation", "scores of simulated jets (Parquet)"),
        ("inclusive", "map of all jets"),
        ("conditional", "map with conditions"),
        ("output", "table of distances (CSV)"),
        ("figure", "figure, without suffix"),
    ):
        parser.add_argument(f"--{name}", type=Path, required=True, help=text)
    for name, text in (
        ("data", "scores of labelled data jets that no map was fitted to (Parquet)"),
        ("binned", "a map of each bin's jets, in order"),
    ):
        parser.add_argument(f"--{name}", type=Path, nargs="*", required=True, help=text)
    options = parser.parse_args(argv)
    spec = cli.load_spec(options.spec, FlavourBinsSpec)
    device.limit_threads(options.threads)
    if not options.data:
        raise InputError(
            "mixture.regions",
            "enriched",
            "is given for all: no data are left that no map was fitted to",
            "Add a region without it, such as validation",
        )
    source = _sample([simulated(options.simulation, spec.flavour, spec.splits, "test")], spec)
    data = [read_scores(path, FLAVOURS, [index(spec.flavour)]) for path in options.data]
    target = _sample(data, spec)
    for path, sample in ((options.simulation, source), (options.data[0], target)):
        require_jets(path, sample, spec.bins, "maps.bins.edges")
    maps = {
        name: SimplexMap.load(getattr(options, name), spec.flavour).map
        for name in ("inclusive", "conditional")
    }
    binned = [SimplexMap.load(path, spec.flavour).map for path in options.binned]
    rows = bin_rows(source, target, maps, binned, spec.bins, LAYER, spec.jets)
    inputs = [options.simulation, *options.data, options.inclusive, options.conditional]
    origin = provenance.record(
        "measure_flavour_bins", spec.model_dump(mode="json"), [*inputs, *options.binned]
    )
    jets, sides = f"{spec.flavour} jets", ("simulation", "pseudo-data")
    write(rows, jets, options.output, options.figure, origin, sides)


def _sample(files: Sequence[Scores], spec: FlavourBinsSpec) -> Sample:
    """Return the jets in the plane of log-ratios, with the columns that are binned."""
    ids = np.concatenate([jets.ids for jets in files])
    z = np.concatenate([ilr(jets.p) for jets in files]).astype(np.float32)
    names = bin_columns(spec.bins)
    given = np.concatenate([jets.conditions(names) for jets in files]).astype(np.float32)
    by_name = dict(zip(names, given.T, strict=True))
    return Sample(ids, np.zeros(len(ids), np.int8), {LAYER: z, **by_name})


if __name__ == "__main__":
    cli.run(main)
