"""How the map of a flavour moves jets in the ILR plane ([KY] Fig. 8).

[KY] = Kim, Yang (arXiv:2605.01363).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from otcal.config.figures import FiguresConfig
from otcal.figures import simplex_style, style
from otcal.figures.contours import levels, smooth
from otcal.figures.simplex_style import FEATURES, SAMPLES
from otcal.figures.tables import Columns, Pairs
from otcal.runtime.errors import InputError

ARROW = "#202020"
ARROWS: dict[str, Any] = {
    "angles": "xy",
    "scale_units": "xy",
    "scale": 1.0,
    "color": ARROW,
    "width": 0.0038,
    "headwidth": 4.2,
    "headlength": 4.6,
    "headaxislength": 4.2,
    "minlength": 0.4,
    "zorder": 5,
}
"""Arrows as long as the displacement, in the units of the axes."""

SHARES = (0.5, 0.8, 0.95)
"""Shares of the jets inside the contours."""


def draw(
    table: Columns, densities: Pairs, flavour: str, config: FiguresConfig
) -> tuple[Figure, Columns]:
    """Draw mean displacements of one flavour over the densities before and after.

    Parameters
    ----------
    table
        Columns of `otcal.figures.simplex_tables.PLANE`.
    densities
        Histograms keyed by ("z1", "z2", "<flavour>/<sample>").
    flavour
        Which map.
    config
        Labels, and the blur of the densities.

    Raises
    ------
    InputError
        When a table has nothing of the flavour.
    """
    part = simplex_style.part(table, "flavour", flavour)
    figure = style.new(6.9)
    axes = figure.add_subplot()
    for sample in ("simulation", "calibrated"):
        key = ("z1", "z2", f"{flavour}/{sample}")
        if key not in densities:
            raise InputError("table", "sample", f"has no {key[-1]}", "Make it again")
        histogram = densities[key]
        blurred = smooth(histogram.density()[0], config.smoothing_bins)
        x, y = (0.5 * (edges[1:] + edges[:-1]) for edges in histogram.edges)
        thresholds = np.unique(levels(blurred, SHARES))
        colour = SAMPLES[sample].colour
        if sample == "simulation":
            shades = [(*_rgb(colour), alpha) for alpha in np.linspace(0.08, 0.26, len(thresholds))]
            axes.contourf(x, y, blurred.T, [*thresholds, np.inf], colors=shades)
        axes.contour(
            x,
            y,
            blurred.T,
            thresholds,
            colors=colour,
            linewidths=1.1,
            linestyles=[SAMPLES[sample].line],
        )
        axes.set_xlim(histogram.edges[0][0], histogram.edges[0][-1])
        axes.set_ylim(histogram.edges[1][0], histogram.edges[1][-1])
    shift = (part[f"moved_{name}"] - part[name] for name in ("z1", "z2"))
    axes.quiver(part["z1"], part["z2"], *shift, **ARROWS)
    axes.set_xlabel(FEATURES["z1"], fontsize=15)
    axes.set_ylabel(FEATURES["z2"], fontsize=15)
    before, after = SAMPLES["simulation"], SAMPLES["calibrated"]
    handles: list[Any] = [
        (
            Patch(facecolor=(*_rgb(before.colour), 0.26), lw=0),
            Line2D([], [], color=before.colour, ls=before.line, lw=1.2),
        ),
        Line2D([], [], color=after.colour, lw=1.2),
        arrow_handle(),
    ]
    titles = [before.title, after.title, "mean displacement"]
    shares = ", ".join(f"{100 * share:g}" for share in SHARES)
    title = simplex_style.look(flavour).title
    simplex_style.head(
        figure,
        f"{config.label}\n{title} jets; contours hold {shares} %",
        handles,
        titles,
        3,
    )
    return figure, part


def arrow_handle() -> Line2D:
    """Return a legend entry that looks like an arrow."""
    return Line2D([], [], color=ARROW, lw=1.4, marker=">", ms=6)


def _rgb(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return red, green, blue
