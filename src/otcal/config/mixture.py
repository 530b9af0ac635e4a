"""Settings of the mixture fit.

[KY] = Kim, Yang (arXiv:2605.01363).
"""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from otcal.config.base import Block
from otcal.config.conditions import ScoreConditions
from otcal.config.regions import (
    FittedRegion,
    KappaLimit,
    Regions,
    RegionsSpec,
    check_fitted,
)
from otcal.config.splits import Splits
from otcal.samples.flavours import FLAVOURS

Width = Annotated[int, Field(ge=1)]
Dependence: Any = Field(
    (),
    description="Columns that densities and maps may depend on, such as [jet_pt, jet_eta]. A "
    "flavour then has the same spectrum of them in all regions.",
)


class FlowSpec(Block):
    """A neural spline flow per flavour, all alike."""

    transforms: int = Field(2, ge=1, description="Autoregressive spline transforms.")
    hidden: tuple[Width, ...] = Field(
        (32, 32), min_length=1, description="Units of each transform's conditioner."
    )
    bins: int = Field(8, ge=2, description="Bins of each rational-quadratic spline.")


class Pretraining(Block):
    """Supervised training of the flows on simulated jets."""

    steps: int = Field(600, ge=1, description="Gradient steps of Adam; a cosine ends its rate.")
    batch: int = Field(1024, ge=1, description="Jets of each flavour per step.")
    learning_rate: float = Field(3e-3, gt=0, description="Highest rate.")
    evaluate_every: int = Field(30, ge=1, description="Steps between held-out evaluations.")
    patience: int | None = Field(
        8, ge=1, description="Evaluations without improvement that stop it; null: never."
    )


class PretrainSpec(Block):
    """What `otcal.steps.pretrain_flows` consumes."""

    flavours: tuple[str, ...] = Field(FLAVOURS, min_length=2, description="As in the regions.")
    flow: FlowSpec = FlowSpec()
    training: Pretraining = Pretraining()
    conditions: ScoreConditions = Dependence
    splits: Splits = Field(Splits(), description="Of the simulated jets; test is left alone.")
    seed: int = Field(0, ge=0, lt=1 << 31, description="Seed of networks and batches.")


class DensityStep(Block):
    """The part of the M-step that moves the flows: weighted gradient steps of Adam."""

    epochs: int = Field(1, ge=1, description="Passes over all events per iteration.")
    batch: int = Field(1024, ge=1, description="Events per gradient step.")
    learning_rate: float = Field(1e-3, gt=0, description="First rate of Adam.")
    averaging: float = Field(
        0.98,
        ge=0,
        lt=1,
        description="Decay per gradient step of the running mean of the weights, which is what "
        "the fit sees as densities: without it, they jitter from step to step.",
    )
    held_out: float = Field(
        0.1,
        gt=0,
        lt=1,
        description="Share of the events that no flow is fitted to. Their likelihood decides when "
        "the rate is lowered: flows that follow single events do not raise it.",
    )
    patience: int = Field(
        2, ge=1, description="Iterations without a better held-out likelihood that lower the rate."
    )
    reduction: float = Field(0.5, gt=0, lt=1, description="Factor on the rate then.")


class EmConfig(Block):
    """The EM fit of compositions and densities."""

    prior_width: float = Field(
        0.3, gt=0, description="Standard deviation of log(background/signal) in each region."
    )
    start_shift: float = Field(
        0.2, ge=0, lt=1, description="Largest relative change of a fraction at the start."
    )
    expansion: bool = Field(
        False,
        description="false ([KY]): EM from simulated densities; where the likelihood is flat, it "
        "stays near them. true: parameter expansion goes to the objective's maximum, where the "
        "prior alone decides what the likelihood leaves open.",
    )
    settle: int = Field(
        4,
        ge=0,
        description="First iterations that leave the compositions alone: until the densities have "
        "come from simulation to data, the compositions would make up for the difference.",
    )
    max_iterations: int = Field(60, ge=1, description="Iterations after which the fit gives up.")
    window: int = Field(5, ge=1, description="Iterations over which convergence is judged.")
    tolerance_likelihood: float = Field(
        1e-5, gt=0, description="Relative change of the objective over the window."
    )
    tolerance_composition: float = Field(
        1e-3, gt=0, description="Range of every fraction over the window."
    )
    density: DensityStep = DensityStep()


class ExtractSpec(EmConfig):
    """What `otcal.steps.extract_components` consumes."""

    flavours: tuple[str, ...] = Field(FLAVOURS, min_length=2, description="As in the regions.")
    regions: dict[str, FittedRegion] = Field(description="Regions of the fit by name.")
    kappa_limit: float = KappaLimit
    seed: int = Field(0, ge=0, lt=1 << 31, description="Seed of starts and batches.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_fitted(self.regions, self.flavours)
        return self


class SelectSpec(Block):
    """What `otcal.steps.select_extraction` consumes: nothing to set."""


class MixtureConfig(Regions):
    """The `mixture` block of the simplex study in config.yaml."""

    conditions: ScoreConditions = Dependence
    flow: FlowSpec = FlowSpec()
    pretraining: Pretraining = Pretraining()
    em: EmConfig = EmConfig()
    starts: int = Field(3, ge=1, description="Fits from different compositions.")

    def regions_spec(self, seed: int) -> RegionsSpec:
        """Return the settings of `build_regions` for a study's seed: no prior makes a region."""
        made = {
            name: region.model_copy(update={"nominal": None})
            for name, region in self.regions.items()
        }
        return RegionsSpec(
            flavours=self.flavours,
            regions=made,
            kappa_limit=self.kappa_limit,
            seed=seed,
        )

    def pretrain_spec(self, splits: Splits, seed: int) -> PretrainSpec:
        """Return the settings of `pretrain_flows` for a study's splits and seed."""
        return PretrainSpec(
            flavours=self.flavours,
            flow=self.flow,
            training=self.pretraining,
            conditions=self.conditions,
            splits=splits,
            seed=seed,
        )

    def extract_spec(self, seed: int) -> ExtractSpec:
        """Return the settings of `extract_components` for a study's seed."""
        return ExtractSpec(
            **self.em.model_dump(),
            flavours=self.flavours,
            regions=self.fitted(),
            kappa_limit=self.kappa_limit,
            seed=seed,
        )
