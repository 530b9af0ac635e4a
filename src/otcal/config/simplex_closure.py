"""Settings of the maps per flavour and of their closure.

[KY] = Kim, Yang (arXiv:2605.01363), section VIII.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from otcal.config.base import Block
from otcal.config.bins import SIMPLEX_BINS, SimplexBins, named_bins
from otcal.config.conditions import ScoreConditions, ScoreRanges
from otcal.config.splits import Splits
from otcal.samples.flavours import FLAVOURS

Space = Literal["ilr", "logit"]
Target = Literal["extracted", "truth"]
Name = Literal["b_c", "c_l", "hf_l"]
Positive = Annotated[float, Field(gt=0)]
Efficiency = Annotated[float, Field(gt=0, lt=1)]
Width = Annotated[int, Field(ge=1)]


class FlavourMaps(Block):
    """The `maps` block of config.yaml: one convex potential per flavour."""

    steps: int = Field(
        1000,
        ge=1,
        description="Gradient steps of a map. Some 40 passes over 25,000 jets: more of them follow "
        "single jets.",
    )
    variation_steps: int = Field(
        400, ge=1, description="Steps of a variation's map, which starts from the nominal one."
    )
    hidden: tuple[Width, ...] = Field(
        (64, 64), min_length=1, description="Units of each layer of the potential."
    )
    learning_rate: float = Field(0.02, gt=0, description="Rate of Adam before it falls.")
    variation_learning_rate: float = Field(0.01, gt=0, description="The same of a variation's map.")
    batch: int = Field(
        1024, ge=1, description="Source and target jets per step at most: a power of two is used."
    )
    noise: float = Field(
        0.0,
        ge=0,
        description="Gaussian noise added to the training jets, in units of each direction's "
        "spread; two dimensions need none.",
    )
    tolerance: float = Field(
        0.002,
        gt=0,
        description="Residual at which the conjugation of a target jet stops, in units of a "
        "typical spread. It shifts the map by as much, and costs little in two dimensions.",
    )
    select: bool = Field(
        True,
        description="Fall back to the Gaussian map when it is as good on held-out jets; its "
        "variations then are Gaussian maps as well.",
    )
    evaluations: int = Field(5, ge=1, description="Held-out evaluations of a map's fit.")
    bins: SimplexBins = SIMPLEX_BINS

    def map_spec(
        self,
        flavour: str,
        splits: Splits,
        seed: int,
        target: Target,
        space: Space,
        conditions: ScoreConditions,
    ) -> FlavourMapSpec:
        """Return the settings of `fit_flavour_map`."""
        other = {"variation_steps", "variation_learning_rate", "bins"}
        own = set(FlavourMaps.model_fields) - other
        return FlavourMapSpec(
            **self.model_dump(include=own),
            flavour=flavour,
            splits=splits,
            seed=seed,
            target=target,
            space=space,
            conditions=conditions,
        )

    def compared_map_spec(
        self, flavour: str, splits: Splits, seed: int, name: str
    ) -> FlavourMapSpec:
        """Return the settings of a map to labelled data that is compared in `bins`.

        Parameters
        ----------
        flavour, splits, seed
            As for `map_spec`.
        name
            `inclusive`: one map for all jets; `conditional`: one that depends on the columns of the
            bins; or the name of a bin (`otcal.config.bins.named_bins`): a map of its jets alone.
        """
        conditions = tuple(one.column for one in self.bins) if name == "conditional" else ()
        spec = self.map_spec(flavour, splits, seed, "truth", "ilr", conditions)
        if name not in named_bins(self.bins):
            return spec
        column, *limits = named_bins(self.bins)[name]
        return spec.model_copy(update={"ranges": {column: tuple(limits)}})

    def bins_spec(self, flavour: str, splits: Splits) -> FlavourBinsSpec:
        """Return the settings of `measure_flavour_bins`."""
        return FlavourBinsSpec(flavour=flavour, splits=splits, bins=self.bins)

    def variation_spec(self, flavour: str, splits: Splits, seed: int) -> VariationMapSpec:
        """Return the settings of `vary_flavour_maps`."""
        return VariationMapSpec(
            **self.model_dump(include={"batch", "noise", "tolerance"}),
            steps=self.variation_steps,
            learning_rate=self.variation_learning_rate,
            flavour=flavour,
            splits=splits,
            seed=seed,
        )


class _MapSpec(Block):
    """What the fits of all maps of a flavour consume."""

    flavour: str = Field(description="Flavour whose jets are moved.")
    steps: int = Field(ge=1, description="Gradient steps.")
    learning_rate: float = Field(gt=0, description="Highest rate of Adam.")
    batch: int = Field(
        1024, ge=1, description="Source and target jets per step at most: a power of two is used."
    )
    noise: float = Field(0.0, ge=0, description="Noise added to the training jets.")
    tolerance: float = Field(0.002, gt=0, description="Residual of the conjugation.")
    splits: Splits = Field(Splits(), description="Shares of the MC jets; test is left alone.")
    seed: int = Field(0, ge=0, description="Seed of networks and batches.")

    @field_validator("flavour")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in FLAVOURS:
            raise ValueError(f"must be one of {', '.join(FLAVOURS)}")
        return name


class FlavourMapSpec(_MapSpec):
    """What `otcal.steps.fit_flavour_map` consumes."""

    target: Target = Field(
        "extracted",
        description="extracted: the mixture fit's density of the flavour; truth: labelled "
        "pseudo-data, which shows what the extraction costs.",
    )
    space: Space = Field(
        "ilr",
        description="ilr: isometric log-ratios; logit: the logit of each class by itself, one "
        "coordinate too many, for comparison (KY II.3).",
    )
    conditions: ScoreConditions = Field(
        (), description="Columns that the map may depend on; those of the extracted densities."
    )
    ranges: ScoreRanges = Field(
        {},
        description="Only jets whose columns lie in these ranges, upper ends exclusive; of target "
        "truth alone, as an extracted density is one of all jets.",
    )
    hidden: tuple[Width, ...] = Field((64, 64), min_length=1, description="Units of each layer.")
    select: bool = Field(True, description="Fall back to the Gaussian map when it is as good.")
    evaluations: int = Field(5, ge=1, description="Held-out evaluations.")

    @model_validator(mode="after")
    def _of_labelled_jets(self) -> Self:
        if self.ranges and self.target != "truth":
            raise ValueError("ranges need target truth")
        return self


class FlavourBinsSpec(Block):
    """What `otcal.steps.measure_flavour_bins` consumes."""

    flavour: str = Field(description="Flavour whose maps are compared.")
    splits: Splits = Field(Splits(), description="Shares of the MC jets; test is compared.")
    bins: SimplexBins = SIMPLEX_BINS
    jets: int = Field(
        2000, ge=2, description="Jets of a sample in a distance at most: its cost is their square."
    )


class VariationMapSpec(_MapSpec):
    """What `otcal.steps.vary_flavour_maps` consumes."""


class Tagging(Block):
    """The binned baseline: scale factors in bins of ln(p_b / (f p_c + (1 − f) p_light))."""

    charm_share: float = Field(0.2, ge=0, le=1, description="f.")
    efficiencies: tuple[Efficiency, ...] = Field(
        (0.85, 0.77, 0.70, 0.60),
        min_length=1,
        description="b efficiencies of the simulation at the working points, which bound the bins.",
    )

    @field_validator("efficiencies")
    @classmethod
    def _falling(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if list(values) != sorted(set(values), reverse=True):
            raise ValueError("efficiencies must fall")
        return values


class SimplexClosureConfig(Block):
    """The `closure` block of the simplex study in config.yaml."""

    discriminants: tuple[Name, ...] = Field(
        ("b_c", "c_l", "hf_l"), min_length=1, description="Discriminants of KY (62)."
    )
    kappas: tuple[Positive, ...] = Field(
        (0.25, 0.5, 1.0, 2.0, 4.0), min_length=1, description="Weights of the charm probability."
    )
    bins: int = Field(25, ge=2, description="Bins of equal width of a discriminant, 0 to 1.")
    min_count: int = Field(
        10, ge=1, description="Jets of simulation and data on average in a bin that is compared."
    )
    halvings: int = Field(
        10, ge=1, description="Random halvings of the data that measure the statistical floor."
    )
    ratio_limit: float = Field(
        20.0,
        gt=1,
        description="Largest density ratio q_h/q_f in the weights that cross-check the band.",
    )
    tagging: Tagging = Tagging()

    def closure_spec(self, splits: Splits, seed: int) -> SimplexClosureSpec:
        """Return the settings of `measure_closure`."""
        return SimplexClosureSpec(**self.model_dump(), splits=splits, seed=seed)


class SimplexClosureSpec(SimplexClosureConfig):
    """What `otcal.steps.measure_closure` consumes."""

    splits: Splits = Field(Splits(), description="Shares of the MC jets, as in the maps' fits.")
    split: Literal["train", "validation", "test"] = Field(
        "test", description="The split that the maps' fits have not seen."
    )
    seed: int = Field(0, ge=0, description="Seed of the choice of jets and of the halvings.")

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for name in ("discriminants", "kappas"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} must be distinct")
        return self
