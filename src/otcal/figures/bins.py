"""Closure of maps in bins of columns of the jets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from otcal.closure.bins import COLUMNS
from otcal.figures import style
from otcal.runtime import provenance
from otcal.runtime.files import atomic_path

Origin = dict[str, Any]

_SOURCE = style.look("source")
_MAPS = {  # title, marker, colour, place within the bin
    "inclusive": ("one map for all jets", "s", "#e08a00", -0.18),
    "conditional": ("one map, conditional", "o", style.look("calibrated").colour, 0.0),
    "binned": ("one map for each bin", "^", "#2a8f4d", 0.18),
    "floor": ("two halves of the {target}", "D", "#000000", 0.36),
}
SIDES = ("source", "target")
_TITLES = {
    "jet_pt": r"Jet $p_T$ [GeV]",
    "jet_eta": r"Jet $\eta$",
    "jet_phi": r"Jet $\phi$",
    "jet_energy": "Jet energy [GeV]",
    "jet_nparticles": "Constituents",
}


def write(
    rows: list[dict[str, Any]],
    jets: str,
    table: Path,
    figure: Path,
    origin: Origin,
    sides: tuple[str, str] = SIDES,
) -> None:
    """Write rows of `otcal.closure.bins.COLUMNS` as a CSV with its origin beside it, and drawn.

    `table` and `figure` (without suffix) are names of files; the others as in `draw`.
    """
    content = pd.DataFrame(rows, columns=list(COLUMNS))
    with atomic_path(table) as temporary:
        content.to_csv(temporary, index=False, float_format="%.6g")
    provenance.write_sidecar(table, origin)
    style.save(draw(content, jets, sides), figure)


def draw(table: pd.DataFrame, jets: str, sides: tuple[str, str] = SIDES) -> Figure:
    """Draw the energy distance to the target in every bin: with the source above, maps below.

    Parameters
    ----------
    table
        Rows of `otcal.closure.bins.COLUMNS`; the last bin of every column is all of them together,
        and isn't drawn.
    jets
        Which jets these are.
    sides
        What source and target are called.
    """
    names = list(table["column"].unique())
    figure = style.new(6.4, style.WIDTH + 4.6 * (len(names) - 1))
    grid = figure.add_gridspec(2, len(names), wspace=0.06)
    panels = grid.subplots(sharex="col", sharey="row", squeeze=False)
    for (main, below), column in zip(panels.T, names, strict=True):
        rows = table[table["column"] == column]
        whole = (rows["low"].min(), rows["high"].max())
        if len(rows[["low", "high"]].drop_duplicates()) > 1:
            rows = rows[(rows["low"] != whole[0]) | (rows["high"] != whole[1])]
        for axes, maps in ((main, ("source", *_MAPS)), (below, tuple(_MAPS))):
            for name in maps:
                _points(axes, rows[rows["map"] == name], name, sides)
            axes.axhline(0.0, color="#808080", lw=0.8)
        below.set_xlabel(_TITLES.get(column, column))
        below.set_xlim(*whole)
    (main, below), last = panels[:, 0], panels[:, -1]
    for axes in (main, below):
        axes.set_ylabel("Energy distance")
    without = f"without the {sides[0]}"
    last[1].text(0.98, 0.93, without, transform=last[1].transAxes, ha="right", va="top")
    style.headroom(below, 0.12)
    style.headroom(main, 0.42)
    last[0].legend(ncols=1, loc="upper right")
    style.label(main, f"closure in bins, {jets} that no map has seen")
    return figure


def _points(axes: Axes, rows: pd.DataFrame, name: str, sides: tuple[str, str]) -> None:
    half = 0.5 * (rows["high"] - rows["low"])
    middle = 0.5 * (rows["high"] + rows["low"])
    if name == "source":
        title, marker, colour, place = sides[0], "v", _SOURCE.colour, -0.36
    else:
        title, marker, colour, place = _MAPS[name]
    axes.errorbar(
        middle + place * half,
        rows["energy"],
        rows["error"],
        fmt=marker,
        ms=4.5,
        color=colour,
        elinewidth=1.0,
        label=title.format(target=sides[1]),
    )
    for edge in rows["low"].iloc[1:]:
        axes.axvline(edge, color="#d0d0d0", lw=0.6, zorder=0)
