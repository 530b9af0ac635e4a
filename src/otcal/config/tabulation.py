"""Settings of the steps that count jets into the figures' tables."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from otcal.config.base import Block
from otcal.config.closure import DISCRIMINANTS, Discriminant

Bins = Annotated[int, Field(ge=2, le=1000)]


class InputTables(Block):
    """Histograms of the tagger's inputs ([MTG] Figs. 1, 7, 8); what `tabulate_inputs` consumes."""

    bins: Bins = Field(60, description="Bins per feature.")
    max_jets: int = Field(
        40_000, ge=1, description="At most about this many jets per sample, evenly over its files."
    )


class LatentTables(Block):
    """Histograms of what the tagger makes of jets ([MTG] Figs. 3, 5, 10-13)."""

    components: int = Field(
        5, ge=2, le=128, description="Principal components of z128 ([MTG] Fig. 3)."
    )
    corner_bins: Bins = Field(30, description="Bins per axis of corner plots (authors' code: 30).")
    logit_bins: Bins = Field(30, description="Bins of the marginals of z'10 (authors' code: 30).")
    discriminant_bins: Bins = Field(
        20, description="Bins of the physics discriminants (authors' code: 19)."
    )
    tail: float = Field(
        0.002,
        gt=0,
        lt=0.5,
        description="Share of a sample beyond each end of an axis; axes span all samples.",
    )
    range_jets: int = Field(
        100_000, ge=100, description="At most about this many jets per sample set the axes."
    )


class LatentTablesSpec(LatentTables):
    """What `tabulate_latents` consumes: the bins, and which jets to count."""

    fractions: dict[str, Annotated[float, Field(ge=0.0, le=1.0)]] = Field(
        description="Splits of the calibration jets, as the map's fit."
    )
    split: str = Field("test", description="The split that the map's fit has not seen.")
    classes: tuple[str, ...] = Field(("QCD",), min_length=1, description="Calibrated classes.")
    discriminants: tuple[Discriminant, ...] = Field(
        DISCRIMINANTS, description="Physics discriminants, as in the closure block."
    )

    @model_validator(mode="after")
    def _consistent(self) -> LatentTablesSpec:
        if self.split not in self.fractions:
            raise ValueError(f"split '{self.split}' is none of {', '.join(self.fractions)}")
        return self


class TablesConfig(Block):
    """The `tables` block of config.yaml."""

    inputs: InputTables = InputTables()
    latents: LatentTables = LatentTables()

    def latents_spec(
        self,
        fractions: dict[str, float],
        classes: tuple[str, ...],
        discriminants: tuple[Discriminant, ...],
    ) -> LatentTablesSpec:
        """Return the settings of `tabulate_latents` for a study's splits and classes."""
        return LatentTablesSpec(
            **self.latents.model_dump(),
            fractions=fractions,
            classes=classes,
            discriminants=discriminants,
        )
