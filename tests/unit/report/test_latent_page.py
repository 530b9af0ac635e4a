"""The latent study's own page fits its catalogue of figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from otcal.figures.catalogue import FIGURES
from otcal.report import manifest, prose

REPORT = Path(__file__).parents[3] / "workflow/report"


def test_every_figure_has_one_place() -> None:
    page = manifest.load(REPORT / "latent.yaml")
    placed = [name for section in page.sections for name in section.figures]
    drawn = [figure.name for figure in FIGURES]
    assert sorted(placed) == sorted([*drawn, "validation"])


@pytest.mark.parametrize("name", [*(figure.caption for figure in FIGURES), "validation.rst"])
def test_its_caption_is_valid(name: str) -> None:
    html = prose.read(REPORT / "captions" / name)
    assert html.startswith("<p>")
    assert "system-message" not in html
