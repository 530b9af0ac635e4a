"""Extracted components of a control region against the truth ([KY] Figs. 5-7).

[KY] = Kim, Yang (arXiv:2605.01363).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MultipleLocator
from numpy.typing import NDArray

from otcal.config.figures import FiguresConfig
from otcal.figures import simplex_style, style
from otcal.figures.simplex_style import FEATURES
from otcal.figures.tables import Columns, stack

Array = NDArray[np.float64]

BANDS = {"total": 0.22, "shape": 0.38}
"""Opacity of each band: of fraction and density together, and of the density alone."""

FEWEST = 3.0
"""Extracted jets that a bin needs to have a ratio."""


def draw(table: Columns, enriched: str, config: FiguresConfig) -> tuple[Figure, Columns]:
    """Draw what each flavour contributes to the region that is enriched in one.

    Parameters
    ----------
    table
        Columns of `otcal.figures.simplex_tables.COMPONENTS`; `truth` may be NaN.
    enriched
        The flavour.
    config
        Labels and the range of the ratios.

    Raises
    ------
    InputError
        When the table has no such region.
    """
    region = simplex_style.part(table, "enriched", enriched)
    names = list(dict.fromkeys(region["flavour"].tolist()))
    figure = style.new(8.0, 8.4)
    heights = (3.0, *[1.0] * len(names))
    grid = figure.add_gridspec(1 + len(names), 2, height_ratios=heights, hspace=0.0, wspace=0.05)
    highest = max(region["extracted"].max(), np.nanmax(np.append(region["truth"], 0.0)))
    parts = []
    for column, feature in enumerate(FEATURES):
        panel = simplex_style.part(region, "feature", feature)
        main = figure.add_subplot(grid[0, column])
        ratios = [figure.add_subplot(grid[1 + k, column], sharex=main) for k in range(len(names))]
        for axes, name in zip(ratios, names, strict=True):
            flavour = simplex_style.part(panel, "flavour", name)
            parts.append(_flavour(main, axes, flavour, config))
            title = simplex_style.look(name).title
            if column == 0:
                axes.set_ylabel(f"{title}\ntrue / fit", loc="center", multialignment="center")
        main.set_yscale("log")
        main.set(ylim=(0.7, 2.5 * highest), xlim=(panel["low"].min(), panel["high"].max()))
        for axes in (main, *ratios):
            axes.tick_params(labelleft=column == 0, labelbottom=axes is ratios[-1])
        ratios[-1].set_xlabel(FEATURES[feature], fontsize=15)
        if column == 0:
            main.set_ylabel("Jets per bin")
    _legend(figure, names, f"{config.label}, {simplex_style.region_title(enriched)}")
    return figure, stack(parts)


def _flavour(main: Axes, below: Axes, part: Columns, config: FiguresConfig) -> dict[str, Any]:
    """Draw one flavour of one coordinate; return what is drawn."""
    colour = simplex_style.look(str(part["flavour"][0])).colour
    edges = np.append(part["low"], part["high"][-1])
    centres = 0.5 * (part["low"] + part["high"])
    extracted, truth = part["extracted"], part["truth"]
    main.stairs(extracted, edges, baseline=None, color=colour, lw=1.5, zorder=4)
    safe = np.where(extracted >= FEWEST, extracted, np.nan)
    for name, opacity in BANDS.items():
        up, down = part[f"{name}_up"], part[f"{name}_down"]
        simplex_style.fill(main, edges, down, up, colour, opacity)
        simplex_style.fill(below, edges, down / safe, up / safe, colour, opacity)
    error = np.sqrt(truth)
    seen = np.where(truth > 0, truth, np.nan)
    marks: Any = {"fmt": "o", "lw": 0.9, "color": "black", "zorder": 6}
    main.errorbar(centres, seen, error, ms=3.4, mfc=colour, mew=0.7, **marks)
    below.errorbar(centres, truth / safe, error / safe, ms=2.8, **marks)
    below.axhline(1.0, color=colour, lw=1.2)
    below.set_ylim(config.ratio_range)
    below.yaxis.set_major_locator(MultipleLocator(0.5 if config.ratio_half_width >= 0.5 else 0.2))
    simplex_style.outside(below, centres, truth / safe, config.ratio_range, "black")
    names = ("feature", "flavour", "low", "high", "extracted", "shape_up", "shape_down")
    drawn: dict[str, Any] = {name: part[name] for name in (*names, "total_up", "total_down")}
    return {**drawn, "truth": truth, "truth_error": error, "ratio": truth / safe}


def _legend(figure: Figure, names: list[str], text: str) -> None:
    handles: list[Any] = []
    for name in names:
        colour = simplex_style.look(name).colour
        swatch = Patch(facecolor=colour, alpha=BANDS["shape"], lw=0)
        handles.append((swatch, Line2D([], [], color=colour, lw=1.6)))
    titles = [rf"$\hat\pi\,\hat q$, {simplex_style.look(name).title}" for name in names]
    handles.append(Line2D([], [], color="black", marker="o", ms=4, ls="none"))
    # The bands lie on one another.
    both = 1 - (1 - BANDS["total"]) * (1 - BANDS["shape"])
    handles += [Patch(facecolor="black", alpha=depth, lw=0) for depth in (both, BANDS["total"])]
    titles += ["truth", r"$\hat q$ varied", r"$\hat\pi$ and $\hat q$ varied"]
    simplex_style.head(figure, text, handles, titles, 6)
