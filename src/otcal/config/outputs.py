"""Settings of the steps that read what somebody's tagger made of jets."""

from __future__ import annotations

from pydantic import Field

from otcal.config.base import Block
from otcal.config.samples import Files
from otcal.config.scores import Floor


class ReadLatentsSpec(Block):
    """What the step `read_latents` consumes."""

    where: str = Field(description="Name of the block of `samples` in error messages.")
    files: Files = Field(description="Which files, and how they are meant.")


class ReadScoresSpec(Block):
    """What the step `read_scores` consumes."""

    where: str = Field(description="Name of the block of `samples` in error messages.")
    files: Files = Field(description="Which files, and how they are meant.")
    floor: float | None = Floor
