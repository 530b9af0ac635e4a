"""Settings of the transport map."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from otcal.config.base import Block
from otcal.config.conditions import Conditions, Ranges
from otcal.config.splits import Splits

Width = Annotated[int, Field(ge=1)]


class ConvexSpec(Block):
    """The default solver: one convex potential fitted by the semi-dual."""

    hidden: tuple[Width, ...] = Field(
        (128, 128),
        min_length=1,
        description="Units of each layer. Every unit has a quadratic skip, so few are enough; "
        "wider networks need more jets, not only more time.",
    )
    pieces: int = Field(
        0,
        ge=0,
        description="Quadratic pieces of a soft maximum above the units; 0 leaves it out.",
    )
    squares: int = Field(256, ge=0, description="Squares for the pieces, beside one of each unit.")
    learning_rate: float = Field(
        0.003,
        gt=0,
        description="Rate of Adam before it falls. With few jets a high one follows single jets.",
    )
    batch: int = Field(
        512,
        ge=1,
        description="Target jets per step at most: a power of two is used. Twice as many source "
        "jets are.",
    )
    noise: float = Field(
        0.25,
        ge=0,
        description="Gaussian noise added to the training jets, in units of each direction's "
        "spread: keeps the map from following single jets. Less is enough with more jets.",
    )
    damping: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Power of a direction's spread by which the network sees it scaled: narrow "
        "directions of the latent then stay as the Gaussian map has them unless the data object.",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="Of the matrix products in gradient steps; the map itself is float32. auto "
        "takes bfloat16 on processors that have it, where a step takes two thirds of the time, and "
        "float32 on others.",
    )


class MinimaxSpec(Block):
    """The solver of [MTG] Table 2; the defaults are the paper's."""

    blocks: int = Field(
        4, ge=1, description="Composed blocks; more than 1 isn't a Brenier map by construction."
    )
    hidden: tuple[Width, ...] = Field(
        (2048, 2048), min_length=1, description="Units of each layer of a block."
    )
    learning_rate: float = Field(5e-4, gt=0, description="Start of the cosine (AdamW).")
    final_learning_rate: float = Field(1e-7, ge=0, description="End of the cosine.")
    batch: int = Field(1024, ge=1, description="Jets per step and side.")
    map_steps: int = Field(10, ge=1, description="Steps of the map g in one round.")
    critic_steps: int = Field(4, ge=1, description="Steps of the critic f in one round.")
    clip: float = Field(10.0, gt=0, description="Largest gradient norm.")


class TransportConfig(Block):
    """The `transport` block of config.yaml."""

    method: Literal["convex", "minimax", "gaussian"] = Field(
        "convex",
        description="convex: one potential, a Brenier map by construction; minimax: the paper's "
        "solver; gaussian: the closed form, from which the others start (see precondition).",
    )
    layer: Literal["z128", "zp128", "z10"] = Field(
        "z128", description="Layer in which the map is fitted."
    )
    classes: tuple[str, ...] = Field(
        ("QCD",), min_length=1, description="Classes whose jets are fitted ([MTG]: q/g only)."
    )
    conditions: Conditions = Field(
        (),
        description="Columns of the jets on which the map may depend without moving them: it is a "
        "Brenier map for every value of them. Without any, one map serves all jets.",
    )
    steps: int | None = Field(
        4000,
        ge=1,
        description="Gradient steps. The map then depends on the seed only (on one thread).",
    )
    budget_s: float | None = Field(
        None,
        gt=0,
        description="Wall-clock seconds; with steps as well, whichever is shorter.",
    )
    standardise: bool = Field(
        True,
        description="Measure the transport cost in units of the target's spread of each feature.",
    )
    precondition: bool = Field(
        True,
        description="Start from the Gaussian map; false: from the identity, in the standardised "
        "features of [MTG] appendix B.2, mean and spread being the target's.",
    )
    select: bool = Field(
        True,
        description="Fall back to the Gaussian map when it is as good on held-out jets.",
    )
    convex: ConvexSpec = Field(ConvexSpec(), description="Settings of method convex.")
    minimax: MinimaxSpec = Field(MinimaxSpec(), description="Settings of method minimax.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.steps is None and self.budget_s is None and self.method != "gaussian":
            raise ValueError("set steps or budget_s")
        if self.conditions and self.method == "minimax":
            raise ValueError("method minimax takes no conditions: choose method convex")
        return self

    def map_spec(self, splits: Splits, seed: int) -> MapSpec:
        """Return the settings of `fit_map` for a study's splits and seed.

        The block of a method that is not chosen stays unset: it must not make the map stale.
        """
        unused = {"convex", "minimax"} - {self.method}
        own = self.model_dump(exclude=unused)
        return MapSpec(**own, **{"splits": splits.model_dump(), "seed": seed})


class MapSpec(TransportConfig):
    """What `otcal.steps.fit_map` consumes."""

    splits: Splits = Field(Splits(), description="Shares of the jets; test is left alone.")
    ranges: Ranges = Field(
        {}, description="Only jets whose columns lie in these ranges, upper ends exclusive."
    )
    seed: int = Field(0, ge=0, description="Seed of networks and batches.")


class CalibrateSpec(Block):
    """What `otcal.steps.calibrate` consumes."""

    classes: tuple[str, ...] = Field(
        ("QCD",), min_length=1, description="Classes that are calibrated; others are left out."
    )
