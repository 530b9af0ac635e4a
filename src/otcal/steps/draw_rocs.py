"""Draw ROC curves and scores of the discriminators ([MTG] Figs. 4 and 9; arXiv:2507.08867)."""

from __future__ import annotations

from collections.abc import Sequence

from otcal.figures import drawing, rocs
from otcal.runtime import cli
from otcal.runtime.errors import InputError


def main(argv: Sequence[str] | None = None) -> None:
    arguments, config = drawing.arguments(
        __doc__,
        rocs.PANELS,
        {
            "curves": "ROC curves",
            "areas": "areas under them",
            "scores": "histograms of the score (fig04)",
        },
        argv,
        optional=["scores"],
    )
    curves = rocs.Curves.read(arguments.curves, arguments.areas)
    for panel, (model, evaluations) in rocs.PANELS[arguments.figure].items():
        drawing.write(arguments.outputs, panel, *rocs.roc(curves, model, evaluations, config))
    if arguments.figure == "fig04":
        if arguments.scores is None:
            raise InputError("--scores", "option", "is needed for fig04", "Give scores.csv")
        drawing.write(arguments.outputs, "fig04b_score", *rocs.score(arguments.scores, config))


if __name__ == "__main__":
    cli.run(main)
