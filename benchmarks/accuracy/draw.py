"""The figure: error against CPU time, a panel per family."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter

from accuracy.solvers import SOLVERS
from accuracy.table import DIVERGED
from otcal.figures import style

_COLUMNS = 4
_SPAN = math.sqrt(10.0)  # errors are shown over a factor of ten at least
LOOKS = {
    "linear": ("#8c8c8c", "o"),
    "pot-linear": ("#c4c4c4", "o"),
    "otcal": ("#d1182b", "s"),
    "minimax": ("#7b4aa8", "v"),
    "minimax-small": ("#a98bd0", "v"),
    "minimax-small-preconditioned": ("#5c2d91", "^"),
    "ott-neural-dual": ("#bcd3f5", "D"),
    "ott-neural-dual-tuned": ("#7aa6ea", "D"),
    "ott-neural-dual-cautious": ("#4f8fe0", "d"),
    "ott-neural-dual-convex": ("#1f5fd0", "D"),
    "ott-neural-dual-preconditioned": ("#0b2e73", "D"),
    "ott-entropic": ("#1b9e77", "P"),
    "ott-entropic-preconditioned": ("#0b5e45", "P"),
    "pot-entropic": ("#e08a00", "X"),
}
"""Colour and marker of every solver."""


def draw(table: pd.DataFrame, stem: Path) -> None:
    """Write `stem`.pdf and `stem`.png: points are seeds, lines join medians of the budgets.

    Errors of fits that diverged are drawn at `DIVERGED`.
    """
    label = "L2-UVP (%)"
    if (table["l2_uvp"] > DIVERGED).any():
        label += f", at most {DIVERGED:g}"
    table = table.assign(l2_uvp=table["l2_uvp"].clip(upper=DIVERGED))
    families = list(dict.fromkeys(table["family"]))
    columns = min(_COLUMNS, len(families))
    rows = math.ceil(len(families) / columns)
    figure = style.new(3.0 * rows + 1.9, 3.6 * columns)
    figure.set_layout_engine("constrained", h_pad=0.06, w_pad=0.06)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    for axes, family in zip(grid, families, strict=False):
        panel = table[table["family"] == family]
        for solver, (colour, marker) in LOOKS.items():
            points = panel[panel["solver"] == solver]
            medians = points.groupby("budget_s")[["cpu_s", "l2_uvp"]].median()
            axes.plot(medians["cpu_s"], medians["l2_uvp"], color=colour, linewidth=1.0)
            axes.plot(
                points["cpu_s"], points["l2_uvp"], marker, color=colour, markersize=5, alpha=0.8
            )
        axes.set(xscale="log", yscale="log", title=family)
        axes.margins(0.12)
        low, high = axes.get_ylim()
        middle = math.sqrt(low * high)
        axes.set_ylim(min(low, middle / _SPAN), max(high, middle * _SPAN))
        axes.set(xlabel="CPU time of the fit (s)", ylabel=label)
        axes.tick_params(labelbottom=True)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:g}")
            # Labels between powers of ten where there are few of these.
            axis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.5)))
    for axes in grid[len(families) :]:
        axes.remove()
    present = [name for name in LOOKS if name in set(table["solver"])]
    handles = [
        Line2D([], [], color=LOOKS[name][0], marker=LOOKS[name][1], label=SOLVERS[name].title)
        for name in present
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(3, columns), fontsize=9)
    style.save(figure, stem)
