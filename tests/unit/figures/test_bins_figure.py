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
    rows = [
        (column, low, high, name, next(values), 0.1, 5, 5)
        for column in ("jet_pt", "jet_eta")
        for low, high in BINS
        for name in MAPS
    ]
    figure = draw(pd.DataFrame(rows, columns=list(COLUMNS)), "b jets", *sides)
    maps = ["one map for all jets", "one map, conditional", "one map for each bin"]
    # The bin of all jets together is not drawn; the others hold what the table says.
    for column, main in enumerate(figure.axes[:2]):
        shown = dict(zip(*main.get_legend_handles_labels()[::-1], strict=True))
        assert list(shown) == [raw, *maps, floor]
        for number, bars in enumerate(shown.values(), start=15 * column):
            assert bars.lines[0].get_ydata().tolist() == [number, number + len(MAPS)]
    for below in figure.axes[2:]:
        assert below.get_legend_handles_labels()[1] == [*maps, floor]
    assert [axes.get_xlabel() for axes in figure.axes[2:]] == [r"Jet $p_T$ [GeV]", r"Jet $\eta$"]
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert texts == [f"without the {raw}"]
