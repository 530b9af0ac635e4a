"""What discriminators can tell apart ([MTG] Figs. 4 and 9; Algren et al., arXiv:2507.08867)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from otcal.config.figures import FiguresConfig
from otcal.figures import comparison, style
from otcal.figures.tables import Columns, read, stack
from otcal.runtime.errors import InputError

LAYERS = {
    "z128": (r"$z_{128}$", "-"),
    "zp128": (r"$z^{\prime}_{128}$", (0, (5, 1.6))),
    "z10": (r"$z^{\prime}_{10}$", (0, (1, 1.3))),
}
"""Title and line style of each layer."""

EVALUATIONS = {
    "nominal": ("source vs target", "source"),
    "calibrated": ("calibrated vs target", "calibrated"),
    "retrained": ("calibrated vs target, retrained", "calibrated"),
}
"""Title of each evaluation, and the sample whose colour it has."""

PANELS = {
    "fig04": {"fig04a_roc": ("mlp", ("nominal", "calibrated"))},
    "fig09": {
        "fig09a_roc_linear": ("linear", ("nominal", "retrained")),
        "fig09b_roc_mlp": ("mlp", ("nominal", "retrained")),
    },
}
"""Panels of each figure: the discriminator, and the evaluations that are drawn."""

NAMES = {"mlp": r"$D_L$", "linear": "linear layer"}


@dataclass(frozen=True)
class Curves:
    """ROC curves and areas of all discriminators."""

    roc: Columns
    areas: Columns
    where: Path

    @classmethod
    def read(cls, roc: Path, areas: Path) -> Curves:
        """Read the tables that `collect_discriminators` wrote."""
        keys = ["layer", "evaluation", "model"]
        return cls(
            read(roc, [*keys, "fpr", "tpr", "tpr_std"]),
            read(areas, [*keys, "auc", "std", "stat"]),
            roc,
        )

    def pick(self, layer: str, evaluation: str, model: str) -> tuple[Columns, float, float]:
        """Return one curve, its area, and the uncertainty of that.

        The uncertainty joins the spread over fits and the statistical one in quadrature.

        Raises
        ------
        InputError
            When the tables do not have it.
        """
        key = {"layer": layer, "evaluation": evaluation, "model": model}
        rows, row = (
            np.logical_and.reduce([table[name] == value for name, value in key.items()])
            for table in (self.roc, self.areas)
        )
        if not rows.any() or row.sum() != 1:
            text = ", ".join(key.values())
            raise InputError(
                self.where, "layer, evaluation, model", f"has no curve {text}", "Make it again"
            )
        curve = {name: self.roc[name][rows] for name in ("fpr", "tpr", "tpr_std")}
        spread, stat = self.areas["std"][row][0], self.areas["stat"][row][0]
        return curve, float(self.areas["auc"][row][0]), float(np.hypot(spread, stat))


def roc(
    curves: Curves, model: str, evaluations: tuple[str, ...], config: FiguresConfig
) -> tuple[Figure, Columns]:
    """Draw the ROC curves of one kind of discriminator in the three layers."""
    figure = style.new(5.9)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="#808080", lw=0.9, ls=(0, (1, 2)))
    parts: list[dict[str, Any]] = []
    handles: list[Any] = []
    titles: list[str] = []
    for evaluation in evaluations:
        text, sample = EVALUATIONS[evaluation]
        handles.append(Line2D([], [], ls="none"))
        titles.append(text)
        for layer, (title, line) in LAYERS.items():
            curve, area, error = curves.pick(layer, evaluation, model)
            colour = style.look(sample).colour
            # Dots tell the evaluations apart where colours do not.
            dots = None if sample == "source" else "o"
            handles += axes.plot(
                curve["fpr"],
                curve["tpr"],
                color=colour,
                ls=line,
                lw=1.8,
                marker=dots,
                ms=4.5,
                markevery=0.12,
            )
            low, high = curve["tpr"] - curve["tpr_std"], curve["tpr"] + curve["tpr_std"]
            axes.fill_between(curve["fpr"], low, high, color=colour, alpha=0.18, lw=0)
            titles.append(f"{title}  AUC = ${area:.3f} \\pm {error:.3f}$")
            keys = {"layer": layer, "evaluation": evaluation, "model": model}
            parts.append({**keys, **curve, "auc": area, "auc_error": error})
    axes.legend(handles, titles, loc="lower right", labelspacing=0.35)
    style.label(axes, config.label)
    axes.text(0.03, 0.95, NAMES[model], transform=axes.transAxes, fontsize=14, va="top")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    other = "source" if len(evaluations) == 1 else "source or calibrated"
    axes.set_xlabel(f"Share of {other} jets above threshold")
    axes.set_ylabel("Share of target jets above threshold")
    return figure, stack(parts)


def score(path: Path, config: FiguresConfig) -> tuple[Figure, Columns]:
    """Draw the score of D_L in z128, which was trained on source against target."""
    names = ["quantity", "sample", "low", "high", "density", "error"]
    table = read(path, names)
    keep = table["quantity"] == "probability"
    if not keep.any():
        raise InputError(path, "quantity", "has no 'probability'", "Make it again")
    table = {name: values[keep] for name, values in table.items()}
    samples = style.order([str(name) for name in np.unique(table["sample"])])
    if "target" not in samples:
        raise InputError(path, "sample", "has no score of the target", "Make it again")
    figure = style.new(5.0)
    axes = figure.add_subplot()
    for sample in samples:
        rows = table["sample"] == sample
        edges = np.append(table["low"][rows], table["high"][rows][-1])
        comparison.distribution(axes, sample, edges, table["density"][rows], table["error"][rows])
    axes.set_yscale("log")
    filled = table["density"][table["density"] > 0]
    axes.set_ylim(max(0.5 * filled.min(), 1e-5 * filled.max()), 2.0 * filled.max())
    style.headroom(axes, 0.25)
    axes.set_xlim(0, 1)
    samples = comparison.legend_order(samples)
    axes.legend(
        comparison.handles(samples),
        [style.look(sample).title for sample in samples],
        loc="upper center",
        ncols=len(samples),
        columnspacing=1.2,
    )
    style.label(axes, config.label)
    axes.set_xlabel(r"Score of $D_L$ in $z_{128}$ (0: source, 1: target)")
    axes.set_ylabel("Density of q/g jets")
    return figure, {name: table[name] for name in names}
