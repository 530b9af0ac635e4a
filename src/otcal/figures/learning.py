"""How the fit of the transport map converged on held-out jets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from otcal.config.figures import FiguresConfig
from otcal.figures import style
from otcal.figures.tables import Columns, read

_COLUMNS = ("step", "energy", "energy_gain", "energy_error")
_DUAL = ("dual", "dual_error")


def draw(path: Path, config: FiguresConfig) -> tuple[Figure, Columns]:
    """Draw held-out figures against the step: energy distance and, if known, the dual value.

    Parameters
    ----------
    path
        Table with `step`; `energy`, the squared energy distance of transported source and target;
        `energy_gain`, that minus the one of the Gaussian map, with its standard error
        `energy_error`; for one convex potential also `dual` and `dual_error`, the semi-dual value
        relative to the Gaussian map's. A step that falls marks
        another attempt.
    config
        Labels.
    """
    table = read(path, _COLUMNS, _DUAL)
    with_dual = all(name in table for name in _DUAL)
    figure = style.new(6.2 if with_dual else 4.4)
    rows = figure.subplots(2 if with_dual else 1, 1, sharex=True, squeeze=False)[:, 0]
    falls = np.diff(table["step"], prepend=table["step"][0]) < 0
    attempts = np.cumsum(falls.astype(int))
    colour = style.look("calibrated").colour
    _curve(rows[0], table, attempts, "energy", "energy_error")
    gaussian = table["energy"] - table["energy_gain"]
    rows[0].axhline(
        gaussian[-1], color="#404040", ls=(0, (5, 2)), lw=1.2, label="closed-form Gaussian map"
    )
    rows[0].plot([], [], "-o", ms=3, color=colour, label="fitted map, held-out jets")
    rows[0].set_ylabel("Energy distance")
    rows[0].ticklabel_format(axis="y", style="plain")
    rows[0].set_ylim(min(0.0, 1.1 * table["energy"].min()), None)
    style.headroom(rows[0], 0.2)
    rows[0].legend(loc="upper right")
    style.label(rows[0], config.label)
    if with_dual:
        _curve(rows[1], table, attempts, "dual", "dual_error")
        rows[1].axhline(0.0, color="#404040", ls=(0, (5, 2)), lw=1.2)
        rows[1].set_ylabel(r"Dual $-$ Gaussian's")
    rows[-1].set_xlabel("Optimiser step")
    rows[-1].xaxis.set_major_locator(MaxNLocator(6, integer=True))
    rows[-1].set_xlim(0, 1.03 * max(table["step"].max(), 1.0))
    return figure, {**table, "attempt": attempts}


def _curve(axes: Axes, table: Columns, attempts: NDArray[np.intp], name: str, error: str) -> None:
    colour = style.look("calibrated").colour
    for attempt in np.unique(attempts):
        rows = attempts == attempt
        last = attempt == attempts[-1]
        axes.errorbar(
            table["step"][rows],
            table[name][rows],
            table[error][rows],
            fmt="-o",
            ms=3,
            lw=1.4,
            elinewidth=0.8,
            color=colour,
            alpha=1.0 if last else 0.35,
        )
