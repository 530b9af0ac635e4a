"""Samples on top of one another, with their ratio to the target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MultipleLocator

from otcal.figures import style
from otcal.figures.histograms import Histogram, chi2, ratio
from otcal.figures.tables import Columns, stack

REFERENCE = "target"
RATIO_RANGE = (0.7, 1.3)


def draw(
    main: Axes,
    below: Axes | None,
    histograms: dict[str, Histogram],
    ratio_range: tuple[float, float] = RATIO_RANGE,
) -> Columns:
    """Draw normalised histograms and, below, their ratio to the target.

    The target is drawn as points with error bars, the others as steps with an error band; in the
    ratio the target's own error is the grey band around one.

    Parameters
    ----------
    main, below
        Axes of the distributions, and of the ratio (None leaves it out).
    histograms
        Histogram of each sample, `target` among them when there is a ratio.
    ratio_range
        Range of the ratio axis; what lies outside is marked by a triangle at the border.

    Returns
    -------
    columns
        What is drawn, one row per sample and bin.
    """
    parts: list[dict[str, Any]] = []
    compared = [sample for sample in style.order(list(histograms)) if sample != REFERENCE]
    for sample in style.order(list(histograms)):
        histogram = histograms[sample]
        density, error = histogram.density()
        distribution(main, sample, histogram.edges[0], density, error)
        part: dict[str, Any] = {
            "sample": sample,
            "low": histogram.edges[0][:-1],
            "high": histogram.edges[0][1:],
            "density": density,
            "error": error,
        }
        if below is not None:
            value, value_error, band = ratio(histogram, histograms[REFERENCE])
            reference = sample == REFERENCE
            part["ratio"] = np.where(np.isnan(value), np.nan, 1.0) if reference else value
            part["ratio_error"] = band if reference else value_error
            # Side by side, or the triangles of one sample would hide those of another.
            place = (compared.index(sample) + 0.5) / len(compared) if not reference else 0.5
            _ratio(below, sample, histogram.edges[0], part, ratio_range, place)
        parts.append(part)
    if below is not None:
        below.set_ylim(*ratio_range)
        below.set_ylabel("ratio to\ntarget", loc="center", multialignment="center")
        below.axhline(1.0, color="black", lw=0.8, zorder=1)
        below.yaxis.set_major_locator(_ratio_ticks(ratio_range))
    main.set_xlim(parts[0]["low"][0], parts[0]["high"][-1])
    return stack(parts)


def legend(
    axes: Axes, histograms: dict[str, Histogram], notes: dict[str, str] | None = None
) -> None:
    """Add a legend: each sample as drawn, its chi-squared against the target, its note."""
    samples = legend_order(list(histograms))
    titles = []
    for sample in samples:
        title = style.look(sample).title
        if sample != REFERENCE:
            value, freedom = chi2(histograms[sample], histograms[REFERENCE])
            digits = 0 if value >= 100 else 1
            title += (
                rf"  ($\chi^2/n = {value:.{digits}f}/{freedom}${(notes or {}).get(sample, '')})"
            )
        titles.append(title)
    axes.legend(handles(samples), titles, loc="upper left")


def figure_legend(figure: Figure, samples: Sequence[str], text: str) -> None:
    """Add one legend above all panels of a figure, headed by the project's name and `text`."""
    samples = legend_order(samples)
    figure.legend(
        handles(samples),
        [style.look(sample).title for sample in samples],
        title=rf"$\mathbf{{otcal}}$  {text}",
        # On the left, where a narrow screen that scrolls the figure begins.
        loc="outside upper left",
        alignment="left",
        ncols=len(samples),
        fontsize=14,
        title_fontsize=14,
    )


def handles(samples: Sequence[str]) -> list[Any]:
    """Return legend entries that look as the samples are drawn."""
    result: list[Any] = []
    for sample in samples:
        look = style.look(sample)
        if sample == REFERENCE:
            result.append(Line2D([], [], color=look.colour, marker="o", ms=4, ls="none"))
        elif sample == "training":
            result.append(Patch(facecolor=look.colour, alpha=0.35))
        else:
            result.append(Line2D([], [], color=look.colour, ls=look.line, lw=look.width))
    return result


def log_range(axes: Axes, histograms: dict[str, Histogram]) -> None:
    """Use a logarithmic axis from just below the lowest filled bin to the peak."""
    filled = [
        (density[density > 0].min(), density.max())
        for density in (histogram.density()[0] for histogram in histograms.values())
        if density.max() > 0
    ]
    axes.set_yscale("log")
    if filled:
        low, high = min(pair[0] for pair in filled), max(pair[1] for pair in filled)
        axes.set_ylim(np.clip(0.5 * low, 1e-6 * high, 1e-2 * high), 2.0 * high)


def distribution(axes: Axes, sample: str, edges: Any, density: Any, error: Any) -> None:
    """Draw one sample: the target as points, the training jets filled, others as steps."""
    look = style.look(sample)
    if sample == REFERENCE:
        filled = density > 0
        axes.errorbar(
            0.5 * (edges[1:] + edges[:-1])[filled],
            density[filled],
            error[filled],
            color=look.colour,
            fmt="o",
            ms=3.6,
            lw=1.0,
            zorder=6,
        )
    elif sample == "training":
        axes.stairs(density, edges, fill=True, color=look.colour, alpha=0.35, lw=0, zorder=1)
    else:
        axes.stairs(
            density, edges, color=look.colour, ls=look.line, lw=look.width, baseline=None, zorder=4
        )
        _band(axes, edges, density - error, density + error, look.colour)


def _ratio(
    axes: Axes,
    sample: str,
    edges: Any,
    part: dict[str, Any],
    limits: tuple[float, float],
    place: float,
) -> None:
    """Draw one ratio; `place` is where in a bin its triangles stand, from 0 to 1."""
    look = style.look(sample)
    value, error = part["ratio"], part["ratio_error"]
    if sample == REFERENCE:
        _band(axes, edges, 1.0 - error, 1.0 + error, "#909090", alpha=0.35)
        return
    axes.stairs(value, edges, color=look.colour, ls=look.line, lw=look.width, baseline=None)
    _band(axes, edges, value - error, value + error, look.colour)
    x = (1.0 - place) * edges[:-1] + place * edges[1:]
    span = limits[1] - limits[0]
    for outside, y, marker in (
        (value > limits[1], limits[1] - 0.06 * span, "^"),
        (value < limits[0], limits[0] + 0.06 * span, "v"),
    ):
        axes.plot(x[outside], np.full(outside.sum(), y), marker, color=look.colour, ms=4, zorder=5)


def _band(axes: Axes, edges: Any, low: Any, high: Any, colour: str, alpha: float = 0.22) -> None:
    axes.fill_between(
        edges,
        np.append(low, low[-1]),
        np.append(high, high[-1]),
        step="post",
        color=colour,
        alpha=alpha,
        lw=0,
        zorder=2,
    )


def _ratio_ticks(limits: tuple[float, float]) -> Any:
    return MultipleLocator(0.2 if limits[1] - limits[0] < 1.0 else 0.5)


def legend_order(samples: Sequence[str]) -> list[str]:
    """Return the target first: it is what the others are compared with."""
    return sorted(style.order(samples), key=lambda sample: sample != REFERENCE)
