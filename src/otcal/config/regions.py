"""Settings of the control regions.

[KY] = Kim, Yang (arXiv:2605.01363).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from otcal.config.base import Block
from otcal.samples.flavours import FLAVOURS

Fractions = dict[str, Annotated[float, Field(gt=0, lt=1)]]

SUM_TOLERANCE = 1e-6
"""How far the fractions of a region may be from summing to one."""


KappaLimit = Field(
    20.0, gt=1, description="Largest condition number of the compositions' matrix (KY 27)."
)


def _sum_to_one(fractions: Fractions | None) -> Fractions | None:
    total = sum(fractions.values()) if fractions is not None else 1.0
    if abs(total - 1.0) > SUM_TOLERANCE:
        raise ValueError(f"fractions must sum to 1, not {total:.6g}")
    return fractions


def _check_shares(where: str, shares: Fractions, flavours: Sequence[str]) -> None:
    if set(shares) != set(flavours):
        names = ", ".join(shares)
        raise ValueError(f"{where} must name {', '.join(flavours)}, not {names}")


def _check_largest(where: str, shares: Fractions, enriched: str) -> None:
    if max(shares, key=lambda name: shares[name]) != enriched:
        raise ValueError(f"{where} is to be enriched in {enriched}, not its largest fraction")


def check_fitted(regions: Mapping[str, FittedRegion], flavours: Sequence[str]) -> None:
    """Raise `ValueError` unless each flavour is enriched, and dominates, in just one region."""
    for name, region in regions.items():
        _check_shares(f"regions.{name}.nominal", region.nominal, flavours)
        _check_largest(f"regions.{name}.nominal", region.nominal, region.enriched)
    enriched = [region.enriched for region in regions.values()]
    if sorted(enriched) != sorted(flavours):
        raise ValueError(
            f"each of {', '.join(flavours)} must be enriched in exactly one region of the fit; "
            f"there are regions enriched in: {', '.join(enriched) or 'none'}"
        )


class Region(Block):
    """One region: what it is made of, and what the fit believes that it is made of."""

    jets: int = Field(20_000, ge=1, description="Jets of the region.")
    enriched: str | None = Field(
        None,
        description="Flavour that is enriched in it; null keeps the region out of the fit.",
    )
    fractions: Fractions | None = Field(
        None, description="Share of each flavour, all of them; null: equal shares."
    )
    nominal: Fractions | None = Field(
        None,
        description="Shares that the fit's prior is centred on: what an analysis would know. "
        "null: those that the region is made of.",
    )

    _sum_to_one = field_validator("fractions", "nominal")(_sum_to_one)


class FittedRegion(Block):
    """One region as the fit knows it."""

    enriched: str = Field(description="Flavour that is enriched in it.")
    nominal: Fractions = Field(description="Shares that the prior is centred on.")

    _sum_to_one = field_validator("nominal")(_sum_to_one)


class Regions(Block):
    """Regions by name; those of the fit are each enriched in another flavour."""

    flavours: tuple[str, ...] = Field(
        FLAVOURS, min_length=2, description="In the order of the labels; the last is the reference."
    )
    regions: dict[str, Region] = Field(description="Regions by name.")
    kappa_limit: float = KappaLimit

    def shares(self, region: Region) -> dict[str, float]:
        """Return the shares that a region is made of."""
        return region.fractions or dict.fromkeys(self.flavours, 1.0 / len(self.flavours))

    def fitted(self) -> dict[str, FittedRegion]:
        """Return the regions of the fit by name."""
        return {
            name: FittedRegion(enriched=one.enriched, nominal=one.nominal or self.shares(one))
            for name, one in self.regions.items()
            if one.enriched is not None
        }

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name, region in self.regions.items():
            _check_shares(f"regions.{name}.fractions", self.shares(region), self.flavours)
            if region.enriched is not None:
                _check_largest(f"regions.{name}", self.shares(region), region.enriched)
        check_fitted(self.fitted(), self.flavours)
        return self


class RegionsSpec(Regions):
    """What `otcal.steps.build_regions` consumes."""

    seed: int = Field(0, ge=0, lt=1 << 31, description="Seed of who goes where.")
