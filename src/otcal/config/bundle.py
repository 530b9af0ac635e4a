"""Settings of the export of a calibration."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from otcal.config.base import Block

Efficiency = Annotated[float, Field(gt=0, lt=1)]


class WorkingPoints(Block):
    """Where the discriminants are cut into bins of scale factors."""

    discriminants: tuple[Literal["b_c", "c_l", "hf_l"], ...] = Field(
        ("b_c", "c_l", "hf_l"), min_length=1, description="Discriminants of KY (62)."
    )
    kappas: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (1.0,), min_length=1, description="Weights of the charm probability in them."
    )
    efficiencies: tuple[Efficiency, ...] = Field(
        (0.85, 0.77, 0.70, 0.60),
        min_length=1,
        description="Shares of the simulated signal jets above the working points, falling.",
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if list(self.efficiencies) != sorted(set(self.efficiencies), reverse=True):
            raise ValueError("efficiencies must fall")
        for name in ("discriminants", "kappas"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} must be distinct")
        return self


class BundleConfig(Block):
    """The `bundle` block of the simplex study in config.yaml."""

    working_points: WorkingPoints = WorkingPoints()
