"""Settings of the export of a tagger's class probabilities."""

from __future__ import annotations

from pydantic import Field

from otcal.config.base import Block
from otcal.config.degradation import Degradation
from otcal.config.tagger import Inference

Floor = Field(
    None,
    gt=0,
    lt=0.1,
    description="smaller probabilities are raised to this one; null refuses a jet that has a "
    "probability of zero",
)


class ScoreSpec(Block):
    """What the step `export_scores` consumes."""

    inference: Inference = Field(Inference(), description="how the tagger is applied")
    degradation: Degradation | None = Field(
        None, description="what is done to the jets before the tagger sees them; null: nothing"
    )
    floor: float | None = Floor
