"""Settings of the export of a calibration."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from otcal.config.base import Block


def _falling(values: tuple[float, ...]) -> tuple[float, ...]:
    if list(values) != sorted(set(values), reverse=True):
        raise ValueError("efficiencies must fall")
    return values


Efficiency = Annotated[float, Field(gt=0, lt=1)]
Efficiencies = Annotated[tuple[Efficiency, ...], AfterValidator(_falling)]


class WorkingPoints(Block):
    """Where the discriminants are cut into bins of scale factors."""

    discriminants: tuple[Literal["b_c", "c_l", "hf_l"], ...] = Field(
        ("b_c", "c_l", "hf_l"), min_length=1, description="Discriminants of KY (62)."
    )
    kappas: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (1.0,), min_length=1, description="Weights of the charm probability in them."
    )
    efficiencies: Efficiencies = Field(
        (0.85, 0.77, 0.70, 0.60),
        min_length=1,
        description="Shares of the simulated signal jets above the working points, falling.",
    )

    @model_validator(mode="after")
    def _are_distinct(self) -> Self:
        for name in ("discriminants", "kappas"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} must be distinct")
        return self


class BundleConfig(Block):
    """The `bundle` block of the simplex study in config.yaml."""

    working_points: WorkingPoints = WorkingPoints()


class LatentWorkingPoints(Block):
    """Where the physics discriminants are cut into bins of scale factors."""

    efficiencies: Efficiencies = Field(
        (0.1, 0.03, 0.01),
        min_length=1,
        description="Shares of the simulated jets that the map is for above the working points, "
        "falling: rates of mistakes where these jets are background.",
    )


class LatentBundleConfig(Block):
    """The `bundle` block of the latent study in config.yaml."""

    working_points: LatentWorkingPoints = LatentWorkingPoints()
