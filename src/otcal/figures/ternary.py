"""How the map of a flavour moves jets on the simplex of probabilities ([KY] Fig. 9).

[KY] = Kim, Yang (arXiv:2605.01363).
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from otcal.config.figures import FiguresConfig
from otcal.figures import simplex_style, style
from otcal.figures.count_displacements import corners
from otcal.figures.displacement import ARROWS, arrow_handle
from otcal.figures.simplex_style import FLAVOURS, SAMPLES
from otcal.figures.tables import Columns

Array = NDArray[np.float64]

# Registers matplotlib's projection "ternary".
importlib.import_module("mpltern")

SHADES = LinearSegmentedColormap.from_list(
    "share", ["#f4f7fd", "#b9cdf3", "#6f97e2", SAMPLES["simulation"].colour]
)
SCALES = (10, 5, 3, 2, 1)
"""How many times as long as the displacement arrows may be drawn."""

_NAMES = {"b": "b", "c": "c", "light": r"\ell"}
_VERTICES: dict[str, tuple[tuple[float, ...], str, str]] = {
    "b": ((1.03, -0.015, -0.015), "center", "bottom"),
    "c": ((-0.02, 1.03, -0.01), "right", "top"),
    "light": ((-0.02, -0.01, 1.03), "left", "top"),
}
"""Where the name of each vertex stands, and how it is aligned."""


def draw(table: Columns, flavour: str, config: FiguresConfig) -> tuple[Figure, Columns]:
    """Draw mean displacements of one flavour over the share of jets in each triangle.

    Parameters
    ----------
    table
        Columns of `otcal.figures.simplex_tables.SIMPLEX`.
    flavour
        Which map.
    config
        Labels.

    Raises
    ------
    InputError
        When the table has nothing of the flavour.
    """
    part = simplex_style.part(table, "flavour", flavour)
    figure = style.new(6.9)
    axes: Any = figure.add_subplot(projection="ternary")
    share = 100.0 * part["jets"] / part["jets"].sum()
    cells = np.stack([part[f"cell_{name}"] for name in FLAVOURS], axis=1)
    # The numbers of an upright triangle add up to one less than there are along an edge.
    count = int(cells.sum(axis=1).max()) + 1
    scale = LogNorm(share.min(), share.max())
    for corner, value in zip(corners(cells, count), share, strict=True):
        axes.fill(*corner.T, color=SHADES(scale(value)), lw=0, zorder=1)
    arrows = part["shown"] == 1
    start, end = (
        np.stack([part[f"{prefix}_{name}"][arrows] for name in FLAVOURS])
        for prefix in ("p", "moved")
    )
    factor = magnification(end - start, count)
    axes.quiver(*start, *(factor * (end - start)), **ARROWS)
    _decorate(axes)
    bar = figure.colorbar(
        ScalarMappable(scale, SHADES), ax=axes, location="bottom", shrink=0.8, pad=0.02, aspect=32
    )
    title = simplex_style.look(flavour).title
    bar.set_label(f"Simulated {title} jets per triangle, %", loc="center")
    bar.ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    name = "mean displacement" + (f", {factor} times as long" if factor > 1 else "")
    text = f"{config.label}, {title} jets"
    simplex_style.head(figure, text, [arrow_handle()], [name], 1)
    return figure, {**part, "share_percent": share, "magnification": np.full(len(share), factor)}


def magnification(shift: Array, count: int) -> int:
    """Return the largest of `SCALES` at which nine of ten arrows stay within a triangle's length.

    Parameters
    ----------
    shift
        Change of the probabilities, shape (3, N).
    count
        Triangles along an edge of the simplex, whose length is the root of two.
    """
    if not shift.size:
        return 1
    length = np.quantile(np.linalg.norm(shift, axis=0), 0.9)
    fitting = [scale for scale in SCALES if scale * length <= 1.1 * np.sqrt(2.0) / count]
    return fitting[0] if fitting else SCALES[-1]


def _decorate(axes: Any) -> None:
    """Name vertices and edges; along an edge one probability grows."""
    axes.set_ternary_lim(0, 1, 0, 1, 0, 1)
    for name, (place, across, along) in _VERTICES.items():
        axes.text(*place, simplex_style.look(name).title, ha=across, va=along, fontsize=16)
    for name, axis, setter in zip(
        FLAVOURS,
        (axes.taxis, axes.laxis, axes.raxis),
        (axes.set_tlabel, axes.set_llabel, axes.set_rlabel),
        strict=True,
    ):
        axis.set_ticks([0.2, 0.4, 0.6, 0.8])
        axis.set_label_position("tick1")
        setter(rf"$p_{{{_NAMES[name]}}}$", fontsize=16)
    axes.tick_params(labelsize=11.5)
    axes.grid(color="#b0b0b0", lw=0.5, zorder=2)
    axes.set_axisbelow(False)
