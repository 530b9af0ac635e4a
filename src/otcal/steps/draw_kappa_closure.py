"""Draw the closure of the discriminants ([KY] Figs. 10-12; arXiv:2605.01363), and all distances."""

from __future__ import annotations

from collections.abc import Sequence

from otcal.figures import closure_strips, drawing, kappa_closure
from otcal.figures.tables import read
from otcal.runtime import cli
from otcal.runtime.errors import InputError

FIGURES = {
    "simplex_fig10": "b_c",
    "simplex_fig11": "c_l",
    "simplex_fig12": "hf_l",
}
"""Discriminant of each figure."""

KAPPAS = {"a_kappa05": 0.5, "b_kappa2": 2.0}
"""Panels of each figure: suffix, and the weight of charm."""

DISTANCES = {
    "simplex_closure": ("closure_w1", closure_strips.strips),
    "simplex_methods": ("methods_w1", closure_strips.methods),
}
"""Panel and drawing function of the figures of distances."""


def main(argv: Sequence[str] | None = None) -> None:
    options, config = drawing.arguments(
        __doc__,
        [*FIGURES, *DISTANCES],
        {
            "discriminants": "histograms of the discriminants (10-12)",
            "metrics": "distances (simplex_closure, simplex_methods)",
        },
        argv,
        optional=["discriminants", "metrics"],
    )
    option = "discriminants" if options.figure in FIGURES else "metrics"
    path = getattr(options, option)
    if path is None:
        raise InputError(f"--{option}", "option", f"is needed for {options.figure}", "Give it")
    if options.figure in FIGURES:
        table = read(path, kappa_closure.COLUMNS, gaps=kappa_closure.EDGES)
        name = FIGURES[options.figure]
        number = options.figure.removeprefix("simplex_")
        for suffix, kappa in KAPPAS.items():
            made = kappa_closure.draw(table, name, kappa, config)
            drawing.write(options.outputs, f"{number}{suffix}", *made)
        return
    panel, draw = DISTANCES[options.figure]
    table = read(path, [*closure_strips.COLUMNS, closure_strips.FLOOR])
    drawing.write(options.outputs, panel, *draw(table, config))


if __name__ == "__main__":
    cli.run(main)
