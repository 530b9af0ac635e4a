"""Draw the inputs of the tagger ([MTG] Figs. 1, 7, 8; arXiv:2507.08867)."""

from __future__ import annotations

from collections.abc import Sequence

from otcal.figures import drawing, inputs
from otcal.figures.tables import read_marginals
from otcal.runtime import cli


def main(argv: Sequence[str] | None = None) -> None:
    arguments, config = drawing.arguments(
        __doc__, ["fig01", *inputs.TRANSFORMS], {"inputs": "histograms of the inputs"}, argv
    )
    table = read_marginals(arguments.inputs)
    if arguments.figure == "fig01":
        for panel in inputs.VARIATION:
            drawing.write(arguments.outputs, panel, *inputs.variation(table, panel, config))
        return
    panel, prefix = inputs.TRANSFORMS[arguments.figure]
    drawing.write(arguments.outputs, panel, *inputs.transforms(table, prefix, config))


if __name__ == "__main__":
    cli.run(main)
