"""What goes into the tagger ([MTG] Figs. 1, 7, 8; Algren et al., arXiv:2507.08867)."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from otcal.config.figures import FiguresConfig
from otcal.figures import comparison, style
from otcal.figures.histograms import Histogram
from otcal.figures.tables import Columns, Marginals, stack

COMPARED = ("source", "target")
ALL = ("training", "source", "target")

VARIATION = {
    "fig01a_d0": ("constituent.d0val", "Density of charged constituents"),
    "fig01b_multiplicity": ("jet.nparticles", "Density of q/g jets"),
}
"""Panels of Fig. 1: variable and title of the vertical axis."""

RATIO_RANGES = {"fig01b_multiplicity": (0.2, 1.8)}
"""Ratio axes of panels whose samples differ by more than the usual range shows."""

_FLAT = 20.0
"""Largest ratio of the fullest to the emptiest bin that a linear axis shows well."""

TRANSFORMS = {
    "fig07": ("fig07_jet_features", "jet."),
    "fig08": ("fig08_constituent_features", "constituent."),
}
"""Panel of Figs. 7 and 8, and how the names of its features begin."""


def variation(table: Marginals, panel: str, config: FiguresConfig) -> tuple[Figure, Columns]:
    """Draw one variable of source and target, with the ratio of source to target."""
    variable, title = VARIATION[panel]
    figure = style.new(5.6)
    (main, below), *_ = style.ratio_axes(figure)
    histograms = {sample: table.pick(variable, sample) for sample in COMPARED}
    ratio_range = RATIO_RANGES.get(panel, config.ratio_range)
    columns = comparison.draw(main, below, histograms, ratio_range)
    # The core of d0 falls by orders of magnitude; the multiplicity does not.
    if variable.startswith("constituent"):
        comparison.log_range(main, histograms)
    else:
        main.set_ylim(0.0, None)
        # The label of zero would stand between the axes and push them apart.
        main.yaxis.set_major_locator(MaxNLocator(5, prune="lower"))
    style.headroom(main, 0.22)
    comparison.legend(main, histograms)
    style.label(main, config.label)
    main.set_ylabel(title)
    below.set_xlabel(table.titles[variable])
    return figure, stack([{"variable": variable, **columns}])


def transforms(table: Marginals, prefix: str, config: FiguresConfig) -> tuple[Figure, Columns]:
    """Draw features before (left) and after (right) the quantile transform.

    The transform is fitted to the training jets, which it makes standard normal.
    """
    names = [name for name in table.titles if name.startswith(prefix)]
    features = [name for name in names if f"{name}.transformed" in names]
    figure = style.new(0.9 + 2.55 * len(features), 8.0)
    space = {"hspace": 0.04, "wspace": 0.03}
    axes = figure.subplots(len(features), 2, squeeze=False, gridspec_kw=space)
    parts: list[dict[str, Any]] = []
    for row, feature in zip(axes, features, strict=True):
        for panel, version in zip(row, (feature, f"{feature}.transformed"), strict=True):
            histograms = {sample: table.pick(version, sample) for sample in ALL}
            columns = comparison.draw(panel, None, histograms)
            if _flat(histograms):
                panel.set_ylim(0.0, None)
            else:
                comparison.log_range(panel, histograms)
            if _logarithmic(histograms["target"].edges[0]):
                panel.set_xscale("log")
            panel.set_xlabel(table.titles[version])
            parts.append({"variable": version, **columns})
        row[0].set_ylabel("Density")
        _normal(row[1], table.pick(f"{feature}.transformed", "training"))
    comparison.figure_legend(figure, ALL, config.label)
    return figure, stack(parts)


def _logarithmic(edges: NDArray[np.float64]) -> bool:
    """Tell bins of equal ratio from bins of equal width."""
    widths = np.diff(edges)
    return bool(edges[0] > 0 and widths[-1] > 2.0 * widths[0])


def _flat(histograms: dict[str, Histogram]) -> bool:
    """Whether all bins of all samples are of the same order of magnitude."""
    densities = np.concatenate([histogram.density()[0] for histogram in histograms.values()])
    return bool(densities.min() * _FLAT > densities.max())


def _normal(axes: Axes, histogram: Histogram) -> None:
    """Draw the standard normal density that the transform aims at."""
    x: NDArray[np.float64] = np.linspace(histogram.edges[0][0], histogram.edges[0][-1], 200)
    y = np.exp(-0.5 * x**2) / np.sqrt(2.0 * np.pi)
    low, high = axes.get_ylim()
    axes.plot(x, y, color="#606060", lw=0.9, ls=(0, (1, 1.5)), zorder=3)
    axes.set_ylim(low, high)
