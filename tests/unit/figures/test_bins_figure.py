"""The figure of closure in bins: every map in every bin, under the study's names of the samples."""

from __future__ import annotations

import pandas as pd
import pytest

from otcal.closure.bins import COLUMNS
from otcal.figures.bins import draw

MAPS = ("source", "inclusive", "conditional", "binned", "floor")
BINS = ((20.0, 40.0), (40.0, 100.0), (20.0, 100.0))


@pytest.mark.parametrize(
    ("sides", "raw", "floor"),
    [
        ((), "source", "two halves of the target"),
        ((("simulation", "pseudo-data"),), "simulation", "two halves of the pseudo-data"),
    ],
)
def test_samples_have_their_names(sides: tuple, raw: str, floor: str) -> None:
    values = iter(range(100))
    rows = [(low, high, name, next(values), 0.1, 5, 5) for low, high in BINS for name in MAPS]
    figure = draw(pd.DataFrame(rows, columns=list(COLUMNS)), "jet_pt", "b jets", *sides)
    main, below = figure.axes
    shown = dict(zip(*main.get_legend_handles_labels()[::-1], strict=True))
    maps = ["one map for all jets", "one map, conditional", "one map for each bin"]
    assert list(shown) == [raw, *maps, floor]
    # The bin of all jets together is not drawn; the others hold what the table says.
    for number, bars in enumerate(shown.values()):
        assert bars.lines[0].get_ydata().tolist() == [number, number + len(MAPS)]
    assert below.get_legend_handles_labels()[1] == [*maps, floor]
    assert [text.get_text() for text in below.texts] == [f"without the {raw}"]
