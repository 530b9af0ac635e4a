"""Shares of a dataset by a hash of the jets' ids."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from otcal.config.base import Block


class Splits(Block):
    """Shares that train, choose and test; see `otcal.samples.splits`."""

    train: float = Field(0.5, gt=0, lt=1, description="Share that fits.")
    validation: float = Field(
        0.1, gt=0, lt=1, description="Share that stops a fit or chooses its best."
    )
    test: float = Field(0.4, gt=0, lt=1, description="Share that no fit sees.")

    @model_validator(mode="after")
    def _sum_to_one(self) -> Self:
        total = self.train + self.validation + self.test
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"train, validation and test must sum to 1, not {total:g}")
        return self

    def fractions(self) -> dict[str, float]:
        """Return the shares in the order in which they fill [0, 1)."""
        return {"train": self.train, "validation": self.validation, "test": self.test}
