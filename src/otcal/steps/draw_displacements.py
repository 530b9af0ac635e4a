"""Draw how the maps move jets ([KY] Figs. 8 and 9; arXiv:2605.01363)."""

from __future__ import annotations

from collections.abc import Sequence

from otcal.figures import displacement, drawing, ternary
from otcal.figures.simplex_tables import PLANE, SIMPLEX
from otcal.figures.tables import read, read_pairs
from otcal.runtime import cli
from otcal.runtime.errors import InputError
from otcal.samples.flavours import FLAVOURS


def main(argv: Sequence[str] | None = None) -> None:
    options, config = drawing.arguments(
        __doc__,
        ["simplex_fig08", "simplex_fig09"],
        {
            "displacements": "mean displacements in the plane (8) or on the simplex (9)",
            "densities": "densities in the plane (simplex_fig08)",
        },
        argv,
        optional=["densities"],
    )
    if options.figure == "simplex_fig08":
        if options.densities is None:
            raise InputError("--densities", "option", "is needed for simplex_fig08", "Give it")
        table, densities = read(options.displacements, PLANE.names), read_pairs(options.densities)
        for name in FLAVOURS:
            made = displacement.draw(table, densities, name, config)
            drawing.write(options.outputs, f"fig08_plane_{name}", *made)
        return
    table = read(options.displacements, SIMPLEX.names)
    for name in FLAVOURS:
        drawing.write(options.outputs, f"fig09_simplex_{name}", *ternary.draw(table, name, config))


if __name__ == "__main__":
    cli.run(main)
