"""A region's free logits with their contours and the channels of the feedback ([KY] Figs. 2-4).

[KY] = Kim, Yang (arXiv:2605.01363).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from otcal.config.figures import FiguresConfig
from otcal.figures import simplex_style, style
from otcal.figures.feedback import PAPER, Feedback
from otcal.figures.tables import Columns, stack

Array = NDArray[np.float64]

RADII = (1.0, 2.0)
"""Contours at these Mahalanobis distances: their shadows on an axis are 1 and 2 sigma."""

LEAST = 0.05
"""Parts of a direction in the region below this are not drawn (KY section VIII)."""

SAME = 0.02
"""Relative difference of covariances up to which two recipes count as equal."""

_CHANNELS = ("#009e73", "#e69f00", "#cc79a7", "#56b4e9", "#8c564b", "#7f7f7f")


@dataclass(frozen=True)
class _Kind:
    """A covariance that is drawn as contours."""

    name: str
    title: str
    colour: str
    line: Any
    width: float


_KINDS = (
    _Kind("statistical", "statistical", style.LOOKS["source"].colour, "-", 1.6),
    _Kind("effective", "effective", style.LOOKS["calibrated"].colour, "-", 1.6),
    _Kind(PAPER, "effective, paper's recipe", "#404040", (0, (1, 1.5)), 1.1),
)


def draw(feedback: Feedback, enriched: str, config: FiguresConfig) -> tuple[Figure, Columns]:
    """Draw the region that is enriched in a flavour.

    Parameters
    ----------
    feedback
        Compositions, covariances and channels.
    enriched
        The flavour.
    config
        Labels.
    """
    region = feedback.extraction.region(enriched)
    figure = style.new(8.9)
    axes, below = figure.subplots(2, 1, height_ratios=(4.6, 1.6))
    _frame(axes, feedback, region)
    parts: list[dict[str, Any]] = []
    handles, titles = [], []
    for kind in _KINDS:
        curves = _contours(feedback, kind.name, region)
        look: dict[str, Any] = {"color": kind.colour, "ls": kind.line, "lw": kind.width}
        handles.append(Line2D([], [], **look) if curves else Line2D([], [], ls="none"))
        titles.append(kind.title + _note(axes, feedback, kind.name, region))
        for radius, curve in curves.items():
            axes.plot(*curve.T, **look)
            name = f"{kind.name}, {radius:g} sigma"
            parts.append({"curve": name, "x": curve[:, 0], "y": curve[:, 1], "part": np.nan})
    for mark in _marks(feedback, region):
        axes.plot(*mark["at"], **mark["style"], ls="none", zorder=8)
        handles.append(Line2D([], [], **mark["style"], ls="none"))
        titles.append(mark["title"])
        x, y = mark["at"][:, None]
        parts.append({"curve": mark["title"], "x": x, "y": y, "part": np.nan})
    parts += _directions(axes, feedback, region)
    _channels(below, feedback, region)
    text = f"{config.label}\n{simplex_style.region_title(enriched)}; contours at 1 and 2 $\\sigma$"
    text += "\n" + _fractions(feedback, region)
    simplex_style.head(figure, text, handles, titles, 2)
    return figure, stack(parts)


def ellipse(centre: Array, covariance: Array, radius: float) -> Array:
    """Return points at a Mahalanobis distance `radius` from the centre, shape (N, 2)."""
    angle = np.linspace(0.0, 2.0 * np.pi, 181)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.asarray(centre + radius * circle @ np.linalg.cholesky(covariance).T)


def _contours(feedback: Feedback, kind: str, region: int) -> dict[float, Array]:
    """Return the contours of a covariance; none for the paper's when it is the study's."""
    if kind == PAPER and _same(feedback, region):
        return {}
    covariance = feedback.block(kind, region)
    return {radius: ellipse(feedback.fitted[region], covariance, radius) for radius in RADII}


def _same(feedback: Feedback, region: int) -> bool:
    """Tell whether both recipes give a region the same covariance."""
    paper, effective = (feedback.block(kind, region) for kind in (PAPER, "effective"))
    return bool(np.abs(paper - effective).max() <= SAME * np.abs(effective).max())


def _note(axes: Axes, feedback: Feedback, kind: str, region: int) -> str:
    """Return what the legend adds to a covariance: how far the truth is, or what is not shown."""
    curves = _contours(feedback, kind, region)
    if not curves:
        return ": the same"
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    curve = curves[RADII[0]]
    if (curve.min(axis=0) < (left, low)).any() or (curve.max(axis=0) > (right, high)).any():
        return " (wider than this)"
    if feedback.true is None:
        return ""
    shift = feedback.true[region] - feedback.fitted[region]
    distance = float(np.sqrt(shift @ np.linalg.solve(feedback.block(kind, region), shift)))
    return rf" (truth at {distance:.1f} $\sigma$)"


def _marks(feedback: Feedback, region: int) -> list[dict[str, Any]]:
    """Return the points that are drawn, with their looks."""
    fit: dict[str, Any] = {"marker": "x", "ms": 10, "mew": 2.2, "color": "black"}
    star: dict[str, Any] = {"marker": "*", "ms": 14, "color": "#ffd000", "mec": "black"}
    nominal: dict[str, Any] = {"marker": "D", "ms": 7, "mfc": "white", "mec": "#404040"}
    start: dict[str, Any] = {"marker": "o", "ms": 7, "mfc": "white", "mec": "#404040"}
    marks = [{"title": "fit", "at": feedback.fitted[region], "style": fit}]
    if feedback.true is not None:
        marks.append({"title": "truth", "at": feedback.true[region], "style": star})
    marks.append({"title": "prior's centre", "at": feedback.nominal[region], "style": nominal})
    marks.append({"title": "start of the fit", "at": feedback.start[region], "style": start})
    return marks


def _directions(axes: Axes, feedback: Feedback, region: int) -> list[dict[str, Any]]:
    """Draw the channels' directions, two standard deviations of the prior long in all regions."""
    parts: list[dict[str, Any]] = []
    fit = feedback.fitted[region]
    taken = [mark["at"] for mark in _marks(feedback, region)]
    gap = 0.045 * float(np.ptp(axes.get_xlim()))
    for side, line in (("u", "-"), ("v", (0, (3, 1.4)))):
        vectors, lengths = feedback.projected(side, region)
        for channel, (vector, length) in enumerate(zip(vectors, lengths, strict=True)):
            if length < LEAST:
                continue
            colour = _CHANNELS[channel % len(_CHANNELS)]
            end = fit + RADII[-1] * vector
            axes.plot([fit[0], end[0]], [fit[1], end[1]], color=colour, ls=line, lw=1.6, zorder=3)
            name = f"{side}{channel + 1}"
            parts.append({"curve": name, "x": end[:1], "y": end[1:], "part": length})
            if side == "u":
                taken.append(_free(end, vector / np.linalg.norm(vector), gap, taken))
                x, y = taken[-1]
                text = axes.text(x, y, str(channel + 1), color=colour, ha="center")
                text.set(va="center", fontsize=13, fontweight="bold", zorder=9)
                text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
    return parts


def _free(end: Array, along: Array, gap: float, taken: list[Array]) -> Array:
    """Return the first place beyond the end of a direction that is `gap` from all others."""
    steps = np.arange(0.6, 8.0, 0.25)
    places = end + gap * steps[:, None] * along
    distances = np.linalg.norm(places[:, None] - np.array(taken), axis=2).min(axis=1)
    free = np.flatnonzero(distances >= gap)
    return np.asarray(places[free[0] if len(free) else -1])


def _frame(axes: Axes, feedback: Feedback, region: int) -> None:
    """Choose limits that hold contours and points; a unit is as long in x as in y."""
    fit = feedback.fitted[region]
    points = [fit[None], *(mark["at"][None] for mark in _marks(feedback, region))]
    for kind in ("statistical", "effective"):
        points.append(ellipse(fit, feedback.block(kind, region), RADII[-1]))
    every = np.concatenate(points)
    middle = 0.5 * (every.max(axis=0) + every.min(axis=0))
    half = 0.56 * np.ptp(every, axis=0).max()
    axes.set_xlim(middle[0] - half, middle[0] + half)
    axes.set_ylim(middle[1] - half, middle[1] + half)
    axes.set_box_aspect(1)
    names = feedback.extraction.flavours
    last = r"\ell" if names[-1] == "light" else names[-1]
    axes.set_xlabel(rf"$a_{{{names[0]}}} = \ln\,(\pi_{{{names[0]}}}/\pi_{{{last}}})$", fontsize=15)
    axes.set_ylabel(rf"$a_{{{names[1]}}} = \ln\,(\pi_{{{names[1]}}}/\pi_{{{last}}})$", fontsize=15)


def _channels(axes: Axes, feedback: Feedback, region: int) -> None:
    """Write each channel's amplification, and how much of it lies in this region."""
    axes.axis("off")
    lengths = {side: feedback.projected(side, region)[1] for side in ("u", "v")}
    heads = (
        "channel",
        "amplification",
        r"$|u\!\downarrow|$",
        r"$|v\!\downarrow|$",
        "variance from",
    )
    table: list[tuple[str, ...]] = [heads]
    for channel, amplification in enumerate(feedback.amplifications):
        gain = r"$\infty$" if np.isinf(amplification) else f"{amplification:#.3g}"
        parts = [_length(lengths[side][channel]) for side in ("u", "v")]
        table.append((str(channel + 1), gain, *parts, feedback.owners[channel]))
    for row, cells in enumerate(table):
        for column, (x, text) in enumerate(zip((0.0, 0.17, 0.42, 0.55, 0.68), cells, strict=True)):
            first = row > 0 and column == 0
            axes.text(
                x,
                1.0 - row / len(table),
                text,
                va="top",
                fontsize=12,
                color=_CHANNELS[(row - 1) % len(_CHANNELS)] if first else "black",
                fontweight="bold" if first else "normal",
                transform=axes.transAxes,
            )


def _fractions(feedback: Feedback, region: int) -> str:
    """Return the fractions with their errors, and the true ones."""
    pi, sigma = feedback.extraction.pi[region], feedback.sigma[region]
    truth = feedback.extraction.truth
    texts = []
    for k, name in enumerate(feedback.extraction.flavours):
        known = "" if truth is None else f" ({100 * truth[region, k]:.1f})"
        title = simplex_style.look(name).title
        texts.append(rf"{title} {100 * pi[k]:.1f} $\pm$ {100 * sigma[k]:.1f}{known}")
    return ("fit in %: " if truth is None else "fit (truth) in %: ") + ", ".join(texts)


def _length(value: float) -> str:
    return f"{value:.2f}" if value >= LEAST else "–"
