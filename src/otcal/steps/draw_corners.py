"""Draw corner plots of components and outputs ([MTG] Figs. 3, 12, 13; arXiv:2507.08867)."""

from __future__ import annotations

from collections.abc import Sequence

from otcal.figures import corner, drawing
from otcal.figures.tables import read_marginals, read_pairs
from otcal.runtime import cli

FIGURES = {
    "fig03": {"fig03a_pca_source": "source", "fig03b_pca_calibrated": "calibrated"},
    "fig12": {"fig12_outputs_source": "source"},
    "fig13": {"fig13_outputs_calibrated": "calibrated"},
}
"""Panels of each figure, and the sample that each one compares with the target."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments, config = drawing.arguments(
        __doc__,
        FIGURES,
        {"marginals": "one-dimensional histograms", "pairs": "two-dimensional histograms"},
        argv,
    )
    marginals, pairs = read_marginals(arguments.marginals), read_pairs(arguments.pairs)
    for panel, sample in FIGURES[arguments.figure].items():
        drawing.write(arguments.outputs, panel, *corner.draw(marginals, pairs, sample, config))


if __name__ == "__main__":
    cli.run(main)
