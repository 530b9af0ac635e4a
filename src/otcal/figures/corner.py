"""Corner plots from binned tables ([MTG] Figs. 3, 12, 13; Algren et al., arXiv:2507.08867).

Contours enclose the densest bins that hold a given share of the jets. Histograms are blurred by
about one bin first (`FiguresConfig.smoothing_bins`), or the contours of a small sample would follow
the fluctuations of single bins. Every panel shows the jets within the range of its own two axes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from otcal.config.figures import FiguresConfig
from otcal.figures import style
from otcal.figures.contours import levels, smooth
from otcal.figures.histograms import Histogram
from otcal.figures.tables import Columns, Marginals, Pairs, stack
from otcal.runtime.errors import InputError

REFERENCE = "target"

_FEW = 6
"""Up to this many variables, panels have room for larger text."""

_NEGLIGIBLE = 1e-3
"""Bins below this share of the densest one are left out of the written table."""


def draw(
    marginals: Marginals, pairs: Pairs, sample: str, config: FiguresConfig
) -> tuple[Figure, Columns]:
    """Draw `sample` over the target for all variables of a table.

    Parameters
    ----------
    marginals, pairs
        One- and two-dimensional histograms of the same variables.
    sample
        The sample that is compared with the target.
    config
        Contours and labels.
    """
    names = list(marginals.titles)
    size = len(names)
    few = size <= _FEW
    figure = style.new(7.0, 7.0) if few else style.new(10.0, 10.0)
    # Fixed margins: the panels form an even grid whatever the widths of their labels.
    figure.set_layout_engine("none")
    low, high = (0.125, 0.99) if few else (0.105, 0.995)
    grid = figure.add_gridspec(
        size, size, left=low, right=high, bottom=low, top=high, wspace=0.06, hspace=0.06
    )
    parts: list[dict[str, Any]] = []
    for row, y in enumerate(names):
        for column, x in enumerate(names[: row + 1]):
            panel = figure.add_subplot(grid[row, column])
            if column == row:
                parts += _diagonal(panel, marginals, x, sample)
            else:
                parts += _contours(panel, pairs, marginals.where, (x, y), sample, config)
            _decorate(panel, marginals, (row, column), (x, y), size)
    _legend(figure, sample, config, 12.5 if few else 17)
    return figure, stack(parts)


def _diagonal(axes: Axes, marginals: Marginals, name: str, sample: str) -> list[dict[str, Any]]:
    parts = []
    for entry in (REFERENCE, sample):
        histogram = marginals.pick(name, entry)
        density, _ = histogram.density()
        look = style.look(entry)
        if entry == REFERENCE:
            axes.stairs(density, histogram.edges[0], fill=True, color="#d9d9d9", lw=0)
        axes.stairs(density, histogram.edges[0], color=look.colour, ls=_line(entry), lw=1.3)
        parts.append(
            {
                "x": name,
                "y": "",
                "sample": entry,
                "x_centre": _centres(histogram.edges[0]),
                "y_centre": np.full(len(density), np.nan),
                "density": density,
            }
        )
    axes.set_xlim(histogram.edges[0][0], histogram.edges[0][-1])
    axes.set_ylim(0.0, 1.15 * axes.dataLim.ymax)
    return parts


def _contours(
    axes: Axes,
    pairs: Pairs,
    where: str,
    names: tuple[str, str],
    sample: str,
    config: FiguresConfig,
) -> list[dict[str, Any]]:
    parts = []
    for entry in (REFERENCE, sample):
        if (*names, entry) not in pairs:
            raise InputError(
                where, "pairs", f"no histogram of {names} for {entry}", "Make the tables again"
            )
        histogram = pairs[(*names, entry)]
        blurred = smooth(histogram.density()[0], config.smoothing_bins)
        thresholds = np.unique(levels(blurred, config.contours))
        x, y = map(_centres, histogram.edges)
        look = style.look(entry)
        if entry == REFERENCE:
            greys = np.linspace(0.93, 0.62, len(thresholds)).astype(str)
            axes.contourf(x, y, blurred.T, [*thresholds, np.inf], colors=greys, antialiased=True)
        axes.contour(
            x,
            y,
            blurred.T,
            thresholds,
            colors=look.colour,
            linestyles=[_line(entry)],
            linewidths=0.9,
        )
        parts.append(_rows(names, entry, histogram, blurred))
    axes.set_xlim(histogram.edges[0][0], histogram.edges[0][-1])
    axes.set_ylim(histogram.edges[1][0], histogram.edges[1][-1])
    return parts


def _centres(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    return 0.5 * (edges[1:] + edges[:-1])


def _rows(
    names: tuple[str, str], sample: str, histogram: Histogram, density: Any
) -> dict[str, Any]:
    """Return the table rows of a blurred histogram, without its empty outskirts."""
    i, j = np.nonzero(density > _NEGLIGIBLE * density.max())
    x, y = map(_centres, histogram.edges)
    return {
        "x": names[0],
        "y": names[1],
        "sample": sample,
        "x_centre": x[i],
        "y_centre": y[j],
        "density": density[i, j],
    }


def _decorate(
    axes: Axes, marginals: Marginals, place: tuple[int, int], names: tuple[str, str], size: int
) -> None:
    """Keep ticks and titles at the outer border only, few of them."""
    row, column = place
    small = size > _FEW
    axes.minorticks_off()
    axes.tick_params(length=2.5, labelsize=11.5, pad=2)
    axes.set_xticks(_ticks(axes.get_xlim(), small))
    axes.tick_params(labelbottom=row == size - 1, labelleft=column == 0 and row > 0)
    if row == column:
        # The height of a marginal is arbitrary: the density is normalised.
        axes.set_yticks([])
    else:
        axes.set_yticks(_ticks(axes.get_ylim(), small))
    if row == size - 1:
        axes.set_xlabel(marginals.titles[names[0]], loc="center", fontsize=14 if small else 12.5)
        axes.tick_params(axis="x", labelrotation=90 if small else 45)
        axes.xaxis.set_label_coords(0.5, -0.7 if small else -0.36)
    if column == 0 and row > 0:
        axes.yaxis.set_label_coords(-0.7 if small else -0.36, 0.5)
        axes.set_ylabel(marginals.titles[names[1]], loc="center", fontsize=14 if small else 12.5)


def _ticks(limits: tuple[float, float], small: bool) -> list[float]:
    """Return round numbers away from the corners, where neighbours' labels would meet."""
    low, high = limits
    margin = 0.1 * (high - low)
    ticks = MaxNLocator(2 if small else 3).tick_values(low + margin, high - margin)
    return [tick for tick in ticks if low + margin <= tick <= high - margin]


def _line(sample: str) -> Any:
    """Return the line style of a sample here, where the target's lines are continuous."""
    line = style.look(sample).line
    return (0, (4, 1.2, 1, 1.2)) if line == "-" and sample != REFERENCE else line


def _legend(figure: Figure, sample: str, config: FiguresConfig, font: float) -> None:
    look, reference = style.look(sample), style.look(REFERENCE)
    handles: list[Any] = [
        (Patch(facecolor="#c4c4c4", lw=0), Line2D([], [], color=reference.colour, lw=1.2)),
        Line2D([], [], color=look.colour, ls=_line(sample), lw=1.4),
    ]
    shares = ", ".join(f"{100 * share:g}" for share in config.contours)
    figure.legend(
        handles,
        [reference.title, look.title],
        loc="upper right",
        bbox_to_anchor=(0.985, 0.985),
        title=r"$\mathbf{otcal}$"
        + f"\n{config.label}\nq/g jets; contours hold\n{shares} % of them",
        alignment="left",
        title_fontsize=font,
        fontsize=font,
    )
