"""Bins of columns of the jets, in which maps are compared (target `conditions`)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, Field, field_validator

from otcal.config.base import Block
from otcal.config.conditions import Condition, ScoreCondition

_EDGES = "Edges, rising, in the column's unit (momenta and energies: GeV)."


class Bin(NamedTuple):
    """One bin of a column, whose jets have a map of their own."""

    column: str
    low: float
    high: float


class _Bins(Block):
    @field_validator("edges", check_fields=False)
    @classmethod
    def _rising(cls, edges: tuple[float, ...]) -> tuple[float, ...]:
        if any(low >= high for low, high in pairwise(edges)):
            raise ValueError("edges of bins must rise")
        return edges


class BinsConfig(_Bins):
    """Bins of a column of the jets in which maps are compared (target `conditions`)."""

    column: Condition = Field(description="Column of the jets.")
    edges: tuple[float, ...] = Field(min_length=2, description=_EDGES)


class FlavourBins(_Bins):
    """Bins of a column in which maps of a flavour are compared (target `conditions`)."""

    column: ScoreCondition = Field(description="Column of the jets.")
    edges: tuple[float, ...] = Field(min_length=2, description=_EDGES)


Bins = Sequence[BinsConfig] | Sequence[FlavourBins]


def _distinct(bins: Bins) -> Bins:
    if len(set(bin_columns(bins))) < len(bins):
        raise ValueError("bins name a column twice")
    return bins


def bin_columns(bins: Bins) -> tuple[str, ...]:
    """Return the columns, on all of which the conditional map depends."""
    return tuple(one.column for one in bins)


def named_bins(bins: Bins) -> dict[str, Bin]:
    """Return the bins of every column by the names of their maps, such as ``jet_pt-0``."""
    return {
        f"{one.column}-{number}": Bin(one.column, low, high)
        for one in bins
        for number, (low, high) in enumerate(pairwise(one.edges))
    }


LatentBins = Annotated[tuple[BinsConfig, ...], AfterValidator(_distinct)]
SimplexBins = Annotated[tuple[FlavourBins, ...], AfterValidator(_distinct)]

_TEXT = (
    "Bins in which maps are compared (target `conditions`), of one column or more: the conditional "
    "map depends on all of them, and every bin has a map of its own."
)
LATENT_BINS = Field(
    (
        BinsConfig(column="jet_pt", edges=(500.0, 600.0, 700.0, 800.0, 1000.0)),
        BinsConfig(column="jet_eta", edges=(-2.0, -1.0, 0.0, 1.0, 2.0)),
    ),
    min_length=1,
    description=_TEXT,
)
SIMPLEX_BINS = Field(
    (
        FlavourBins(column="jet_pt", edges=(20.0, 40.0, 70.0, 120.0, 250.0)),
        FlavourBins(column="jet_eta", edges=(-2.5, -1.2, 0.0, 1.2, 2.5)),
    ),
    min_length=1,
    description=_TEXT,
)
