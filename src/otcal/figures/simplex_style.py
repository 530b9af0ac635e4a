"""How the simplex study's figures show flavours, samples and coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from otcal.figures import style
from otcal.figures.style import Look
from otcal.runtime.errors import InputError

Array = NDArray[np.float64]

FLAVOURS = {
    "b": Look("$b$", "#6a3d9a", "-", 1.4),
    "c": Look("$c$", "#1b8a4b", "-", 1.4),
    "light": Look("light", "#c27a00", "-", 1.4),
}
"""Look of each flavour, apart from the blue, black and red of the samples."""

SAMPLES = {
    "simulation": Look("simulation", style.LOOKS["source"].colour, style.LOOKS["source"].line),
    "data": Look("pseudo-data", style.LOOKS["target"].colour, "-", 1.2),
    "calibrated": Look("calibrated", style.LOOKS["calibrated"].colour, "-"),
    "truth_target": Look("map to the true target", "#8c564b", (0, (1, 1.2))),
    "reweighted": Look("reweighted", style.LOOKS["reweighted"].colour, (0, (4, 1.5, 1, 1.5))),
    "binned_sf": Look("binned scale factors", "#4d9221", (0, (3, 1.2))),
    "logit_space": Look("map in logit space", "#c51b7d", (0, (5, 1, 1, 1, 1, 1))),
}
"""Look of each sample: simulation blue, pseudo-data black, calibrated red as in the other study."""

FEATURES = {
    "z1": r"$z_1 = \frac{1}{\sqrt{2}}\,\ln\,\frac{p_b}{p_c}$",
    "z2": r"$z_2 = \frac{1}{\sqrt{6}}\,\ln\,\frac{p_b\,p_c}{p_\ell^{\,2}}$",
}
"""ILR coordinates with their meaning (Kim, Yang, arXiv:2605.01363, eq. 7)."""

TRUTH: dict[str, Any] = {"marker": "*", "ms": 13, "color": "#ffd000", "mec": "black", "ls": "none"}
"""Marker of a true composition."""

GREY = "#909090"
"""Band of the pseudo-data's own error in a ratio."""


def look(flavour: str) -> Look:
    """Return how a flavour is drawn; `InputError` for one without a look."""
    if flavour not in FLAVOURS:
        raise InputError(
            "figure", "flavour", f"'{flavour}' is unknown", f"Use one of {', '.join(FLAVOURS)}"
        )
    return FLAVOURS[flavour]


def region_title(enriched: str) -> str:
    """Return how the region that is enriched in a flavour is called."""
    return f"{look(enriched).title}-enriched region"


def head(
    figure: Figure, text: str, handles: Sequence[Any], titles: Sequence[str], columns: int
) -> None:
    """Put one legend above all panels, row by row, headed by the project's name and `text`."""
    rows = -(-len(handles) // columns)
    empty = rows * columns - len(handles)
    # Matplotlib fills a legend column by column.
    places = np.arange(rows * columns).reshape(rows, columns).T.ravel()
    blank = [Line2D([], [], ls="none")] * empty
    every, names = [*handles, *blank], [*titles, *[""] * empty]
    figure.legend(
        [every[place] for place in places],
        [names[place] for place in places],
        title=rf"$\mathbf{{otcal}}$  {text}",
        loc="outside upper left",
        alignment="left",
        ncols=columns,
        columnspacing=1.3,
        borderpad=0.5,
    )


def fill(axes: Axes, edges: Array, low: Array, high: Array, colour: str, opacity: float) -> None:
    """Fill between two step functions of bins; bins that are NaN stay empty."""
    axes.stairs(high, edges, baseline=low, fill=True, color=colour, alpha=opacity, lw=0, zorder=2)


def outside(axes: Axes, x: Array, value: Array, limits: tuple[float, float], colour: str) -> None:
    """Mark values beyond the limits of a panel by triangles at its border."""
    span = limits[1] - limits[0]
    for beyond, y, marker in (
        (value > limits[1], limits[1] - 0.06 * span, "^"),
        (value < limits[0], limits[0] + 0.06 * span, "v"),
    ):
        axes.plot(x[beyond], np.full(beyond.sum(), y), marker, color=colour, ms=4, zorder=7)


def part(table: dict[str, NDArray[Any]], column: str, value: str) -> dict[str, NDArray[Any]]:
    """Return the rows of a table in which a column has a value; `InputError` if there are none."""
    rows = table[column] == value
    if not rows.any():
        there = ", ".join(dict.fromkeys(map(str, table[column].tolist())))
        raise InputError("table", column, f"has no row of {value}", f"The table has: {there}")
    return {name: values[rows] for name, values in table.items()}
