"""All settings: what config.yaml and a preset on top of it say together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from otcal.config.base import Block, describe
from otcal.config.bins import bin_columns, named_bins
from otcal.config.bundle import LatentBundleConfig
from otcal.config.closure import DRAWN, MIN_JETS, BinsSpec, ClosureConfig
from otcal.config.figures import FiguresConfig
from otcal.config.head import HeadConfig
from otcal.config.outputs import ReadLatentsSpec
from otcal.config.samples import FILES, Holds, Samples, jets_by_process, require_classes, start
from otcal.config.simplex import SimplexStudy
from otcal.config.simulation import SimulationConfig
from otcal.config.splits import Splits
from otcal.config.tabulation import TablesConfig
from otcal.config.tagger import TaggerConfig
from otcal.config.transport import MapSpec, TransportConfig
from otcal.runtime.errors import InputError
from otcal.samples.classes import CLASSES

DATASETS = ("training", "source", "target")
"""Datasets that the latent study needs; others are made but not used."""

SIDES = ("source", "target")
"""Datasets whose latents are compared."""

FEWEST = {"tagger": 1, "map": 10, "discriminators": MIN_JETS}
"""Jets that a step needs: the tagger of each class in each split, the map of each sample in each
split, the discriminators of each sample in each fold of the test split."""


class LatentStudy(Block):
    """Calibration of a tagger's latent space (Algren et al., arXiv:2507.08867)."""

    seed: int = Field(ge=0, lt=1 << 31, description="Seed of everything that is fitted.")
    simulation: SimulationConfig
    samples: Samples = Field(
        {}, description="Datasets that exist, by name: read from files instead of being simulated."
    )
    head: HeadConfig | None = Field(
        None, description="With samples that hold latents: what makes logits of them."
    )
    tagger: TaggerConfig
    splits: Splits = Field(
        Splits(),
        description="Of the source and target jets: what fits the map, stops it, and tests it.",
    )
    transport: TransportConfig
    closure: ClosureConfig = ClosureConfig()
    tables: TablesConfig = TablesConfig()
    bundle: LatentBundleConfig = LatentBundleConfig()
    figures: FiguresConfig = FiguresConfig()

    def jets(self, dataset: str) -> dict[str, int]:
        """Return how many jets of a dataset each process makes, or how many are read."""
        return jets_by_process(self.simulation, self.samples, dataset)

    @property
    def start(self) -> Holds:
        """What the study starts from: jets, or latents of a tagger that it does not have."""
        return start("latent", self.samples, SIDES, "latents")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the tagger's classes."""
        return CLASSES if self.head is None else self.head.classes

    def read_latents_spec(self, dataset: str) -> ReadLatentsSpec:
        """Return the settings of `read_latents` for a dataset that holds latents."""
        return ReadLatentsSpec(where=f"latent.samples.{dataset}", files=self.samples[dataset])

    def map_spec(self) -> MapSpec:
        """Return the settings of `fit_map`: the map's, with the study's splits and seed."""
        return self.transport.map_spec(self.splits, self.seed)

    def compared_map_spec(self, name: str) -> MapSpec:
        """Return the settings of a map that is compared in `closure.bins`.

        Parameters
        ----------
        name
            `inclusive`: one map for all jets; `conditional`: one that depends on the columns of the
            bins; or the name of a bin (`otcal.config.bins.named_bins`): a map of its jets alone.
        """
        bins, spec = self.closure.bins, self.map_spec()
        changes: dict[str, Any] = {"conditions": bin_columns(bins) if name == "conditional" else ()}
        if name in named_bins(bins):
            column, *limits = named_bins(bins)[name]
            changes["ranges"] = {column: tuple(limits)}
        return MapSpec(**{**spec.model_dump(exclude_unset=True), **changes})

    def bins_spec(self) -> BinsSpec:
        """Return the settings of `measure_bins`."""
        jets = self.closure.selection(self.splits.fractions(), self.transport.classes)
        closure = self.closure
        return BinsSpec(
            jets=jets, bins=closure.bins, distances=closure.distances, layer=self.transport.layer
        )

    @model_validator(mode="after")
    def _layer_has_a_head(self) -> LatentStudy:
        if self.transport.layer != "z128":
            raise ValueError(
                f"transport.layer must be z128, not {self.transport.layer}: the rest of the "
                "tagger's head is run again from there"
            )
        return self

    @model_validator(mode="after")
    def _head_of_latents(self) -> LatentStudy:
        if self.start == "latents" and self.head is None:
            raise ValueError(
                "samples hold latents, so that head is needed: the layers after the latent as an "
                "ONNX model, which make logits of moved latents"
            )
        if self.start == "jets" and self.head is not None:
            raise ValueError("head is of samples that hold latents; there are none")
        return self

    @model_validator(mode="after")
    def _classes_exist(self) -> LatentStudy:
        named = {"transport.classes": self.transport.classes}
        for entry in self.closure.discriminants:
            named[f"closure.discriminants: {entry.name}"] = (*entry.signal, *entry.background)
        for dataset, files in self.samples.items():
            if files.labels:
                named[f"samples.{dataset}.labels"] = files.labels.classes
        for key, names in named.items():
            unknown = [name for name in names if name not in self.classes]
            if unknown:
                raise ValueError(
                    f"{key}: {unknown[0]} is none of the tagger's classes, which are "
                    f"{', '.join(self.classes)}"
                )
        if self.start == "jets" and self.closure.undrawn:
            raise ValueError(
                f"closure.discriminants: none is named {self.closure.undrawn[0]}; the figures show "
                f"{', '.join(DRAWN)}"
            )
        return self

    @model_validator(mode="after")
    def _datasets_exist(self) -> LatentStudy:
        require_classes(self.samples, ["training"])
        for name in DATASETS if self.start == "jets" else SIDES:
            if name not in self.simulation.datasets and name not in self.samples:
                raise ValueError(f"simulation.datasets needs: {', '.join(DATASETS)}; no '{name}'")
        training = self.jets("training") if self.start == "jets" else CLASSES
        unseen = [name for name in CLASSES if name not in training]
        if unseen and FILES not in training:  # of files their reader knows
            raise ValueError(
                f"simulation.datasets.training.jets needs all of {', '.join(CLASSES)}; "
                f"no '{unseen[0]}'"
            )
        for name in ("source", "target"):
            jets = self.jets(name)
            absent = set(self.transport.classes) - set(jets)
            if absent and FILES not in jets:
                raise ValueError(
                    f"dataset '{name}' has no jets of class {sorted(absent)[0]}, "
                    "which transport.classes asks to calibrate"
                )
        return self

    @model_validator(mode="after")
    def _enough_jets(self) -> LatentStudy:
        for step, dataset, expected, share in self._expected_jets():
            if expected < FEWEST[step]:
                raise ValueError(
                    f"{self._block(dataset)}.{dataset}.jets leaves about {expected:.3g} jets for "
                    f"{share}; the {step} cannot be fitted with fewer than {FEWEST[step]}: make "
                    "more jets, or raise that share"
                )
        return self

    def _block(self, dataset: str) -> str:
        return "samples" if dataset in self.samples else "simulation.datasets"

    def _expected_jets(self) -> Iterator[tuple[str, str, float, str]]:
        """Yield step, dataset, expected jets, and the share that they are."""
        if self.start == "jets":
            jets = self.jets("training")
            rarest = jets[FILES] / len(CLASSES) if FILES in jets else min(jets.values())
            for split, share in self.tagger.splits.fractions().items():
                where = f"tagger.splits.{split} of the rarest class"
                yield "tagger", "training", rarest * share, where
        for name in ("source", "target"):
            counted = (*self.transport.classes, FILES)
            count = sum(count for label, count in self.jets(name).items() if label in counted)
            for split in ("train", "validation"):
                yield "map", name, count * getattr(self.splits, split), f"splits.{split}"
            # The floor tells one half of the target from the other.
            tested = count * self.splits.test * (0.5 if name == "target" else 1.0)
            for fold, share in self.closure.folds.fractions().items():
                where = f"closure.folds.{fold} of splits.test"
                yield "discriminators", name, tested * share, where


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
