"""Draw the ROC curves and the confusion matrix of the tagger."""

from __future__ import annotations

from collections.abc import Sequence

from otcal.figures import drawing, performance
from otcal.runtime import cli


def main(argv: Sequence[str] | None = None) -> None:
    arguments, config = drawing.arguments(
        __doc__,
        ["tagger", "simplex_tagger"],
        {
            "curves": "ROC curves of the classes",
            "areas": "metrics with the areas (JSON)",
            "confusion": "confusion matrix",
        },
        argv,
    )
    curves = performance.roc(arguments.curves, arguments.areas, config)
    drawing.write(arguments.outputs, "tagger_roc", *curves)
    drawing.write(
        arguments.outputs, "tagger_confusion", *performance.confusion(arguments.confusion, config)
    )


if __name__ == "__main__":
    cli.run(main)
