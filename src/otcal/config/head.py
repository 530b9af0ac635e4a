"""Settings of the layers after the latent of a tagger that is not ours."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from otcal.config.base import Block

ClassName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")]


class HeadConfig(Block):
    """The layers after the latent of a tagger that is not ours, as an ONNX model.

    Its only input is the latent, float32 of shape (N, width), N being free.
    """

    file: str = Field(description="Path of the model, relative to the working directory.")
    classes: tuple[ClassName, ...] = Field(
        min_length=2,
        description="Names of the classes, in the order of the logits: labels, transport.classes "
        "and closure.discriminants name these.",
    )
    zp128: str = Field(
        "zp128", description="Name of the output of the last hidden layer, of any width."
    )
    z10: str = Field("z10", description="Name of the output of the logits, one for each class.")

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("head.classes name a class twice")
        if self.zp128 == self.z10:
            raise ValueError(f"head.zp128 and head.z10 are both {self.z10}: they are two outputs")
        return self
