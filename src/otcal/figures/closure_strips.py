"""How far samples are from the pseudo-data, as Wasserstein distances, in all regions at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator
from numpy.typing import NDArray

from otcal.config.figures import FiguresConfig
from otcal.figures import simplex_style, style
from otcal.figures.kappa_closure import REGION
from otcal.figures.simplex_style import SAMPLES
from otcal.figures.tables import Columns, stack
from otcal.runtime.errors import InputError
from otcal.simplex import DISCRIMINANTS

Array = NDArray[np.float64]

COLUMNS = ("region", "discriminant", "kappa", "sample", "w1")
FLOOR = "w1_floor"
RAW = "simulation"
METHODS = ("truth_target", "calibrated", "logit_space", "reweighted", "binned_sf")
"""Compared with one another, from the best that a map can do to what is common today."""

_MARKERS = {
    "truth_target": "D",
    "calibrated": "o",
    "logit_space": "s",
    "reweighted": "^",
    "binned_sf": "v",
}
_SHADES = LinearSegmentedColormap.from_list("strip", ["#ffffff", "#fdebd9", "#f7bf94", "#c8503c"])


def strips(table: Columns, config: FiguresConfig) -> tuple[Figure, Columns]:
    """Draw W1(calibrated, pseudo-data) over W1(simulation, pseudo-data), regions by kappa.

    Parameters
    ----------
    table
        `COLUMNS` and `FLOOR`, the distance of two samples of the same origin.
    config
        Labels.
    """
    regions = list(dict.fromkeys(table["region"].tolist()))
    names = [name for name in DISCRIMINANTS if name in table["discriminant"]]
    kappas = np.unique(table["kappa"].astype(float))
    height = 1.5 + 0.5 * len(regions) * len(names)
    figure = style.new(height + 0.5, 7.2)
    grid = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    scale = LogNorm(0.05, 2.0)
    parts: list[dict[str, Any]] = []
    for axes, name in zip(grid, names, strict=True):
        shown = np.full((len(regions), len(kappas)), np.nan)
        for row, region in enumerate(regions):
            for column, kappa in enumerate(kappas):
                raw, _ = _distance(table, region, name, kappa, RAW)
                value, floor = _distance(table, region, name, kappa, "calibrated")
                shown[row, column] = value / raw
                parts.append(
                    {
                        "region": region,
                        "discriminant": name,
                        "kappa": kappa,
                        "ratio": np.array([value / raw]),
                        "floor": floor / raw,
                    }
                )
                axes.text(
                    column,
                    row,
                    f"{value / raw:.2f}\n({floor / raw:.2f})",
                    ha="center",
                    va="center",
                    fontsize=11.5,
                    color="white" if value > raw else "black",
                    linespacing=1.0,
                )
        axes.imshow(shown, cmap=_SHADES, norm=scale, aspect="auto")
        axes.minorticks_off()
        axes.set_yticks(range(len(regions)), [_title(region) for region in regions])
        axes.set_xticks(range(len(kappas)), [f"{kappa:g}" for kappa in kappas])
        axes.tick_params(length=0)
        axes.set_ylabel(DISCRIMINANTS[name].title, loc="center", fontsize=16)
    grid[-1].set_xlabel(r"Weight of charm $\kappa$", loc="center")
    text = "$W_1$ to the pseudo-data, calibrated over simulation (floor over simulation)"
    style.label(grid[0], f"{config.label}\n{text}")
    return figure, stack(parts)


def methods(table: Columns, config: FiguresConfig) -> tuple[Figure, Columns]:
    """Draw the same ratio for every way to calibrate, in the validation region.

    Parameters
    ----------
    table
        `COLUMNS` and `FLOOR`.
    config
        Labels.
    """
    region = {key: column[table["region"] == REGION] for key, column in table.items()}
    if not len(region["w1"]):
        raise InputError("table", "region", f"has no {REGION}", "Make it again")
    kappas = np.unique(region["kappa"].astype(float))
    names = [name for name in DISCRIMINANTS if name in region["discriminant"]]
    rows = [(name, kappa) for name in names for kappa in kappas]
    there = [name for name in METHODS if name in region["sample"]]
    figure = style.new(1.9 + 0.42 * len(rows), 6.4)
    axes = figure.add_subplot()
    parts: list[dict[str, Any]] = []
    for place, (name, kappa) in enumerate(rows):
        raw, floor = _distance(region, REGION, name, kappa, RAW)
        axes.fill_betweenx([place - 0.5, place + 0.5], 1e-4, floor / raw, color="#d0d0d0", lw=0)
        for number, method in enumerate(there):
            value, _ = _distance(region, REGION, name, kappa, method)
            offset = 0.12 * (number - 0.5 * (len(there) - 1))
            axes.plot(
                value / raw,
                place + offset,
                _MARKERS[method],
                color=SAMPLES[method].colour,
                ms=7,
                mec="white",
                mew=0.5,
            )
            parts.append(
                {"discriminant": name, "kappa": kappa, "sample": method}
                | {"ratio": np.array([value / raw]), "floor": floor / raw}
            )
    axes.axvline(1.0, color=SAMPLES[RAW].colour, ls=SAMPLES[RAW].line, lw=1.6)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(10, (1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    values = np.concatenate([part["ratio"] for part in parts])
    floors = np.array([part["floor"] for part in parts])
    axes.set_xlim(0.6 * min(values.min(), floors.min()), 1.6 * max(values.max(), 1.0))
    _rows(axes, rows)
    axes.set_xlabel(r"$W_1$ to the pseudo-data over that of the simulation")
    handles: list[Any] = [
        Line2D([], [], color=SAMPLES[m].colour, marker=_MARKERS[m], ms=7, ls="none") for m in there
    ]
    handles += [
        Line2D([], [], color=SAMPLES[RAW].colour, ls=SAMPLES[RAW].line, lw=1.6),
        Patch(facecolor="#d0d0d0", lw=0),
    ]
    titles = [SAMPLES[m].title for m in there] + ["simulation as it is", "statistical floor"]
    simplex_style.head(figure, config.label, handles, titles, 2)
    return figure, stack(parts)


def _rows(axes: Axes, rows: list[tuple[str, float]]) -> None:
    """Label one row per discriminant and kappa, from the top, with lines between discriminants."""
    texts = [rf"{DISCRIMINANTS[name].title}, $\kappa$ = {kappa:g}" for name, kappa in rows]
    axes.set_yticks(range(len(rows)), texts)
    axes.tick_params(axis="y", which="both", length=0)
    axes.minorticks_off()
    axes.set_ylim(len(rows) - 0.5, -0.5)
    for place in range(1, len(rows)):
        heavy = rows[place][0] != rows[place - 1][0]
        axes.axhline(place - 0.5, color="black" if heavy else "#c0c0c0", lw=0.8 if heavy else 0.5)


def _distance(
    table: Columns, region: str, name: str, kappa: float, sample: str
) -> tuple[float, float]:
    """Return a distance and its floor; `InputError` when the table does not have it."""
    rows = (table["region"] == region) & (table["discriminant"] == name)
    rows &= (table["sample"] == sample) & np.isclose(table["kappa"].astype(float), kappa)
    if rows.sum() != 1:
        where = f"{sample}, {name}, kappa {kappa:g} in {region}"
        raise InputError("table", "rows", f"has {rows.sum()} of {where}", "Make it again")
    return float(table["w1"][rows][0]), float(table[FLOOR][rows][0])


def _title(region: str) -> str:
    enriched = region.removesuffix("_enriched")
    if enriched != region and enriched in simplex_style.FLAVOURS:
        return f"{simplex_style.look(enriched).title}-enriched"
    return "1:1:1" if region == REGION else region
