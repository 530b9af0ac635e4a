"""Draw how the fit of the transport map converged."""

from __future__ import annotations

from collections.abc import Sequence

from otcal.figures import drawing, learning
from otcal.runtime import cli


def main(argv: Sequence[str] | None = None) -> None:
    arguments, config = drawing.arguments(
        __doc__, ["learning"], {"curve": "held-out figures against the step"}, argv
    )
    drawing.write(arguments.outputs, "learning_curve", *learning.draw(arguments.curve, config))


if __name__ == "__main__":
    cli.run(main)
