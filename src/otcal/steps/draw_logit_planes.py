"""Draw the regions' logits and the feedback's channels ([KY] Figs. 2-4; arXiv:2605.01363)."""

from __future__ import annotations

from collections.abc import Sequence

from otcal.figures import drawing, logit_plane
from otcal.figures.feedback import Feedback
from otcal.runtime import cli

FIGURES = {
    "simplex_fig02": ("fig02_logits_b", "b"),
    "simplex_fig03": ("fig03_logits_c", "c"),
    "simplex_fig04": ("fig04_logits_light", "light"),
}
"""Panel of each figure, and the flavour of its region."""


def main(argv: Sequence[str] | None = None) -> None:
    options, config = drawing.arguments(
        __doc__,
        FIGURES,
        {"feedback": "covariances and channels (JSON)", "extraction": "compositions (JSON)"},
        argv,
    )
    feedback = Feedback.read(options.feedback, options.extraction)
    panel, enriched = FIGURES[options.figure]
    drawing.write(options.outputs, panel, *logit_plane.draw(feedback, enriched, config))


if __name__ == "__main__":
    cli.run(main)
