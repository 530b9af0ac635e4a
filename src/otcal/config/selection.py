"""Settings of the jets that are kept: which ones, what labels them, what is stored of them."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from otcal.config.base import Block
from otcal.samples.classes import CLASSES
from otcal.samples.flavours import FLAVOURS

SOFTEST_GEV = 500.0
"""Lowest pT of jets of the ten classes that the cuts on their hard processes do not bias."""


class FlavourLabels(Block):
    """Exclusive labels b, c, light from hadrons; how: `otcal.simulation.flavours`."""

    radius: float = Field(
        0.3, gt=0, le=1, description="Largest distance of a hadron or lepton to the jet axis."
    )
    pt_min: float = Field(
        5.0, ge=0, description="Lowest pT in GeV of hadrons and leptons that count (exclusive)."
    )


class TrackSelection(Block):
    """Tracks that a jet keeps, loosely, as a tagger of displaced tracks needs; our own choice.

    The primary vertex is the origin.
    """

    maximum: int = Field(40, gt=0, description="Most tracks of a jet; those of highest pT stay.")
    pt_min: float = Field(0.5, ge=0, description="Lowest track pT in GeV (exclusive).")
    abs_d0_max: float = Field(3.5, gt=0, description="Largest |d0| in mm (exclusive).")
    abs_z0_sin_theta_max: float = Field(
        5.0, gt=0, description="Largest |z0 sin(theta)| in mm (exclusive)."
    )


class Selection(Block):
    """Jets that are kept."""

    radius: float = Field(0.8, gt=0, le=1.5, description="Radius R of the anti-kT jets.")
    pt_min: float = Field(
        500.0,
        gt=0,
        lt=6500,
        description="Lowest jet pT in GeV (exclusive). Not below 500 without `flavours`: the hard "
        "processes of the ten classes are cut for that, softer jets would have a biased spectrum.",
    )
    pt_max: float = Field(
        1000.0,
        gt=0,
        le=6500,
        description="Highest jet pT in GeV (exclusive); 6500 is a beam's energy.",
    )
    abs_eta_max: float = Field(2.0, gt=0, le=3, description="Largest |eta| of a jet axis.")
    flavours: FlavourLabels | None = Field(
        None,
        description=(
            "Label jets by their heaviest hadron, whatever the process; without this block they "
            "are labelled by their resonance, and only those of the process's own class are kept."
        ),
    )
    tracks: TrackSelection | None = Field(
        None,
        description=(
            "Store only the tracks that pass this block, and drop jets that have none; without it "
            "all constituents are stored."
        ),
    )

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that jets are labelled with."""
        return CLASSES if self.flavours is None else FLAVOURS

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.pt_max <= self.pt_min:
            raise ValueError("pt_max must be above pt_min")
        if self.flavours is None and self.pt_min < SOFTEST_GEV:
            raise ValueError(
                f"selection.pt_min must be {SOFTEST_GEV:g} GeV or more, not {self.pt_min:g}: the "
                "hard processes are cut for it"
            )
        return self
