"""Settings of the steps that tabulate the simplex study for its figures."""

from __future__ import annotations

from pydantic import Field

from otcal.config.base import Block
from otcal.config.tabulation import Bins


class MixtureTables(Block):
    """Distributions of the regions and of the extracted components ([KY] Figs. 1, 5-7).

    [KY]: Kim, Yang, arXiv:2605.01363. What `tabulate_mixture` consumes.
    """

    bins: Bins = Field(30, description="Bins of each ILR coordinate.")
    cells: int = Field(
        6,
        ge=1,
        le=50,
        description="Cells per bin and axis in which the densities are evaluated and summed up.",
    )
    tail: float = Field(
        0.001, gt=0, lt=0.5, description="Share of the jets beyond each end of an axis."
    )


class DisplacementTables(Block):
    """How the maps move jets ([KY] Figs. 8, 9); what `tabulate_displacements` consumes."""

    arrows: Bins = Field(16, description="Bins per ILR axis, each of which gets one arrow.")
    contour_bins: Bins = Field(40, description="Bins per ILR axis of the density contours.")
    triangles: int = Field(
        10, ge=2, le=50, description="Triangles along an edge of the simplex, each with one arrow."
    )
    min_jets: int = Field(20, ge=1, description="Jets that an arrow must stand for.")
    tail: float = Field(
        0.002, gt=0, lt=0.5, description="Share of the jets beyond each end of an axis."
    )


class SimplexTables(Block):
    """The `tables` block of the simplex study in config.yaml."""

    mixture: MixtureTables = MixtureTables()
    displacements: DisplacementTables = DisplacementTables()
