"""Bins of a column of the jets, in which maps are compared (target `conditions`)."""

from __future__ import annotations

from itertools import pairwise

from pydantic import Field, field_validator

from otcal.config.base import Block
from otcal.config.conditions import Condition, ScoreCondition


class _Bins(Block):
    @field_validator("edges", check_fields=False)
    @classmethod
    def _rising(cls, edges: tuple[float, ...]) -> tuple[float, ...]:
        if any(low >= high for low, high in pairwise(edges)):
            raise ValueError("edges of bins must rise")
        return edges


class BinsConfig(_Bins):
    """Bins of a column of the jets in which maps are compared (target `conditions`)."""

    column: Condition = Field("jet_pt", description="Column that the conditional map depends on.")
    edges: tuple[float, ...] = Field(
        (500.0, 600.0, 700.0, 800.0, 1000.0),
        min_length=2,
        description="Edges, rising, in the column's unit (GeV).",
    )


class FlavourBins(_Bins):
    """Bins of a column in which maps of a flavour are compared (target `conditions`)."""

    column: ScoreCondition = Field(
        "jet_pt", description="Column that the conditional map depends on."
    )
    edges: tuple[float, ...] = Field(
        (20.0, 40.0, 70.0, 120.0, 250.0),
        min_length=2,
        description="Edges, rising, in the column's unit (GeV).",
    )
