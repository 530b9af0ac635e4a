"""Settings of the mixture fit's uncertainty and of the targets made from it.

[KY] = Kim, Yang (arXiv:2605.01363), section V; docs/feedback.md explains the choices.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from otcal.config.base import Block


class PropagateSpec(Block):
    """What `otcal.steps.propagate_uncertainty` consumes."""

    recipe: Literal["projected", "plain"] = Field(
        "projected",
        description="Whose covariance makes variations and pulls. projected: the prior holds the "
        "shifts common to all regions, whose gain is infinite; plain: the paper's inverts them.",
    )
    singular_limit: float | None = Field(
        None,
        gt=0,
        description="Largest amplification of a channel that the data determine; null: the prior "
        "takes a channel when its propagated variance exceeds the prior's.",
    )
    prior_in_hessian: bool = Field(
        False,
        description="Let the composition prior narrow the covariance that enters the feedback "
        "(KY 39); the paper leaves it out (KY 38).",
    )
    noise: Literal["fit", "step"] = Field(
        "fit",
        description="What the feedback amplifies. fit: the covariance of a fit with fixed "
        "densities (KY 56), on the safe side; step: that of one EM step, from which the feedback "
        "makes just that covariance when the densities do not respond.",
    )
    ratio_limit: float = Field(
        20.0,
        gt=1,
        description="Largest density ratio q_h/q_j in shifts of log-densities (KY 49). The "
        "feedback needs none; what this one would change in it is reported.",
    )


class TargetSpec(Block):
    """What `otcal.steps.sample_targets` consumes."""

    points: int = Field(30_000, ge=1, description="Points per flavour and variation.")
    seed: int = Field(0, ge=0, lt=1 << 31, description="Seed of the points.")


class UncertaintyConfig(PropagateSpec):
    """The `uncertainty` block of the simplex study in config.yaml."""

    points: int = Field(30_000, ge=1, description="Points per flavour and variation of a target.")

    def propagate_spec(self) -> PropagateSpec:
        """Return the settings of `propagate_uncertainty`."""
        return PropagateSpec(**self.model_dump(include=set(PropagateSpec.model_fields)))

    def target_spec(self, seed: int) -> TargetSpec:
        """Return the settings of `sample_targets` for a study's seed."""
        return TargetSpec(points=self.points, seed=seed)
