"""Scores of a control region, and the mixture before and after its fit ([KY] Fig. 1).

[KY] = Kim, Yang (arXiv:2605.01363).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from otcal.config.figures import FiguresConfig
from otcal.figures import simplex_style, style
from otcal.figures.simplex_style import FEATURES, GREY, SAMPLES
from otcal.figures.tables import Columns, stack

Array = NDArray[np.float64]

STAGES = {"before": ("simulation", "before the fit"), "after": ("calibrated", "after the fit")}
"""Look and title of the mixture at each stage."""

LEAST_EXPECTED = 5.0
"""Jets that a bin must expect to count in a chi-squared."""


def draw(table: Columns, enriched: str, config: FiguresConfig) -> tuple[Figure, Columns]:
    """Draw both coordinates of the region that is enriched in a flavour.

    Parameters
    ----------
    table
        Columns of `otcal.figures.simplex_tables.MIXTURE`.
    enriched
        The flavour.
    config
        Labels and the range of the ratio.

    Raises
    ------
    InputError
        When the table has no such region.
    """
    region = simplex_style.part(table, "enriched", enriched)
    names = [name for name in dict.fromkeys(region["flavour"].tolist()) if name != "all"]
    figure = style.new(5.9, 8.4)
    grid = figure.subplots(2, 2, sharex="col", height_ratios=(2.6, 1))
    pairs = list(zip(*grid, strict=True))
    parts = []
    for (main, below), feature in zip(pairs, FEATURES, strict=True):
        panel = simplex_style.part(region, "feature", feature)
        parts.append(_panel(main, below, panel, names, config))
        below.set_xlabel(FEATURES[feature], fontsize=15)
    _align(pairs)
    lines = [
        Line2D([], [], color=SAMPLES["data"].colour, marker="o", ms=4, ls="none"),
        *(
            Line2D([], [], color=SAMPLES[sample].colour, ls=_dash(stage), lw=1.8)
            for stage, (sample, _) in STAGES.items()
        ),
        *(Line2D([], [], color=simplex_style.look(name).colour, lw=1.4) for name in names),
    ]
    titles = [SAMPLES["data"].title, *(f"mixture {title}" for _, title in STAGES.values())]
    titles += [simplex_style.look(name).title for name in names]
    text = f"{config.label}, {simplex_style.region_title(enriched)}"
    simplex_style.head(figure, text, lines, titles, 6)
    return figure, stack(parts)


def chi2(counts: Array, expected: Array) -> tuple[float, int]:
    """Return Pearson's chi-squared and the number of bins that expect enough jets."""
    used = expected >= LEAST_EXPECTED
    pulls = (counts - expected)[used] ** 2 / expected[used]
    return float(pulls.sum()), int(used.sum())


def _panel(
    main: Axes, below: Axes, panel: Columns, names: list[str], config: FiguresConfig
) -> Columns:
    """Draw one coordinate; return what is drawn, total mixtures included."""
    data = simplex_style.part(panel, "sample", "data")
    edges, counts = np.append(data["low"], data["high"][-1]), data["jets"]
    centres = 0.5 * (edges[1:] + edges[:-1])
    seen = np.where(counts > 0, counts, np.nan)
    black = SAMPLES["data"].colour
    main.errorbar(centres, seen, np.sqrt(seen), fmt="o", ms=3.4, lw=1.0, color=black, zorder=6)
    error = 1.0 / np.sqrt(seen)
    simplex_style.fill(below, edges, 1 - error, 1 + error, GREY, 0.35)
    below.axhline(1.0, color="black", lw=0.8)
    base = {"feature": data["feature"], "low": data["low"], "high": data["high"]}
    result: list[dict[str, Any]] = [
        {**base, "sample": "data", "flavour": "all", "jets": counts, "ratio": seen / seen}
    ]
    for place, (stage, (sample, title)) in enumerate(STAGES.items()):
        mixture = simplex_style.part(panel, "sample", stage)
        components = {name: simplex_style.part(mixture, "flavour", name)["jets"] for name in names}
        total = np.sum(list(components.values()), axis=0)
        for name, jets in components.items():
            colour = simplex_style.look(name).colour
            main.stairs(jets, edges, baseline=None, color=colour, lw=1.3, ls=_dash(stage))
        colour, line = SAMPLES[sample].colour, _dash(stage)
        main.stairs(total, edges, baseline=None, color=colour, lw=1.8, ls=line, zorder=5)
        below.stairs(total / seen, edges, baseline=None, color=colour, lw=1.6, ls=line, zorder=4)
        aside = centres + 0.3 * (place - 0.5) * np.diff(edges)
        simplex_style.outside(below, aside, total / seen, config.ratio_range, colour)
        value, bins = chi2(counts, total)
        main.text(
            0.04,
            0.955 - 0.075 * place,
            rf"{title}: $\chi^2/n = {value:.{0 if value >= 100 else 1}f}/{bins}$",
            transform=main.transAxes,
            color=colour,
            va="top",
        )
        result += [
            {**base, "sample": stage, "flavour": name, "jets": jets, "ratio": jets / seen}
            for name, jets in {**components, "all": total}.items()
        ]
    main.set_yscale("log")
    main.set_ylim(0.7, 1.3 * counts.max())
    style.headroom(main, 0.2)
    below.set(xlim=(edges[0], edges[-1]), ylim=config.ratio_range)
    return stack(result)


def _align(pairs: list[tuple[Axes, Axes]]) -> None:
    """Give all panels one vertical axis, written at the left only."""
    top = max(main.get_ylim()[1] for main, _ in pairs)
    for number, (main, below) in enumerate(pairs):
        main.set_ylim(None, top)
        main.tick_params(labelleft=number == 0)
        below.tick_params(labelleft=number == 0)
    pairs[0][0].set_ylabel("Jets per bin")
    pairs[0][1].set_ylabel("ratio to\npseudo-data", loc="center", multialignment="center")


def _dash(stage: str) -> Any:
    return (0, (5, 1.6)) if stage == "before" else "-"
