"""Draw figures of a catalogue into a directory, and check what everybody must be able to read."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure as Drawing
from matplotlib.text import Text

from otcal.figures import drawing, style
from otcal.figures.catalogue import figure


def arguments(study: Path, name: str, outputs: Path) -> list[str]:
    """Return the command line of a figure's step, as the workflow writes it."""
    inputs = [f"--{option}={study / path}" for option, path in figure(name).inputs.items()]
    return ["--spec={}", f"--figure={name}", *inputs, f"--outputs={outputs}"]


def draw(study: Path, names: Iterable[str], outputs: Path) -> dict[str, Drawing]:
    """Draw figures by their steps; return them by panel."""
    figures: dict[str, Drawing] = {}
    patch = pytest.MonkeyPatch()
    patch.setattr(
        drawing.style,
        "save",
        lambda made, stem, save=style.save: figures.update({stem.name: made}) or save(made, stem),
    )
    for name in names:
        step = importlib.import_module(f"otcal.steps.{figure(name).step}")
        step.main(arguments(study, name, outputs))
    patch.undo()
    return figures


def assert_complete(names: Iterable[str], outputs: Path, figures: dict[str, Drawing]) -> None:
    """The catalogue lists what is there; texts are large enough, and nothing is cut off."""
    panels = [panel for name in names for panel in figure(name).panels]
    suffixes = ("pdf", "png", "csv")
    written = {path.name for path in outputs.iterdir()}
    assert written == {f"{panel}.{suffix}" for panel in panels for suffix in suffixes}
    for panel in panels:
        pixels = plt.imread(outputs / f"{panel}.png")[..., :3]
        assert pixels.shape[1] >= 1200
        border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        assert (border == 1.0).all(), panel
        for text in figures[panel].findobj(Text):
            if text.get_visible() and text.get_text().strip():
                # Height of an em in pixels when the picture is 400 pixels wide.
                em = text.get_fontsize() * 400 / (72 * figures[panel].get_figwidth())
                assert em >= 6.3, (panel, text)
