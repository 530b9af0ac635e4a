"""An entry of a study's catalogue of figures."""

from __future__ import annotations

from dataclasses import dataclass


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
    def caption(self) -> str:
        """Name of the caption file."""
        return f"{self.name}.rst"
