"""Settings of the simplex study: scores, control regions, mixture fit, maps per flavour, closure.

[KY]: Kim, Yang, arXiv:2605.01363.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from otcal.config.base import Block
from otcal.config.bundle import BundleConfig
from otcal.config.degradation import Degradation
from otcal.config.figures import FiguresConfig
from otcal.config.mixture import MixtureConfig
from otcal.config.outputs import ReadScoresSpec
from otcal.config.samples import Holds, Samples, jets_by_process, require_classes, start
from otcal.config.scores import Floor, ScoreSpec
from otcal.config.simplex_closure import FlavourMaps, SimplexClosureConfig
from otcal.config.simplex_tabulation import SimplexTables
from otcal.config.simulation import SimulationConfig
from otcal.config.splits import Splits
from otcal.config.tagger import TaggerConfig
from otcal.config.uncertainty import UncertaintyConfig
from otcal.samples.flavours import FLAVOURS

DATASETS = ("training", "simulation", "data")
"""Datasets that the study needs: what trains the tagger, the MC, and what becomes pseudo-data."""
SIDES = ("simulation", "data")
"""Datasets whose scores are compared."""


class SimplexStudy(Block):
    """Calibration of flavour probabilities on the simplex ([KY])."""

    seed: int = Field(ge=0, lt=1 << 31, description="Seed of everything that is fitted.")
    simulation: SimulationConfig
    samples: Samples = Field(
        {}, description="Datasets that exist, by name: read from files instead of being simulated."
    )
    tagger: TaggerConfig
    pseudo_data: Degradation = Field(
        Degradation(),
        description="What makes pseudo-data of the jets of the dataset `data`; scores that are "
        "read stay as they are.",
    )
    floor: float | None = Floor
    splits: Splits = Field(
        Splits(),
        description="Of the simulated jets: what fits flows and maps, stops them, and tests them.",
    )
    mixture: MixtureConfig
    uncertainty: UncertaintyConfig = UncertaintyConfig()
    maps: FlavourMaps = FlavourMaps()
    closure: SimplexClosureConfig = SimplexClosureConfig()
    bundle: BundleConfig = BundleConfig()
    tables: SimplexTables = SimplexTables()
    figures: FiguresConfig = FiguresConfig()

    def jets(self, dataset: str) -> dict[str, int]:
        """Return how many jets of a dataset each process makes, or how many are read."""
        return jets_by_process(self.simulation, self.samples, dataset)

    @property
    def start(self) -> Holds:
        """What the study starts from: jets, or scores of a tagger that it does not have."""
        return start("simplex", self.samples, SIDES, "scores")

    def read_scores_spec(self, sample: str) -> ReadScoresSpec:
        """Return the settings of `read_scores` for a dataset that holds scores."""
        return ReadScoresSpec(
            where=f"simplex.samples.{sample}", files=self.samples[sample], floor=self.floor
        )

    def score_spec(self, sample: str) -> ScoreSpec:
        """Return the settings of `export_scores` for a dataset: only pseudo-data are degraded."""
        return ScoreSpec(
            inference=self.tagger.inference,
            degradation=self.pseudo_data if sample == "data" else None,
            floor=self.floor,
        )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        require_classes(self.samples, DATASETS)  # regions are mixed of data by their labels
        for name in DATASETS if self.start == "jets" else SIDES:
            if name not in self.simulation.datasets and name not in self.samples:
                raise ValueError(f"simulation.datasets needs: {', '.join(DATASETS)}; no '{name}'")
        if self.simulation.selection.flavours is None:
            raise ValueError("simulation.selection.flavours: this study labels jets by flavour")
        for key, names in (
            ("tagger.classes", self.tagger.classes),
            ("mixture.flavours", self.mixture.flavours),
        ):
            if names != FLAVOURS:
                raise ValueError(f"{key} must be {', '.join(FLAVOURS)}")
        return self
