"""Settings of the drawing steps; what is in the figures' tables is set in `config.tabulation`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from otcal.config.base import Block

Share = Annotated[float, Field(gt=0.0, lt=1.0)]


class FiguresConfig(Block):
    """The `figures` block of config.yaml, and what every drawing step consumes."""

    label: str = Field(
        "Pythia 8 + JetClass-like detector, 13 TeV",
        description="Written above each figure, behind the project's name.",
    )
    ratio_half_width: float = Field(
        0.5, gt=0, le=1, description="Ratio panels show 1 ± this ([MTG]: 0.1, on far more jets)."
    )
    contours: tuple[Share, ...] = Field(
        (0.05, 0.5, 0.8, 0.9, 0.95),
        min_length=1,
        description="Shares of the jets inside the contours of corner plots ([MTG] Fig. 3).",
    )
    smoothing_bins: float = Field(
        1.0, ge=0, le=5, description="Gaussian blur of 2-d histograms before contours, in bins."
    )

    @model_validator(mode="after")
    def _ascending(self) -> FiguresConfig:
        if list(self.contours) != sorted(set(self.contours)):
            raise ValueError("contours must be ascending and distinct")
        return self

    @property
    def ratio_range(self) -> tuple[float, float]:
        """Lower and upper end of the ratio panels."""
        return 1.0 - self.ratio_half_width, 1.0 + self.ratio_half_width
