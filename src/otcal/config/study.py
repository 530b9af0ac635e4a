"""All settings: what config.yaml and a preset on top of it say together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from otcal.config.base import Block, describe
from otcal.config.closure import ClosureConfig
from otcal.config.figures import FiguresConfig
from otcal.config.simplex import SimplexStudy
from otcal.config.simulation import SimulationConfig
from otcal.config.splits import Splits
from otcal.config.tabulation import TablesConfig
from otcal.config.tagger import TaggerConfig
from otcal.config.transport import MapSpec, TransportConfig
from otcal.runtime.errors import InputError

DATASETS = ("training", "source", "target")
"""Datasets that the latent study needs; others are made but not used."""


class LatentStudy(Block):
    """Calibration of a tagger's latent space (Algren et al., arXiv:2507.08867)."""

    seed: int = Field(ge=0, lt=1 << 31, description="Seed of everything that is fitted.")
    simulation: SimulationConfig
    tagger: TaggerConfig
    splits: Splits = Field(
        Splits(),
        description="Of the source and target jets: what fits the map, stops it, and tests it.",
    )
    transport: TransportConfig
    closure: ClosureConfig = ClosureConfig()
    tables: TablesConfig = TablesConfig()
    figures: FiguresConfig = FiguresConfig()

    def map_spec(self) -> MapSpec:
        """Return the settings of `fit_map`: the map's, with the study's splits and seed."""
        return self.transport.map_spec(self.splits, self.seed)

    @model_validator(mode="after")
    def _datasets_exist(self) -> LatentStudy:
        datasets = self.simulation.datasets
        for name in DATASETS:
            if name not in datasets:
                raise ValueError(f"simulation.datasets needs: {', '.join(DATASETS)}; no '{name}'")
        for name in ("source", "target"):
            absent = set(self.transport.classes) - set(datasets[name].jets)
            if absent:
                raise ValueError(
                    f"dataset '{name}' has no jets of class {sorted(absent)[0]}, "
                    "which transport.classes asks to calibrate"
                )
        return self


class Settings(Block):
    """The whole configuration."""

    results: str = Field(
        pattern=r"^[^/].*[^/]$|^[^/]$",
        description="Directory of all outputs, relative to the working directory.",
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        description="Where networks are trained: auto takes a GPU where there is one."
    )
    latent: LatentStudy
    simplex: SimplexStudy


def load_settings(config: Mapping[str, Any], where: str = "config.yaml") -> Settings:
    """Validate the merged configuration.

    Raises
    ------
    InputError
        For a wrong, missing or unknown key; names it and what is allowed.
    """
    try:
        return Settings.model_validate(dict(config))
    except ValidationError as error:
        raise InputError(where, *describe(error, Settings)) from None
