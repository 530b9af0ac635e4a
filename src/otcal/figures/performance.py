"""How well a tagger separates its classes."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from otcal.config.figures import FiguresConfig
from otcal.figures import style
from otcal.figures.tables import Columns, read, stack
from otcal.runtime.errors import InputError
from otcal.runtime.files import read_json
from otcal.samples import classes, flavours

TITLES = classes.TITLES | flavours.TITLES
"""How the figures write the classes of either study."""

# Okabe and Ito's palette, distinguishable for the colour-blind; each class has a dash as well.
_COLOURS = ("#000000", "#0072b2", "#56b4e9", "#009e73", "#e69f00", "#d55e00", "#cc79a7", "#7f7f7f")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1.2)))


def roc(path: Path, areas: Path, config: FiguresConfig) -> tuple[Figure, Columns]:
    """Draw the efficiency of the tagger's first background against that of each other class.

    Parameters
    ----------
    path
        Table of `class`, `signal_efficiency` and the background's efficiency.
    areas
        Metrics of the tagger (JSON), whose areas are exact; those of the curves' points are not.
    config
        Labels.

    Raises
    ------
    InputError
        When the curve of a class is missing.
    """
    background, exact = _areas(areas)
    efficiencies = ["signal_efficiency", f"{background.lower()}_efficiency"]
    table = read(path, ["class", efficiencies[0]], gaps=[efficiencies[1]])
    figure = style.new(7.0)
    axes = figure.add_subplot()
    parts: list[dict[str, Any]] = []
    for number, name in enumerate(exact):
        rows = table["class"] == name
        if not rows.any() or np.isnan(table[efficiencies[1]][rows]).any():
            raise InputError(path, "class", f"has no curve of {name}", "Make it again")
        x, y = (table[column][rows] for column in efficiencies)
        axes.plot(
            x,
            np.where(y > 0, y, np.nan),
            color=_COLOURS[number % len(_COLOURS)],
            ls=_DASHES[number % len(_DASHES)],
            label=f"{TITLES[name]}  {exact[name]:.4f}",
        )
        parts.append(
            {
                "class": name,
                **dict(zip(efficiencies, (x, y), strict=True)),
            }
        )
    axes.set_yscale("log")
    # One jet is the smallest efficiency that there can be.
    smallest = min(part[efficiencies[1]][part[efficiencies[1]] > 0].min() for part in parts)
    axes.set(xlim=(0, 1), ylim=(0.5 * smallest, 1.0))
    figure.legend(
        loc="outside lower center", ncols=3, title="class, AUC", columnspacing=1.2, fontsize=12
    )
    style.label(axes, config.label)
    axes.set_xlabel("Efficiency of the class")
    axes.set_ylabel(f"Efficiency of {_plain(background)} jets")
    return figure, stack(parts)


def _areas(path: Path) -> tuple[str, dict[str, float]]:
    """Return the first background, and the AUC of each other class against it."""
    try:
        background, *_ = (name for name in read_json(path)["auc"] if name != "rest")
        found = read_json(path)["auc"][background]
        return background, {name: float(area) for name, area in found.items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            path, "auc", f"has no areas against a background ({error})", "Make it again"
        ) from None


def _plain(name: str) -> str:
    """Return how a class is written outside formulas."""
    return {"QCD": "q/g"}.get(name, name)


def confusion(path: Path, config: FiguresConfig) -> tuple[Figure, Columns]:
    """Draw which class the tagger takes jets of each class for.

    Parameters
    ----------
    path
        Table of `true`, `predicted` and `share` of the true class.
    config
        Labels.

    Raises
    ------
    InputError
        When a pair of classes is missing.
    """
    names = ["true", "predicted", "share"]
    table = read(path, names)
    found = {
        (true, predicted): value
        for true, predicted, value in zip(*(table[name] for name in names), strict=True)
    }
    known = list(dict.fromkeys(table["true"].tolist()))
    pairs = list(product(known, known))
    missing = [pair for pair in pairs if pair not in found]
    if missing:
        problem = f"has no row for {missing[0][0]} taken for {missing[0][1]}"
        raise InputError(path, "true, predicted", problem, "Make it again")
    share = np.array([found[pair] for pair in pairs]).reshape(len(known), -1)
    figure = style.new(7.2, 7.2)
    axes = figure.add_subplot()
    axes.imshow(share, cmap="Blues", vmin=0.0, vmax=1.0, aspect="equal")
    for (row, column), value in np.ndenumerate(share):
        colour = "white" if value > 0.55 else "black"
        text = f"{100 * value:.0f}" if value >= 0.005 else "·"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=13)
    titles = [TITLES[name] for name in known]
    axes.set_xticks(range(len(known)), titles, rotation=55, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(known)), titles)
    axes.minorticks_off()
    axes.tick_params(length=0, labelsize=13)
    axes.set_xlabel("Predicted class")
    axes.set_ylabel("True class")
    style.label(axes, f"{config.label}; % of the true class")
    true, predicted = zip(*pairs, strict=True)
    return figure, {
        "true": np.array(true),
        "predicted": np.array(predicted),
        "share": share.ravel(),
    }
