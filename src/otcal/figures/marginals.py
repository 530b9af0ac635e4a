"""Physics discriminants and outputs, one dimension at a time ([MTG] Figs. 5, 10, 11).

[MTG]: Algren et al., arXiv:2507.08867.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from otcal.config.figures import FiguresConfig
from otcal.figures import comparison, style
from otcal.figures.tables import Columns, Marginals, stack

SAMPLES = ("source", "target", "calibrated")

DISCRIMINANTS = {
    "fig05": {"fig05a_hbb": "Hbb", "fig05b_hcc": "Hcc"},
    "fig11": {"fig11_hbb_hcc": "HbbHcc"},
}
"""Panels of each figure, and the discriminant that each one shows."""


def discriminant(table: Marginals, variable: str, config: FiguresConfig) -> tuple[Figure, Columns]:
    """Draw one variable of source, target and calibrated jets with its ratio to the target."""
    figure = style.new(5.6)
    (main, below), *_ = style.ratio_axes(figure)
    histograms = {sample: table.pick(variable, sample) for sample in SAMPLES}
    columns = comparison.draw(main, below, histograms, config.ratio_range)
    comparison.log_range(main, histograms)
    style.headroom(main, 0.3)
    comparison.legend(main, histograms)
    style.label(main, config.label)
    main.set_ylabel("Density of q/g jets")
    # Larger, for its subscripts.
    below.set_xlabel(table.titles[variable], fontsize=15.5)
    return figure, stack([{"variable": variable, **columns}])


def outputs(table: Marginals, config: FiguresConfig) -> tuple[Figure, Columns]:
    """Draw the outputs z'10, ten of our tagger, each with its ratio to the target."""
    names = list(table.titles)
    rows = -(-len(names) // 2)
    figure = style.new(3.5 * rows, 8.0)
    parts = []
    pairs = style.ratio_axes(figure, rows=rows, columns=2)
    for axes in pairs[len(names) :]:
        for unused in axes:
            unused.remove()
    for number, ((main, below), name) in enumerate(zip(pairs, names, strict=False)):
        histograms = {sample: table.pick(name, sample) for sample in SAMPLES}
        columns = comparison.draw(main, below, histograms, config.ratio_range)
        comparison.log_range(main, histograms)
        style.headroom(main, 0.22)
        below.set_xlabel(f"Output {table.titles[name]}")
        if number % 2:
            below.set_ylabel("")
        else:
            main.set_ylabel("Density")
        parts.append({"variable": name, **columns})
    comparison.figure_legend(figure, SAMPLES, config.label)
    return figure, stack(parts)
