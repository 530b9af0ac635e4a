"""Settings of the closure tests: discriminators, physics discriminants, reweighting.

[MTG]: Algren et al., arXiv:2507.08867.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from otcal.config.base import Block
from otcal.config.bins import LATENT_BINS, LatentBins
from otcal.config.splits import Splits

Fractions = dict[str, Annotated[float, Field(ge=0.0, le=1.0)]]
ModelName = Literal["mlp", "linear"]
Study = Literal["latent", "simplex"]

MIN_JETS = 2
"""Jets of each sample that every fold must have."""


class MlpSpec(Block):
    """The discriminator D_L ([MTG] Table 3), a multilayer perceptron."""

    kind: Literal["mlp"] = "mlp"
    width: int = Field(256, ge=1, description="Hidden width ([MTG]: 512).")
    hidden_layers: int = Field(
        4, ge=0, description="Hidden layers after the one that embeds the input ([MTG]: 4)."
    )
    batch: int = Field(256, ge=1, description="Jets per step ([MTG]: 1024, on far more jets).")
    learning_rate: float = Field(
        5e-4, gt=0, description="AdamW's first learning rate ([MTG]: 1e-4, on far more steps)."
    )
    final_learning_rate: float = Field(
        1e-6, ge=0, description="Where the cosine schedule ends ([MTG]: 1e-7)."
    )
    weight_decay: float = Field(0.01, ge=0, description="AdamW's decoupled weight decay.")
    whiten: bool = Field(
        True,
        description="Standardise the input along its principal axes instead of feature by feature "
        "([MTG]): on few jets the network would not find narrow directions by itself.",
    )
    dropout: float = Field(
        0.3,
        ge=0,
        lt=1,
        description="Dropout before each linear layer but the first ([MTG]: none, but a thousand "
        "times more jets; without it, some ten thousand jets are learnt by heart in two epochs).",
    )
    epochs: int = Field(30, ge=1, description="Passes over the training jets ([MTG]: 200).")
    patience: int = Field(
        6,
        ge=1,
        description="Stop after this many epochs without a lower held-out loss ([MTG]: 100).",
    )


class LinearSpec(Block):
    """One linear layer ([MTG] Fig. 9a), solved to its optimum as a logistic regression."""

    kind: Literal["linear"] = "linear"
    penalties: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (1e-3, 1e-2, 1e-1, 1.0),
        min_length=1,
        description="L2 strengths per jet to try; the lowest held-out loss decides.",
    )


class Discriminant(Block):
    """A physics discriminant ln(sum of signal p / sum of background p) of the softmax outputs."""

    name: str = Field(pattern=r"^[A-Za-z0-9_]+$", description="Name in tables and summary keys.")
    signal: tuple[str, ...] = Field(min_length=1, description="Classes in the numerator.")
    background: tuple[str, ...] = Field(min_length=1, description="Classes in the denominator.")

    @field_validator("signal", "background")
    @classmethod
    def _distinct(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise ValueError("must be distinct classes")
        return names


def _top_and_multijet(name: str, *signal: str) -> Discriminant:
    return Discriminant(name=name, signal=signal, background=("QCD", "Tbqq", "Tbl"))


def _pair(signal: str, background: str) -> Discriminant:
    return Discriminant(name=f"{signal}_{background}", signal=(signal,), background=(background,))


DISCRIMINANTS = (
    _top_and_multijet("Hbb", "Hbb"),
    _top_and_multijet("Hcc", "Hcc"),
    _top_and_multijet("HbbHcc", "Hbb", "Hcc"),
    _pair("Tbqq", "QCD"),
    _pair("Hbb", "QCD"),
    _pair("Hcc", "QCD"),
    _pair("Hcc", "Tbqq"),
)
"""The default set.

The first three are those of [MTG] section 5 and Figs. 5 and 11: H→bb, H→cc or both against multijet
and top quarks. The last four are the pairs that the authors' published evaluation code draws.
"""

DRAWN = ("Hbb", "Hcc", "HbbHcc")
"""Names of those that figures show, which therefore must be there for our own tagger."""


class DistanceSpec(Block):
    """Two-sample distances in the layers."""

    jets: int = Field(
        2000, ge=2, description="At most this many jets per sample (pairwise: cost is its square)."
    )
    directions: int = Field(256, ge=1, description="Random directions of the sliced distance.")


class JetSelection(Block):
    """Which jets the closure tests use, and how they divide them."""

    fractions: Fractions = Field(description="Splits of the calibration jets, as the map's fit.")
    split: str = Field("test", description="The split that the map's fit has not seen.")
    classes: tuple[str, ...] = Field(("QCD",), min_length=1, description="Calibrated classes.")
    folds: Splits = Field(
        Splits(),
        description="Division of that split: what trains, stops and evaluates a discriminator. The "
        "uncertainty of every AUC is about 0.41 / sqrt(jets per side that evaluate it).",
    )

    @model_validator(mode="after")
    def _split_exists(self) -> JetSelection:
        if self.split not in self.fractions:
            raise ValueError(f"split '{self.split}' is none of {', '.join(self.fractions)}")
        return self


class DiscriminatorSpec(Block):
    """What the step `train_discriminator` consumes."""

    jets: JetSelection
    model: Annotated[MlpSpec | LinearSpec, Field(discriminator="kind")]
    fits: int = Field(3, ge=1, le=100, description="Independent fits; their spread is quoted.")
    seed: int = Field(1, ge=0, description="Seed of initialisation and batches.")


class CollectSpec(Block):
    """What the step `collect_discriminators` consumes."""

    roc_points: int = Field(201, ge=2, description="Points of the common false-positive grid.")
    score_bins: int = Field(40, ge=1, description="Bins of the score histograms.")


class ReweightSpec(Block):
    """What the step `reweight` consumes."""

    jets: JetSelection
    discriminants: tuple[Discriminant, ...] = DISCRIMINANTS
    distances: DistanceSpec = DistanceSpec()
    seed: int = Field(1, ge=0, description="Seed of the sliced distance's directions.")


class SummarySpec(Block):
    """What the step `summarise` consumes."""

    study: Study = Field(description="First part of every key.")


class MergeSpec(Block):
    """What the step `merge_summaries` consumes."""

    studies: tuple[Study, ...] = Field(min_length=1, description="Parts that must be there.")


class BinsSpec(Block):
    """What the step `measure_bins` consumes."""

    jets: JetSelection
    bins: LatentBins = LATENT_BINS
    distances: DistanceSpec = DistanceSpec()
    layer: str = Field("z128", description="Layer of the map.")


class ClosureConfig(Block):
    """The `closure` block of config.yaml."""

    folds: Splits = Splits()
    fits: int = Field(3, ge=1, le=100, description="Independent fits per discriminator.")
    mlp: MlpSpec = MlpSpec()
    linear: LinearSpec = LinearSpec()
    discriminants: tuple[Discriminant, ...] = Field(DISCRIMINANTS, min_length=1)
    distances: DistanceSpec = DistanceSpec()
    bins: LatentBins = LATENT_BINS
    collect: CollectSpec = CollectSpec()

    @field_validator("discriminants")
    @classmethod
    def _distinct(cls, entries: tuple[Discriminant, ...]) -> tuple[Discriminant, ...]:
        names = [entry.name for entry in entries]
        if len(set(names)) < len(names):
            raise ValueError("discriminants must have distinct names")
        return entries

    @property
    def undrawn(self) -> list[str]:
        """Names of discriminants that figures show, but which are not there."""
        names = [entry.name for entry in self.discriminants]
        return [name for name in DRAWN if name not in names]

    def selection(self, fractions: Fractions, classes: tuple[str, ...]) -> JetSelection:
        """Return the jets of the closure tests for a study's splits and calibrated classes."""
        return JetSelection(fractions=fractions, classes=classes, folds=self.folds)

    def discriminator(self, jets: JetSelection, model: ModelName, seed: int) -> DiscriminatorSpec:
        """Return the settings of one discriminator: only the block of its own model."""
        block = self.mlp if model == "mlp" else self.linear
        return DiscriminatorSpec(jets=jets, model=block, fits=self.fits, seed=seed)

    def reweight(self, jets: JetSelection, seed: int) -> ReweightSpec:
        """Return the settings of the reweighting step."""
        return ReweightSpec(
            jets=jets, discriminants=self.discriminants, distances=self.distances, seed=seed
        )
