"""Closure of the discriminants in the validation region ([KY] Figs. 10-12).

[KY] = Kim, Yang (arXiv:2605.01363).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from otcal.config.figures import FiguresConfig
from otcal.figures import comparison, simplex_style, style
from otcal.figures.histograms import Histogram, chi2, ratio
from otcal.figures.simplex_style import GREY, SAMPLES
from otcal.figures.tables import Columns, stack
from otcal.runtime.errors import InputError
from otcal.simplex import DISCRIMINANTS

Array = NDArray[np.float64]

REGION = "validation"
DRAWN = ("simulation", "data", "calibrated")
LOOKS = {"simulation": "source", "data": "target", "calibrated": "calibrated"}
"""Looks of the other study that the samples share."""

COLUMNS = ("region", "discriminant", "kappa", "sample", "low", "high", "count", "variance")
EDGES = ("up", "down")
BANDS = {"total": 0.18, "composition": 0.34}


def draw(
    table: Columns, discriminant: str, kappa: float, config: FiguresConfig
) -> tuple[Figure, Columns]:
    """Draw one discriminant of simulated, calibrated and pseudo-data jets, with the band.

    Parameters
    ----------
    table
        `COLUMNS` and `EDGES`: weights and variances per bin; the edges are those of the calibrated
        weights when the compositions vary.
    discriminant
        Key of `otcal.simplex.DISCRIMINANTS`.
    kappa
        Weight of charm.
    config
        Labels and the range of the ratio.

    Raises
    ------
    InputError
        When the table does not have it, or the calibrated sample has no band.
    """
    rows = (table["region"] == REGION) & (table["discriminant"] == discriminant)
    rows &= np.isclose(table["kappa"].astype(float), kappa)
    samples = {name: _pick(table, rows & (table["sample"] == name), name) for name in DRAWN}
    histograms = {name: _histogram(part) for name, part in samples.items()}
    if not np.isfinite([samples["calibrated"][edge] for edge in EDGES]).all():
        raise InputError("table", "up, down", "has no band", "Make the table again")
    figure = style.new(6.0)
    (main, below), *_ = style.ratio_axes(figure)
    parts = [_sample(main, below, name, histograms, samples, config.ratio_range) for name in DRAWN]
    _range(main, list(histograms.values()))
    edges = histograms["data"].edges[0]
    below.set(xlim=(edges[0], edges[-1]), ylim=config.ratio_range)
    below.axhline(1.0, color="black", lw=0.8)
    below.set_ylabel("ratio to\npseudo-data", loc="center", multialignment="center")
    title = DISCRIMINANTS[discriminant].title.strip("$")
    below.set_xlabel(rf"${title}(\kappa = {kappa:g})$", fontsize=15.5)
    main.set_ylabel("Density")
    _legend(main, histograms)
    style.headroom(main, 0.28)
    style.label(main, f"{config.label}, 1:1:1")
    return figure, stack([{"discriminant": discriminant, "kappa": kappa, **p} for p in parts])


def _pick(table: Columns, rows: NDArray[np.bool_], name: str) -> Columns:
    if not rows.any():
        raise InputError(
            "table", "sample", f"has no {name} for this discriminant and kappa", "Make it again"
        )
    return {key: column[rows] for key, column in table.items()}


def _histogram(part: Columns) -> Histogram:
    edges = np.append(part["low"], part["high"][-1])
    return Histogram((edges,), part["count"].astype(float), part["variance"].astype(float))


def _sample(
    main: Axes,
    below: Axes,
    name: str,
    histograms: dict[str, Histogram],
    samples: dict[str, Columns],
    limits: tuple[float, float],
) -> dict[str, Any]:
    """Draw one sample and its ratio; return what is drawn."""
    histogram, reference = histograms[name], histograms["data"]
    edges = histogram.edges[0]
    density, error = histogram.density()
    value, value_error, reference_error = ratio(histogram, reference)
    up, down = (np.full_like(density, np.nan) for _ in EDGES)
    if name == "calibrated":
        unit = np.diff(edges) * histogram.weights.sum()
        up, down = (samples[name][edge] / unit for edge in EDGES)
    colour = SAMPLES[name].colour
    if name == "data":
        comparison.distribution(main, LOOKS[name], edges, density, error)
        simplex_style.fill(below, edges, 1 - reference_error, 1 + reference_error, GREY, 0.35)
    else:
        line = SAMPLES[name].line
        main.stairs(density, edges, color=colour, ls=line, lw=1.6, baseline=None, zorder=4)
        below.stairs(value, edges, color=colour, ls=line, lw=1.6, baseline=None, zorder=4)
        place = 0.35 if name == "simulation" else 0.65
        x = (1 - place) * edges[:-1] + place * edges[1:]
        simplex_style.outside(below, x, value, limits, colour)
    if name == "calibrated":
        bottom = reference.density()[0]
        safe = np.where(bottom > 0, bottom, np.nan)
        for axes, unit in ((main, np.ones_like(safe)), (below, safe)):
            simplex_style.fill(axes, edges, down / unit, up / unit, colour, BANDS["composition"])
            more = density + np.hypot(up - density, error)
            less = density - np.hypot(density - down, error)
            simplex_style.fill(axes, edges, less / unit, more / unit, colour, BANDS["total"])
    if name == "simulation":
        simplex_style.fill(below, edges, value - value_error, value + value_error, colour, 0.15)
    return {
        "sample": name,
        "low": edges[:-1],
        "high": edges[1:],
        "density": density,
        "error": error,
        "up": up,
        "down": down,
        "ratio": value,
        "ratio_error": reference_error if name == "data" else value_error,
    }


def _range(axes: Axes, histograms: list[Histogram]) -> None:
    """Use a logarithmic axis around all filled bins, at most four decades down."""
    density = np.concatenate([histogram.density()[0] for histogram in histograms])
    axes.set_yscale("log")
    low, high = density[density > 0].min(), density.max()
    axes.set_ylim(max(0.6 * low, 1e-4 * high), 1.6 * high)


def _legend(axes: Axes, histograms: dict[str, Histogram]) -> None:
    data, simulation, calibrated = (SAMPLES[n] for n in ("data", "simulation", "calibrated"))
    handles: list[Any] = [
        Line2D([], [], color=data.colour, marker="o", ms=4, ls="none"),
        Line2D([], [], color=simulation.colour, ls=simulation.line, lw=1.6),
        Line2D([], [], color=calibrated.colour, lw=1.6),
        Patch(facecolor=calibrated.colour, alpha=0.45, lw=0),
        Patch(facecolor=calibrated.colour, alpha=BANDS["total"], lw=0),
    ]
    titles = [data.title]
    for name in ("simulation", "calibrated"):
        value, freedom = chi2(histograms[name], histograms["data"])
        digits = 0 if value >= 100 else 1
        titles.append(rf"{SAMPLES[name].title} ($\chi^2/n = {value:.{digits}f}/{freedom}$)")
    titles += ["composition", "and statistics"]
    axes.legend(handles, titles, loc="upper left", ncols=2, columnspacing=1.0, fontsize=11)
