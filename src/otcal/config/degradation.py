"""Settings of the degradation that turns simulated jets into pseudo-data."""

from __future__ import annotations

from pydantic import Field

from otcal.config.base import Block

_WIDTH = "Width of the Gaussian that is added to {}, in units of the track's own quoted error."


class Degradation(Block):
    """How much worse pseudo-data are measured than the simulation (Kim, Yang, arXiv:2605.01363).

    The quoted errors stay what they are, and the tagger is not told. See
    `otcal.simulation.degradation`.
    """

    seed: int = Field(
        1,
        ge=0,
        lt=1 << 31,
        description="Seed of the random numbers, which each jet draws from a stream of its own.",
    )
    d0val: float = Field(0.5, ge=0, le=10, description=_WIDTH.format("d0"))
    dzval: float = Field(0.5, ge=0, le=10, description=_WIDTH.format("dz"))
    dropout: float = Field(
        0.05, ge=0, lt=1, description="Share of the tracks that is lost; a jet keeps at least one."
    )
