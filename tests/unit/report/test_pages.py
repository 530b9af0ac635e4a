"""The page of each study fits its catalogue of figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from otcal.figures.catalogue import FIGURES, SIMPLEX_FIGURES
from otcal.report import manifest, prose

REPORT = Path(__file__).parents[3] / "workflow/report"
DRAWN = {
    "latent": [*(figure.name for figure in FIGURES), "validation"],
    "simplex": [figure.name for figure in SIMPLEX_FIGURES],
}


@pytest.mark.parametrize("study", ["latent", "simplex"])
def test_every_figure_has_one_place(study: str) -> None:
    page = manifest.load(REPORT / f"{study}.yaml")
    placed = [name for section in page.sections for name in section.figures]
    assert sorted(placed) == sorted(DRAWN[study])


@pytest.mark.parametrize("name", [*DRAWN["latent"], *DRAWN["simplex"]])
def test_its_caption_is_valid(name: str) -> None:
    html = prose.read(REPORT / f"captions/{name}.rst")
    assert html.startswith("<p>")
    assert "system-message" not in html
