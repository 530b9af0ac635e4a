"""Settings of the tagger: inputs, network, training, export."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from otcal.config.base import Block
from otcal.config.splits import Splits
from otcal.samples.classes import CLASSES

ConstituentFeature = Literal["pt", "deta", "dphi", "d0val", "d0err", "dzval", "dzerr"]
JetFeature = Literal["pt", "eta", "phi", "energy", "nparticles"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"must be distinct; '{twice[0]}' is there twice")
    return names


Classes = Annotated[
    tuple[str, ...],
    Field(
        min_length=2,
        max_length=127,
        description="names of the classes in the order of the outputs; the jets' columns "
        "label_<name> say which one a jet is of",
    ),
    AfterValidator(_distinct),
]
Backgrounds = Annotated[
    tuple[str, ...],
    Field(
        min_length=1,
        description="classes that every other one is measured against, one against one, besides "
        "all other classes together; rejections are of the first",
    ),
    AfterValidator(_distinct),
]
QCD = CLASSES[:1]
"""Background of the heavy resonances of JetClass: the papers' q/g."""


class Preprocessing(Block):
    """From jets to network inputs (Algren et al., arXiv:2507.08867, Appendix C)."""

    constituent_features: tuple[ConstituentFeature, ...] = Field(
        ("pt", "deta", "dphi", "d0val", "d0err", "dzval", "dzerr"),
        min_length=1,
        description="continuous features of a constituent; its type is always an input",
    )
    jet_features: tuple[JetFeature, ...] = Field(
        ("pt", "eta", "phi", "energy", "nparticles"),
        min_length=1,
        description="features of the jet, which modulate every encoder block",
    )
    quantiles: int = Field(
        500, ge=2, description="support points of each quantile transform to a normal distribution"
    )
    fit_jets: int = Field(
        100_000,
        ge=1,
        description="about so many training jets, evenly from all files, fit the transforms: "
        "enough for 500 quantiles of a constituent feature at 1e-4",
    )
    max_constituents: int = Field(
        64,
        ge=1,
        description="constituents of highest pT that are used; 64 keeps all of 93 % of JetClass's "
        "jets, the rest lose their softest",
    )

    _features_distinct = field_validator("constituent_features", "jet_features")(_distinct)


class Architecture(Block):
    """The network (Algren et al., arXiv:2507.08867, Figure 2 and Table 1)."""

    d_model: int = Field(
        128,
        ge=128,
        description="width of the tokens; narrower than 128 would make z128 rank-deficient and "
        "its covariance singular",
    )
    blocks: int = Field(3, ge=1, description="encoder blocks")
    heads: int = Field(4, ge=1, description="attention heads per block; must divide d_model")
    expansion: int = Field(2, ge=1, description="feed-forward width in units of d_model")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout of feed-forward activations")
    head_layers: int = Field(
        5, ge=3, description="linear layers of the head; all but the last are 128 wide"
    )

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.d_model % self.heads:
            raise ValueError(f"heads ({self.heads}) must divide d_model ({self.d_model})")
        return self


class Training(Block):
    """How the network is trained."""

    epochs: float = Field(12, gt=0, description="passes over the training jets")
    batch_size: int = Field(512, ge=1, description="jets per optimisation step")
    micro_batch: int = Field(
        64,
        ge=1,
        description="jets computed together: a batch is sorted by length and cut into such pieces, "
        "so that little is padded; small pieces fit into a CPU's cache, large ones fill a GPU",
    )
    learning_rate: float = Field(1e-3, gt=0, description="AdamW's, after the warm-up")
    warmup_steps: int = Field(200, ge=0, description="steps of linear warm-up")
    schedule: Literal["constant", "cosine"] = Field(
        "cosine", description="after the warm-up: keep the rate, or lower it to zero at the end"
    )
    weight_decay: float = Field(0.01, ge=0, description="AdamW's")
    clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
    evaluations: int = Field(
        12, ge=1, description="times that the validation loss is computed, evenly over the training"
    )
    patience: int | None = Field(
        None, ge=1, description="evaluations without improvement that stop it; null never stops"
    )
    precision: Precision = Field(
        "auto",
        description="of the matrix products; weights and optimiser stay float32. auto takes "
        "bfloat16 on processors that have it, some 1.2 times as fast on a CPU, and float32 on "
        "others, where bfloat16 is a hundred times slower; float16 is for older GPUs",
    )
    storage: Literal["memory", "disk"] = Field(
        "memory",
        description="where the inputs are during training, about 1.2 kB per jet: in memory, or "
        "memory-mapped from a temporary file beside the output when they exceed it",
    )


class Inference(Block):
    """How a trained tagger is applied; none of it changes results beyond rounding."""

    micro_batch: int = Field(128, ge=1, description="jets computed together, of similar length")
    precision: Precision = Field(
        "float32",
        description="of the matrix products; less than float32 adds rounding noise of 0.4 % to "
        "the latents, which a discriminator can see",
    )


class PreprocessingSpec(Block):
    """What the step `fit_preprocessing` consumes."""

    classes: Classes = CLASSES
    splits: Splits
    preprocessing: Preprocessing


class TrainSpec(Block):
    """What the step `train_tagger` consumes."""

    classes: Classes = CLASSES
    splits: Splits
    architecture: Architecture
    training: Training
    seed: int = Field(description="seed of weights, batches and dropout")


class EvaluateSpec(Block):
    """What the step `evaluate_tagger` consumes."""

    backgrounds: Backgrounds = QCD
    splits: Splits
    inference: Inference


class TaggerConfig(Block):
    """The tagger's block of a study's configuration."""

    classes: Classes = CLASSES
    backgrounds: Backgrounds = QCD
    splits: Splits = Field(
        Splits(train=0.75, validation=0.1, test=0.15), description="of the training dataset"
    )
    preprocessing: Preprocessing = Field(Preprocessing(), description="inputs of the network")
    architecture: Architecture = Field(Architecture(), description="the network")
    training: Training = Field(Training(), description="its training")
    gpus: int = Field(
        1,
        ge=1,
        description="GPUs of one node that train it together, a process for each; the weights do "
        "not depend on it, so that changing it makes nothing again. Useful up to batch_size / "
        "micro_batch, of which every GPU takes its share; without influence when device is cpu",
    )
    inference: Inference = Field(
        Inference(), description="evaluation, and export of latents or scores"
    )

    @model_validator(mode="after")
    def _backgrounds_are_classes(self) -> Self:
        for name in self.backgrounds:
            if name not in self.classes:
                raise ValueError(
                    f"backgrounds: '{name}' is none of the classes {', '.join(self.classes)}"
                )
        return self

    def preprocessing_spec(self) -> PreprocessingSpec:
        """Return the settings of `fit_preprocessing`."""
        return PreprocessingSpec(
            classes=self.classes, splits=self.splits, preprocessing=self.preprocessing
        )

    def train_spec(self, seed: int) -> TrainSpec:
        """Return the settings of `train_tagger`."""
        return TrainSpec(
            classes=self.classes,
            splits=self.splits,
            architecture=self.architecture,
            training=self.training,
            seed=seed,
        )

    def evaluate_spec(self) -> EvaluateSpec:
        """Return the settings of `evaluate_tagger`."""
        return EvaluateSpec(
            backgrounds=self.backgrounds, splits=self.splits, inference=self.inference
        )

    def export_spec(self) -> Inference:
        """Return the settings of `export_latents`, and those of `export_scores` for the tagger."""
        return self.inference
