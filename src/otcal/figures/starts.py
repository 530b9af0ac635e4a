"""Where the starts of the mixture fit end, and how they get there."""

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
from otcal.figures import simplex_style, style
from otcal.figures.extraction import Extraction
from otcal.figures.feedback import Feedback
from otcal.figures.simplex_style import TRUTH
from otcal.figures.tables import Columns, stack

Array = NDArray[np.float64]

_MARKERS = ("o", "s", "^", "v", "P", "h", "<", ">")
_FIT: dict[str, Any] = {"color": style.LOOKS["calibrated"].colour}
_LINES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (4, 1.5, 1, 1.5)))


def compositions(feedback: Feedback, config: FiguresConfig) -> tuple[Figure, Columns]:
    """Draw the fractions that all starts end at, each over its nominal value.

    Parameters
    ----------
    feedback
        Compositions of all starts and of the one that is used, with its standard deviations.
    config
        Labels.
    """
    extraction = feedback.extraction
    regions, names = extraction.regions, extraction.flavours
    figure = style.new(2.3 + 0.42 * len(regions) * len(names), 6.4)
    axes = figure.add_subplot()
    parts: list[dict[str, Any]] = []
    labels = []
    for row, (r, k) in enumerate(np.ndindex(extraction.pi.shape)):
        nominal = extraction.nominal[r, k]
        values = np.array([start["pi"][r, k] for start in extraction.starts]) / nominal
        axes.fill_betweenx(
            [row - 0.36, row + 0.36], values.min(), values.max(), color="#d8d8d8", lw=0, zorder=1
        )
        points = {str(s["name"]): v for s, v in zip(extraction.starts, values, strict=True)}
        for number, value in enumerate(values):
            height = row + 0.5 * (number + 0.5) / len(values) - 0.25
            axes.plot(
                value, height, _marker(number), ms=6, mfc="white", mec="#404040", mew=1.1, zorder=3
            )
        axes.plot(extraction.start[r, k] / nominal, row, "o", ms=4, color="#7f7f7f", zorder=2)
        used, sigma = extraction.pi[r, k] / nominal, feedback.sigma[r, k] / nominal
        axes.errorbar(used, row, xerr=sigma, fmt="|", ms=17, mew=2.4, lw=1.6, **_FIT, zorder=4)
        points |= {"used": used, "used + sigma": used + sigma, "used - sigma": used - sigma}
        points |= {"start of the used one": extraction.start[r, k] / nominal}
        if extraction.truth is not None:
            truth = extraction.truth[r, k] / nominal
            axes.plot(truth, row, **TRUTH, zorder=5)
            points["truth"] = truth
        signal = simplex_style.look(extraction.enriched[r]).title
        labels.append(f"{simplex_style.look(names[k]).title} in {signal}-enriched")
        parts.append(
            {"region": regions[r], "flavour": names[k], "nominal": nominal}
            | {"point": np.array(list(points)), "over_nominal": np.array(list(points.values()))}
        )
    axes.axvline(1.0, color="black", lw=0.8, zorder=0)
    values = np.concatenate([part["over_nominal"] for part in parts])
    margin = 0.07 * np.ptp(values)
    axes.set_xlim(values.min() - margin, values.max() + margin)
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(axis="y", which="both", length=0)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    for row in range(1, len(labels)):
        heavy = row % len(names) == 0
        axes.axhline(row - 0.5, color="black" if heavy else "#c0c0c0", lw=0.8 if heavy else 0.5)
    axes.set_xlabel("Fraction over its nominal value")
    handles: list[Any] = [
        Line2D([], [], marker="|", ms=13, mew=2.4, lw=1.6, **_FIT),
        Line2D([], [], **TRUTH),
        Line2D([], [], marker="o", ms=4, color="#7f7f7f", ls="none"),
        Patch(facecolor="#d8d8d8", lw=0),
    ]
    titles = ["used fit, effective error", "truth", "where it started", "spread of all starts"]
    for number, start in enumerate(extraction.starts):
        handles.append(
            Line2D([], [], marker=_marker(number), mfc="white", mec="#404040", ls="none", ms=6)
        )
        titles.append(f"end of {str(start['name']).replace('-', ' ')}")
    if extraction.truth is None:
        del handles[1], titles[1]
    simplex_style.head(figure, config.label, handles, titles, 2)
    return figure, stack(parts)


def convergence(
    table: Columns, extraction: Extraction, config: FiguresConfig
) -> tuple[Figure, Columns]:
    """Draw the likelihood and the background fractions of all starts against the iteration.

    Parameters
    ----------
    table
        Columns of `otcal.figures.simplex_tables.CONVERGENCE`.
    extraction
        Compositions: nominal and true values, and the flavour of each region.
    config
        Labels.
    """
    starts = list(dict.fromkeys(table["start"].tolist()))
    figure = style.new(3.0 + 1.9 * len(extraction.regions), 6.4)
    heights = (1.25, *[1.0] * len(extraction.regions))
    rows = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    first = (table["region"] == extraction.regions[0]) & (
        table["flavour"] == extraction.flavours[0]
    )
    best = float(table["objective"].max())
    for number, start in enumerate(starts):
        mine = first & (table["start"] == start)
        rows[0].plot(
            table["iteration"][mine],
            table["objective"][mine] - best,
            color="#404040",
            ls=_LINES[number % len(_LINES)],
            lw=1.5,
        )
    rows[0].set_yscale("symlog", linthresh=1.0)
    rows[0].set_ylabel("Objective\n" + r"$-$ best", loc="center", multialignment="center")
    for axes, region, signal in zip(rows[1:], extraction.regions, extraction.enriched, strict=True):
        _fractions(axes, table, extraction, region, signal)
    rows[-1].set_xlabel("EM iteration")
    rows[-1].xaxis.set_major_locator(MaxNLocator(6, integer=True))
    rows[-1].set_xlim(table["iteration"].min(), table["iteration"].max())
    handles: list[Any] = [
        Line2D([], [], color="#404040", ls=_LINES[n % len(_LINES)], lw=1.5)
        for n in range(len(starts))
    ]
    titles = [start.replace("-", " ") for start in starts]
    # Flavours begin a row of the legend.
    blank = -len(starts) % 4
    handles += [Line2D([], [], ls="none")] * blank
    titles += [""] * blank
    for name in extraction.flavours:
        handles.append(Line2D([], [], color=simplex_style.look(name).colour, lw=2.4))
        titles.append(simplex_style.look(name).title)
    if extraction.truth is not None:
        handles.append(Line2D([], [], **TRUTH))
        titles.append("truth")
    simplex_style.head(figure, config.label, handles, titles, 4)
    return figure, dict(table)


def _fractions(
    axes: Axes, table: Columns, extraction: Extraction, region: str, signal: str
) -> None:
    """Draw the fractions of a region's backgrounds in per cent; the signal is what they leave."""
    r = extraction.regions.index(region)
    for k, name in enumerate(extraction.flavours):
        if name == signal:
            continue
        colour = simplex_style.look(name).colour
        for number, start in enumerate(dict.fromkeys(table["start"].tolist())):
            rows = (table["region"] == region) & (table["flavour"] == name)
            rows &= table["start"] == start
            axes.plot(
                table["iteration"][rows],
                100 * table["fraction"][rows],
                color=colour,
                ls=_LINES[number % len(_LINES)],
                lw=1.5,
            )
        if extraction.truth is not None:
            axes.plot(
                table["iteration"].max(),
                100 * extraction.truth[r, k],
                **{**TRUTH, "mec": colour},
                clip_on=False,
                zorder=6,
            )
    axes.set_ylabel(
        f"{simplex_style.look(signal).title}-enriched\nfraction, %",
        loc="center",
        multialignment="center",
    )


def _marker(number: int) -> str:
    return _MARKERS[number % len(_MARKERS)]
