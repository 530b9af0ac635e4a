"""Settings of the simulation: what is generated, how it is measured and which jets are kept."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from otcal.config.base import Block
from otcal.config.selection import Selection
from otcal.runtime.seeds import derive

ClassProcess = Literal["QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl"]
"""Process cards that fill the jet class of the same name."""
FlavourProcess = Literal["ttbar", "ttbar_charm"]
"""Process cards for jets that are labelled by flavour."""
Process = Literal[ClassProcess, FlavourProcess]

# Pythia's factors multiply mu^2 and must lie between 0.1 and 10.
ScaleFactor = Annotated[float, Field(ge=math.sqrt(0.1), le=math.sqrt(10.0))]


class Scales(Block):
    """Factors on renormalisation and factorisation scales, in mu (not mu^2)."""

    renormalisation: ScaleFactor = Field(
        1.0, description="Factor on mu_R, the argument of alpha_s; between 0.3162 and 3.1622."
    )
    factorisation: ScaleFactor = Field(
        1.0, description="Factor on mu_F, the scale of the PDFs; between 0.3162 and 3.1622."
    )


class Smearing(Block):
    """Growth of the impact-parameter resolution, between two relative bounds.

    How it depends on pT and eta: `otcal.simulation.variations.resolution_growth`.
    """

    minimum: float = Field(
        0.0, ge=0, le=2, description="Relative growth for stiff tracks at eta = 0; 0.1 is 10 %."
    )
    maximum: float = Field(
        0.0, ge=0, le=2, description="Relative growth for soft tracks at |eta| = 2.5; 0.3 is 30 %."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.maximum < self.minimum:
            raise ValueError("maximum must not be below minimum")
        return self


class Variation(Block):
    """One version of the simulated world; the defaults are the standard one.

    Multiparton interactions are never varied.
    """

    impact_parameter_smearing: Smearing = Field(
        Smearing(), description="Extra Gaussian on d0 and dz; their quoted errors grow with it."
    )
    hard_process: Scales = Field(Scales(), description="Scales of the hard scattering.")
    initial_state_shower: Scales = Field(Scales(), description="Scales of the spacelike shower.")
    final_state_shower: Scales = Field(Scales(), description="Scales of the timelike shower.")
    tracking_efficiency_loss: float = Field(
        0.0, ge=0, lt=1, description="Share of otherwise reconstructed tracks that is lost."
    )
    energy_scale: float = Field(
        1.0, gt=0, le=2, description="Factor on the energy that both calorimeters measure."
    )


class Detector(Block):
    """Switches of the detector.

    The three quirks, all on by default, are properties of the Delphes version behind JetClass.
    """

    impact_parameters: Literal["jetclass", "atlas"] = Field(
        "jetclass",
        description=(
            "Resolution of d0 and dz: the table of the JetClass card, or the formula of "
            "`otcal.simulation.detector.atlas`."
        ),
    )
    position_eta: bool = Field(
        True,
        description=(
            "Constituents of charged particles carry the pseudorapidity of the point where the "
            "track leaves the tracker instead of that of their momentum."
        ),
    )
    exact_track_momentum: bool = Field(
        True,
        description=(
            "The momentum smearing only decides which impact-parameter resolution is looked up; "
            "the track itself keeps its true momentum."
        ),
    )
    calorimeter_overrides_tracks: bool = Field(
        True,
        description=(
            "Tracks enter energy flow without weight: their energies are rescaled to the "
            "calorimeter's, and to nothing when the tower is below threshold."
        ),
    )


def _fills_a_class(process: Process, selection: Selection) -> None:
    """Raise `ValueError` when jets of a process cannot be labelled as `selection` says."""
    if selection.flavours is None and process not in selection.classes:
        raise ValueError(
            f"process '{process}' fills none of the classes {', '.join(selection.classes)}: "
            "set selection.flavours to label its jets by flavour"
        )


class ShardSpec(Block):
    """Everything that decides the bytes of one file of generated jets."""

    process: Process = Field(description="Process card.")
    variation: Variation = Field(Variation(), description="Version of the simulated world.")
    detector: Detector = Field(Detector(), description="Switches of the detector.")
    selection: Selection = Field(Selection(), description="Jets that are kept.")
    jets: int = Field(gt=0, lt=1 << 20, description="Number of jets to make.")
    seed: int = Field(ge=0, lt=1 << 31, description="Seed of the shard; part of its jets' ids.")
    batch: int = Field(
        50,
        gt=0,
        le=500,
        description="Events held in memory at once; changes the random stream of the detector.",
    )

    @model_validator(mode="after")
    def _labels_fit(self) -> Self:
        _fills_a_class(self.process, self.selection)
        return self


class Dataset(Block):
    """A set of shards."""

    variation: str = Field(description="Name of an entry of `variations`.")
    jets: dict[Process, int] = Field(description="Jets to make of each process.")

    @model_validator(mode="after")
    def _filled(self) -> Self:
        if not self.jets or min(self.jets.values()) <= 0:
            raise ValueError("every process needs at least one jet")
        return self


class SimulationConfig(Block):
    """Settings of the simulation stage as a user writes them."""

    seed: int = Field(
        ge=0, lt=1 << 31, description="Seed from which the seeds of all shards are derived."
    )
    jets_per_shard: int = Field(
        gt=0, lt=1 << 20, description="Most jets in one file; a failed job costs one file."
    )
    engine: Literal["array", "delphes"] = Field(
        "array",
        description="What measures the particles of an event: the JetClass detector as array code, "
        "or Delphes itself with the same card (`docs/own_data.md`).",
    )
    detector: Detector = Field(Detector(), description="Switches of the detector.")
    selection: Selection = Field(Selection(), description="Jets that are kept.")
    variations: dict[str, Variation] = Field(description="Versions of the world, by name.")
    datasets: dict[str, Dataset] = Field(description="Sets of jets, by name.")

    @model_validator(mode="after")
    def _delphes_can_do_it(self) -> Self:
        for name in ("exact_track_momentum", "calorimeter_overrides_tracks"):
            if self.engine == "delphes" and not getattr(self.detector, name):
                raise ValueError(
                    f"detector.{name} cannot be false with engine delphes: it follows from the "
                    "modules of the card"
                )
        return self

    @model_validator(mode="after")
    def _variations_exist(self) -> Self:
        for name, dataset in self.datasets.items():
            if dataset.variation not in self.variations:
                raise ValueError(
                    f"dataset '{name}' asks for variation '{dataset.variation}'; "
                    f"there are: {', '.join(self.variations)}"
                )
        return self

    @model_validator(mode="after")
    def _labels_fit(self) -> Self:
        for dataset in self.datasets.values():
            for process in dataset.jets:
                _fills_a_class(process, self.selection)
        return self

    @model_validator(mode="after")
    def _seeds_distinct(self) -> Self:
        seeds = [shard.seed for name in self.datasets for shard in self.shards(name).values()]
        if len(set(seeds)) < len(seeds):
            raise ValueError("two shards would get the same seed; choose another simulation.seed")
        return self

    def shards(self, dataset: str) -> dict[tuple[Process, int], ShardSpec]:
        """Return the shards of a dataset by (process, number); seeds follow from the names."""
        block = self.datasets[dataset]
        result: dict[tuple[Process, int], ShardSpec] = {}
        for process, jets in block.jets.items():
            for number, first in enumerate(range(0, jets, self.jets_per_shard)):
                result[process, number] = ShardSpec(
                    process=process,
                    variation=self.variations[block.variation],
                    detector=self.detector,
                    selection=self.selection,
                    jets=min(self.jets_per_shard, jets - first),
                    seed=derive(self.seed, dataset, process, number),
                )
        return result


class ValidationSpec(Block):
    """Settings of the comparison with JetClass."""

    goal: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="Largest Kolmogorov-Smirnov distance that counts as agreement.",
    )
    max_jets: int = Field(
        100_000,
        ge=1000,
        description="At most about this many jets, as many of each class, evenly from all files: "
        "twice the default study's, and enough to see a distance of 0.01.",
    )
