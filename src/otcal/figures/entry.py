"""An entry of a study's catalogue of figures."""

from __future__ import annotations

from dataclasses import dataclass

EARLY = ("tagger/", "tables/inputs.parquet", "validation/")
"""Beginnings of files that are made of jets or the tagger's training."""


@dataclass(frozen=True)
class Figure:
    """One figure, possibly of several panels, each a file of its own.

    Parameters
    ----------
    name
        Name on command lines, and of the caption (`<name>.rst`).
    number
        Figure of the study's paper that it reproduces; empty for our own. Latent study: Algren et
        al. (arXiv:2507.08867); simplex study: Kim, Yang (arXiv:2605.01363).
    title
        A few words.
    category
        Chapter of the report.
    step
        Module below `otcal.steps` that draws it.
    inputs
        Option of the step → file, relative to the study's results.
    panels
        Names of the files without suffix; each becomes a PDF, a PNG and a CSV.
    """

    name: str
    number: str
    title: str
    category: str
    step: str
    inputs: dict[str, str]
    panels: tuple[str, ...]

    @property
    def early(self) -> bool:
        """Whether it shows jets or the tagger, which a study of a tagger's outputs lacks."""
        return any(path.startswith(EARLY) for path in self.inputs.values())

    @property
    def caption(self) -> str:
        """Name of the caption file."""
        return f"{self.name}.rst"
