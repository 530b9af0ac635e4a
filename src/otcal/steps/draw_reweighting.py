"""Draw the physics discriminant of transported against reweighted source jets."""

from __future__ import annotations

from collections.abc import Sequence

from otcal.figures import drawing, reweighting
from otcal.figures.tables import read_marginals
from otcal.runtime import cli


def main(argv: Sequence[str] | None = None) -> None:
    arguments, config = drawing.arguments(
        __doc__,
        ["reweighting"],
        {"marginals": "histograms of discriminants", "baseline": "JSON of the baseline"},
        argv,
    )
    table = read_marginals(arguments.marginals)
    drawing.write(
        arguments.outputs, "reweighting", *reweighting.draw(table, arguments.baseline, config)
    )


if __name__ == "__main__":
    cli.run(main)
