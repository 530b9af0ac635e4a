"""Tabulate how the maps of the flavours move simulated jets, for the figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from otcal.config.simplex_tabulation import DisplacementTables
from otcal.figures import count_displacements
from otcal.figures.simplex_tables import PLANE, SIMPLEX, write
from otcal.figures.tables import write_pairs
from otcal.runtime import cli, device
from otcal.runtime.errors import InputError
from otcal.runtime.provenance import record
from otcal.samples.flavours import FLAVOURS
from otcal.samples.scores import read_scores
from otcal.simplex import ilr
from otcal.transport.simplex_maps import SimplexMap


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    order = ", ".join(FLAVOURS)
    parser.add_argument(
        "--maps", type=Path, nargs="+", required=True, help=f"transport maps of {order}"
    )
    for name, text in (
        ("simulation", "scores of the simulated jets (Parquet)"),
        ("plane-table", "table to write: mean displacements in the ILR plane"),
        ("simplex-table", "table to write: mean displacements on the simplex"),
        ("density-table", "table to write: densities in the ILR plane"),
    ):
        parser.add_argument(f"--{name}", type=Path, required=True, help=text)
    options = parser.parse_args(argv)
    spec = cli.load_spec(options.spec, DisplacementTables)
    device.limit_threads(options.threads)
    if len(options.maps) != len(FLAVOURS):
        raise InputError(
            "--maps", "files", f"there are {len(options.maps)}", f"Give the maps of {order}"
        )
    scores = read_scores(options.simulation, FLAVOURS)
    before, after = {}, {}
    for number, (name, path) in enumerate(zip(FLAVOURS, options.maps, strict=True)):
        jets = scores.select(scores.labels == number)
        moved = SimplexMap.load(path, name)
        before[name] = ilr(jets.p)
        after[name] = ilr(moved(jets.p, jets.conditions(moved.conditions)).p)
    result = count_displacements.count(before, after, spec)
    provenance = record(
        "tabulate_displacements",
        spec.model_dump(mode="json"),
        [options.simulation, *options.maps],
    )
    write(options.plane_table, result.plane, PLANE, provenance)
    write(options.simplex_table, result.simplex, SIMPLEX, provenance)
    write_pairs(options.density_table, result.densities, provenance)


if __name__ == "__main__":
    cli.run(main)
