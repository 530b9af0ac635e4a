"""One style for all figures: colours, fonts, labels, and files with the same bytes every time."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import mplhep
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import PlaceHolderLayoutEngine

from otcal.runtime.errors import InputError
from otcal.runtime.files import atomic_path

WIDTH = 6.0
"""Width of a figure in inches: 12 pt text is then 11 pixels high in a picture 400 pixels wide."""

DPI = 200

# Embedding fonts in a PDF reports every glyph at the level that our steps log at.
logging.getLogger("fontTools").setLevel(logging.WARNING)


@dataclass(frozen=True)
class Look:
    """How one sample is drawn; the line style tells samples apart in greyscale too."""

    title: str
    colour: str
    line: Any
    width: float = 1.6


LOOKS = {
    "source": Look("source", "#1f5fd0", (0, (5, 1.6))),
    "target": Look("target", "#000000", "-", 1.2),
    "calibrated": Look("calibrated", "#d1182b", "-"),
    "reweighted": Look("source, reweighted", "#e08a00", (0, (4, 1.5, 1, 1.5))),
    "training": Look("training, ten classes", "#8c8c8c", "-"),
}
"""Look of each sample: source blue, target black, calibrated red."""

_SETTINGS: Any = {
    "font.size": 12,
    "axes.labelsize": 13,
    "axes.titlesize": 12,
    "axes.linewidth": 0.9,
    "axes.labelpad": 4,
    "axes.autolimit_mode": "data",
    "axes.formatter.limits": (-3, 5),
    "axes.unicode_minus": True,
    # Plain tick labels: parsing each as mathematics would take most of the time of a figure.
    "axes.formatter.use_mathtext": False,
    "xtick.labelsize": 11.5,
    "ytick.labelsize": 11.5,
    "xtick.major.size": 5,
    "ytick.major.size": 5,
    "xtick.minor.size": 2.5,
    "ytick.minor.size": 2.5,
    "legend.fontsize": 11.5,
    "legend.borderpad": 0.3,
    "legend.borderaxespad": 0.6,
    "legend.handlelength": 2.2,
    "lines.linewidth": 1.6,
    "mathtext.fontset": "stixsans",
    # Type 42 keeps the text of a PDF selectable and searchable.
    "pdf.fonttype": 42,
}


def apply() -> None:
    """Make this style the current one: mplhep's ATLAS style, resized for one column."""
    mpl.rcdefaults()
    mpl.rcParams.update(mplhep.style.ATLAS)
    mpl.rcParams.update(_SETTINGS)


def new(height: float, width: float = WIDTH) -> Figure:
    """Return an empty figure of this style, sizes in inches."""
    apply()
    figure = Figure(figsize=(width, height))
    # No padding around axes, so that a ratio touches the distribution that it belongs to.
    figure.set_layout_engine("constrained", h_pad=0.0, w_pad=0.0, rect=(0.01, 0.012, 0.975, 0.98))
    return figure


def label(axes: Axes, text: str) -> None:
    """Write the project's name and `text` above the axes."""
    axes.set_title(rf"$\mathbf{{otcal}}$  {text}", loc="left", fontsize=11, pad=5)


def ratio_axes(figure: Figure, rows: int = 1, columns: int = 1) -> list[tuple[Axes, Axes]]:
    """Return pairs of (main, ratio) axes that share their x axis, in reading order."""
    pairs = []
    outer = figure.add_gridspec(rows, columns, hspace=0.06, wspace=0.05)
    for row in range(rows):
        for column in range(columns):
            inner = outer[row, column].subgridspec(2, 1, height_ratios=(2.6, 1), hspace=0.0)
            main = figure.add_subplot(inner[0])
            ratio = figure.add_subplot(inner[1], sharex=main)
            main.tick_params(labelbottom=False)
            pairs.append((main, ratio))
    return pairs


def headroom(axes: Axes, share: float = 0.3) -> None:
    """Leave `share` of the height of the axes free above the curves for text and legend."""
    low, high = axes.get_ylim()
    if axes.get_yscale() == "log":
        axes.set_ylim(low, low * (high / low) ** (1.0 / (1.0 - share)))
    else:
        axes.set_ylim(low, low + (high - low) / (1.0 - share))


def save(figure: Figure, stem: str | Path) -> None:
    """Write `stem`.pdf and `stem`.png; equal figures give equal bytes."""
    stem = Path(stem)
    metadata: dict[str, dict[str, Any]] = {
        # No dates; no version of matplotlib either, it is part of the environment.
        "pdf": {"CreationDate": None, "Producer": None, "Creator": "otcal"},
        "png": {"Software": None},
    }
    if not isinstance(figure.get_layout_engine(), PlaceHolderLayoutEngine | None):
        # One layout for both files, which also saves half of the time.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    for suffix, entries in metadata.items():
        with atomic_path(stem.with_name(f"{stem.name}.{suffix}")) as path:
            figure.savefig(path, format=suffix, dpi=DPI, metadata=entries)


def look(sample: str) -> Look:
    """Return how a sample is drawn.

    Raises
    ------
    InputError
        For a sample without a look.
    """
    if sample not in LOOKS:
        raise InputError(
            "figure", "sample", f"'{sample}' is unknown", f"Use one of {', '.join(LOOKS)}"
        )
    return LOOKS[sample]


def order(samples: Sequence[str]) -> list[str]:
    """Return samples in drawing order: the order of `LOOKS`."""
    present = set(samples)
    return [look_name for look_name in LOOKS if look_name in present]
