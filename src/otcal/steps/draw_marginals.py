"""Draw the physics discriminants and the outputs ([MTG] Figs. 5, 10, 11; arXiv:2507.08867)."""

from __future__ import annotations

from collections.abc import Sequence

from otcal.figures import drawing, marginals
from otcal.figures.tables import read_marginals
from otcal.runtime import cli


def main(argv: Sequence[str] | None = None) -> None:
    arguments, config = drawing.arguments(
        __doc__,
        [*marginals.DISCRIMINANTS, "fig10"],
        {"marginals": "histograms of discriminants or outputs"},
        argv,
    )
    table = read_marginals(arguments.marginals)
    if arguments.figure == "fig10":
        drawing.write(arguments.outputs, "fig10_outputs", *marginals.outputs(table, config))
        return
    for panel, variable in marginals.DISCRIMINANTS[arguments.figure].items():
        drawing.write(arguments.outputs, panel, *marginals.discriminant(table, variable, config))


if __name__ == "__main__":
    cli.run(main)
