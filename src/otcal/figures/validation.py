"""Generated jets against the published distributions of JetClass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter
from numpy.typing import NDArray

from otcal.config.figures import FiguresConfig
from otcal.figures import style
from otcal.simulation.validation import FEATURES, Reference, Sample, distance

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Panel:
    """How a feature is drawn: title with unit, bin edges, and whether densities are logarithmic."""

    title: str
    edges: Floats
    logarithmic: bool = False
    log_x: bool = False


def _core(limit: float) -> Floats:
    """Return bins around zero that widen outwards."""
    half = limit * np.linspace(0.0, 1.0, 21) ** 2
    return np.concatenate([-half[:0:-1], half])


PANELS = {
    "jet_pt": Panel(r"Jet $p_T$ [GeV]", np.linspace(500, 1000, 26), logarithmic=True),
    "jet_eta": Panel(r"Jet $\eta$", np.linspace(-2, 2, 21)),
    "jet_phi": Panel(r"Jet $\phi$ [rad]", np.linspace(-np.pi, np.pi, 21)),
    "jet_energy": Panel(r"Jet $E$ [GeV]", np.linspace(500, 2400, 26), logarithmic=True),
    "jet_nparticles": Panel(r"$N_{\mathrm{constituents}}$", np.arange(-0.5, 120, 5)),
    "pt": Panel(r"Constituent $p_T$ [GeV]", np.geomspace(0.4, 600, 31), True, True),
    "deta": Panel(r"$\Delta\eta$", np.linspace(-0.75, 0.75, 31), logarithmic=True),
    "dphi": Panel(r"$\Delta\phi$ [rad]", np.linspace(-0.75, 0.75, 31), logarithmic=True),
    "d0val": Panel(r"$d_0$ [mm]", _core(2.0), logarithmic=True),
    "d0err": Panel(r"$\sigma(d_0)$ [mm]", np.geomspace(0.009, 0.15, 15), True, True),
    "dzval": Panel(r"$z_0$ [mm]", _core(2.0), logarithmic=True),
    "dzerr": Panel(r"$\sigma(z_0)$ [mm]", np.geomspace(0.027, 0.6, 15), True, True),
}


def draw(
    samples: dict[str, Sample], references: dict[str, Reference], label: str = FiguresConfig().label
) -> Figure:
    """Return the figure of all features with ratios to JetClass, headed by `label`.

    Densities of the reference come from its quantiles; bins whose content they do not resolve
    have no ratio.
    """
    figure = style.new(18.0, 8.0)
    figure.set_layout_engine("none")
    rows = (len(FEATURES) + 1) // 2
    # Main panel, ratio and a gap for the labels, with all axes of a column aligned.
    grid = figure.add_gridspec(
        3 * rows,
        2,
        height_ratios=[2.6, 1.0, 0.85] * rows,
        hspace=0.0,
        wspace=0.22,
        left=0.11,
        right=0.98,
        top=0.96,
        bottom=0.0,
    )
    for number, name in enumerate(FEATURES):
        row, column = divmod(number, 2)
        main = figure.add_subplot(grid[3 * row, column])
        below = figure.add_subplot(grid[3 * row + 1, column], sharex=main)
        main.tick_params(labelbottom=False)
        _panel(main, below, PANELS[name], samples[name], references[name])
        if column == 0:
            main.set_ylabel("Density")
            below.set_ylabel("ratio to\nJetClass", loc="center", multialignment="center")
    handles, labels = main.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        title=rf"$\mathbf{{otcal}}$  {label}",
        # On the left, where a narrow screen that scrolls the figure begins.
        loc="upper left",
        bbox_to_anchor=(0.09, 1.0),
        alignment="left",
        ncols=2,
        fontsize=14,
        title_fontsize=14,
    )
    return figure


def _panel(main: Axes, below: Axes, panel: Panel, sample: Sample, reference: Reference) -> None:
    edges = panel.edges
    width = np.diff(edges)
    share = np.diff(reference.cumulative(edges))
    expected = share / width
    content = np.diff(sample.cumulative(edges, "left")) / width
    rows = np.searchsorted(sample.values, edges)
    squares = np.concatenate([[0.0], np.cumsum(sample.weights**2)])
    error = np.sqrt(np.diff(squares[rows])) / width

    look = style.look("source")
    ours, theirs = look.colour, style.look("target").colour
    main.stairs(expected, edges, color=theirs, label="JetClass")
    main.stairs(content, edges, color=ours, ls=look.line, lw=1.3, label="generated here")
    if panel.logarithmic:
        main.set_yscale("log")
        positive = np.concatenate([expected[expected > 0], content[content > 0]])
        main.set_ylim(positive.min() / 2, positive.max() * 2)
    else:
        main.set_ylim(0, 1.05 * max(expected.max(), content.max()))
        main.yaxis.set_major_locator(MaxNLocator(4, prune="lower"))
    style.headroom(main, 0.18)
    main.text(
        0.97,
        0.94,
        f"KS {distance(sample, reference):.3f}",
        transform=main.transAxes,
        ha="right",
        va="top",
    )

    known = share > np.diff(reference.probabilities).max()
    middle = np.sqrt(edges[1:] * edges[:-1]) if panel.log_x else (edges[1:] + edges[:-1]) / 2
    below.axhline(1.0, color=theirs, linewidth=0.8)
    below.errorbar(
        middle[known],
        content[known] / expected[known],
        error[known] / expected[known],
        fmt=".",
        color=ours,
        markersize=4,
    )
    below.set_ylim(0.7, 1.3)
    below.set_yticks([0.8, 1.0, 1.2])
    below.set_xlabel(panel.title)
    if panel.log_x:
        below.set_xscale("log")
        below.xaxis.set_minor_formatter(NullFormatter())
    below.set_xlim(edges[0], edges[-1])
