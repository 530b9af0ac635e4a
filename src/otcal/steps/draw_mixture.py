"""Draw the mixture fit ([KY] Figs. 1, 5-7, its starts and convergence; arXiv:2605.01363)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from otcal.figures import drawing, mixture_components, mixture_scores, starts
from otcal.figures.extraction import Extraction
from otcal.figures.feedback import Feedback
from otcal.figures.simplex_tables import COMPONENTS, CONVERGENCE, MIXTURE
from otcal.figures.tables import read
from otcal.runtime import cli
from otcal.runtime.errors import InputError

SCORES = {"fig01_scores_b": "b", "fig01_scores_c": "c", "fig01_scores_light": "light"}
"""Panels of Fig. 1, and the flavour of the region that each one shows."""

REGIONS = {
    "simplex_fig05": ("fig05_components_b", "b"),
    "simplex_fig06": ("fig06_components_c", "c"),
    "simplex_fig07": ("fig07_components_light", "light"),
}
"""Panel of each figure of components, and the flavour of its region."""

NEEDS = {
    "simplex_fig01": ("scores",),
    **dict.fromkeys(REGIONS, ("components",)),
    "simplex_starts": ("feedback", "extraction"),
    "simplex_convergence": ("convergence", "extraction"),
}
"""Tables that each figure is drawn from."""


def main(argv: Sequence[str] | None = None) -> None:
    tables = {
        "scores": "distributions of the regions",
        "components": "extracted and true components",
        "convergence": "iterations of all starts",
        "extraction": "compositions (JSON)",
        "feedback": "covariances of the compositions (JSON)",
    }
    options, config = drawing.arguments(__doc__, NEEDS, tables, argv, optional=list(tables))
    figure: str = options.figure
    for name in NEEDS[figure]:
        if getattr(options, name) is None:
            raise InputError(f"--{name}", "option", f"is needed for {figure}", "Give the table")
    outputs: Path = options.outputs
    if figure == "simplex_fig01":
        table = read(options.scores, MIXTURE.names)
        for panel, enriched in SCORES.items():
            drawing.write(outputs, panel, *mixture_scores.draw(table, enriched, config))
    elif figure in REGIONS:
        panel, enriched = REGIONS[figure]
        known = [name for name in COMPONENTS.names if name != "truth"]
        table = read(options.components, known, gaps=["truth"])
        drawing.write(outputs, panel, *mixture_components.draw(table, enriched, config))
    elif figure == "simplex_starts":
        feedback = Feedback.read(options.feedback, options.extraction)
        drawing.write(outputs, "starts", *starts.compositions(feedback, config))
    else:
        table = read(options.convergence, CONVERGENCE.names)
        extraction = Extraction.read(options.extraction)
        drawing.write(outputs, "convergence", *starts.convergence(table, extraction, config))


if __name__ == "__main__":
    cli.run(main)
