"""Settings of what exists already: which files, in which layout, and what labels the jets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from glob import glob, has_magic
from pathlib import Path, PurePath
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from otcal.config.base import Block
from otcal.config.selection import Selection
from otcal.config.simulation import Detector, ShardSpec, SimulationConfig
from otcal.runtime.errors import InputError
from otcal.runtime.seeds import derive
from otcal.samples.classes import CLASSES
from otcal.samples.flavours import FLAVOURS

Format = Literal["jetclass", "upp", "ftag", "root", "parquet", "hdf5", "delphes"]
Holds = Literal["jets", "scores", "latents"]

FILES = "files"
"""Stands in the place of the process in the path of a shard that is read from a file."""
_ROW_BITS = 32


class Labels(Block):
    """Which class a jet is of: a column of numbers says so, or all jets are of one class."""

    column: str | None = Field(
        None, description="Name of the column; of a field in HDF5, jets/<name>."
    )
    values: dict[int, str | None] = Field(
        {},
        description="Class of each value of the column, one of the study's; null drops such jets. "
        "Any other value is an error.",
    )
    all: str | None = Field(
        None,
        description="Class of all jets, in place of column and values: for data without truth.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = [bool(self.column), bool(self.values), bool(self.all)]
        if given not in ([True, True, False], [False, False, True]):
            raise ValueError("labels need either column and values, or all: the class of all jets")
        return self

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes that jets can be of, each once."""
        named = [self.all] if self.all else self.values.values()
        return tuple(dict.fromkeys(name for name in named if name))


class Layout(Block):
    """How jets are stored in a file; `otcal.samples.readers` says what each format is."""

    format: Format = Field(
        description="jetclass: ROOT files of JetClass; upp: HDF5 of the top-pair data set "
        "(Zenodo 10371998); ftag: HDF5 with ATLAS's variables; root, parquet, hdf5: other files, "
        "with `columns` where their names are not ours. hdf5 has no jets, only what taggers made "
        "of them. delphes: ROOT files of events that Delphes wrote, of which jets are made with "
        "`simulation.selection` and `simulation.detector.position_eta`."
    )
    holds: Holds = Field(
        "jets",
        description="What the files have of each jet. jets: its constituents; scores (simplex "
        "study): the probabilities that a tagger gave it, p_b, p_c and p_light; latents (latent "
        "study, with `head`): a layer of a tagger, z128, whatever its width. With scores or "
        "latents no jets are simulated and no tagger is trained.",
    )
    tree: str = Field("tree", min_length=1, description="Name of the TTree in ROOT files.")
    columns: dict[str, str] = Field(
        {},
        description="Names in the file by our names, for those that differ from the format's own; "
        "of fields in HDF5, <data set>/<field>, and of other data sets there their path. z128 is "
        "a column of lists, or several of numbers: z_{0..127}.",
    )
    unit: Literal["GeV", "MeV"] | None = Field(
        None, description="Unit of momenta; null is that of the format: MeV for ftag, else GeV."
    )
    labels: Labels | None = Field(
        None,
        description="What labels the jets; null is what the format has: columns label_<class>, "
        "the hadron flavour of upp and ftag, of which jets of tau leptons (15) are dropped, or the "
        "generated particles of delphes, as in the simulation.",
    )
    normalise: bool = Field(
        False,
        description="Divide probabilities by their sum: for a tagger that has other classes too, "
        "which are left out.",
    )
    ignore_weights: bool = Field(
        False,
        description="Count every jet once although the files have a column whose name contains "
        "weight (of delphes: although the weights of events differ). Without it that is an error: "
        "a calibration made of jets that do not count alike would be one to the wrong spectrum.",
    )

    @model_validator(mode="after")
    def _fits_what_it_holds(self) -> Self:
        if self.holds == "jets" and self.format == "hdf5":
            raise ValueError("format hdf5 is not one of jets: those in HDF5 are upp or ftag")
        if self.format == "delphes":
            self._is_of_events()
        if self.holds != "scores" and self.normalise:
            raise ValueError("normalise is of probabilities: it needs holds: scores")
        # Classes of latents are those of the head.
        known = (*CLASSES, *FLAVOURS)
        for name in self.labels.classes if self.labels and self.holds != "latents" else ():
            if name not in known:
                raise ValueError(f"labels name {name}, which is not one of {', '.join(known)}")
        return self

    def _is_of_events(self) -> None:
        """Raise `ValueError` for what has no meaning in files of events."""
        if self.holds != "jets":
            raise ValueError("format delphes holds jets: what taggers made of them is elsewhere")
        if self.columns or self.unit or self.tree != Layout.model_fields["tree"].default:
            raise ValueError(
                "columns, unit and tree are none of format delphes, whose branches are known: "
                "leave them out"
            )
        if self.labels is not None and not self.labels.all:
            raise ValueError(
                "labels.column: format delphes has no jets that a column could label; leave labels "
                "out, for labels by the generated particles, or give one class for all jets"
            )


class PartSpec(Block):
    """Which part of a file is read into one file of jets."""

    file: str = Field(description="File to read.")
    like: str = Field(description="File of the same dataset that it must go together with.")
    part: int = Field(ge=0, description="Which of `parts`, from 0.")
    parts: int = Field(gt=0, description="Consecutive parts of the file, of equal length.")
    first_id: int = Field(ge=0, description="Id of the file's first jet, if it has no ids.")
    jets: int | None = Field(
        None,
        gt=0,
        exclude=True,  # decides no bytes: another expectation makes nothing stale
        description="Expected jets of the part, for estimates.",
    )

    def entries(self, rows: int) -> tuple[int, int]:
        """Return first and last (exclusive) row of the part of a file with so many rows."""
        return rows * self.part // self.parts, rows * (self.part + 1) // self.parts


class ReadSpec(PartSpec):
    """Everything that decides the bytes of one file of jets that were read from another one."""

    layout: Layout
    classes: tuple[str, ...] = Field(description="Names of the classes of the study.")


class ReadDelphesSpec(PartSpec):
    """Everything that decides the bytes of one file of jets that were made of Delphes' events."""

    selection: Selection = Field(description="Jets that are kept, and what labels them.")
    position_eta: bool = Field(description="As that of `Detector`.")
    label: str | None = Field(description="Class of all jets; null labels them by the truth.")
    ignore_weights: bool = Field(description="Count events alike although their weights differ.")


class Files(Layout):
    """A dataset that exists: it is read from files instead of being simulated."""

    files: tuple[str, ...] = Field(
        min_length=1,
        description="Paths, or patterns with *, ?, [] and ** (any depth), relative to the "
        "working directory.",
    )
    jets: int = Field(
        gt=0,
        description="How many jets these are, about: memory and time of jobs are asked for by it. "
        "All jets are read, whatever it says.",
    )
    parts: int = Field(
        1,
        ge=1,
        le=1000,
        description="Jobs that read a file of jets, each a part of it, for large files; scores and "
        "latents are read by one.",
    )
    take: tuple[int, int] | None = Field(
        None,
        description="Parts of each file that are read, from one to another (exclusive, from 0); "
        "null reads all. For two datasets of one file.",
    )

    @model_validator(mode="after")
    def _some_parts(self) -> Self:
        first, last = self.taken
        if not 0 <= first < last <= self.parts:
            raise ValueError(f"take must be two numbers from 0 to {self.parts} (parts), in order")
        return self

    @property
    def taken(self) -> tuple[int, int]:
        """First and last (exclusive) part of each file that is read."""
        return self.take or (0, self.parts)

    def found(self, where: str) -> dict[str, str]:
        """Return the files by their names, in order.

        A name is the path below the fixed part of a pattern: it stays when all is moved elsewhere.

        Raises
        ------
        InputError
            For a pattern without files, or two files of the same name.
        """
        result: dict[str, str] = {}
        for pattern in self.files:
            matches = glob(pattern, recursive=True)  # noqa: PTH207 (Path.glob takes no absolute one)
            paths = sorted(path for path in matches if Path(path).is_file())
            if not paths:
                raise InputError(
                    where,
                    pattern,
                    "matches no file",
                    f"Paths are relative to {Path.cwd()}: correct the pattern or fetch the files",
                )
            for path in paths:
                name = PurePath(path).relative_to(_fixed(pattern)).as_posix()
                if result.setdefault(name, path) != path:
                    raise InputError(
                        where,
                        pattern,
                        f"'{result[name]}' and '{path}' are both named {name}, and jets are "
                        "numbered by these names",
                        "Let one pattern with * match their directories, or rename one",
                    )
        return result

    @property
    def step(self) -> Literal["read_jets", "read_delphes"]:
        """Step that reads files of jets: that for Delphes needs the code that makes jets."""
        return "read_delphes" if self.format == "delphes" else "read_jets"

    def shards(
        self, where: str, selection: Selection, detector: Detector
    ) -> dict[tuple[str, int], ReadSpec | ReadDelphesSpec]:
        """Return what is read into each shard of jets by (`FILES`, number); errors as `found`.

        Parameters
        ----------
        where
            Name of the block in error messages.
        selection, detector
            Those of the study: its classes, and how jets are made of events.
        """
        files = self.found(where)
        first_ids = _first_ids(files, where)
        kind, settings = self._reading(selection, detector)
        jobs = [(name, part) for name in files for part in range(*self.taken)]
        return {
            (FILES, number): kind(
                **settings,
                file=files[name],
                like=next(iter(files.values())),
                part=part,
                parts=self.parts,
                first_id=first_ids[name],
                jets=-(-self.jets // len(jobs)),
            )
            for number, (name, part) in enumerate(jobs)
        }

    def _reading(
        self, selection: Selection, detector: Detector
    ) -> tuple[type[ReadSpec | ReadDelphesSpec], dict[str, Any]]:
        """Return what kind of settings reads the files, and those that all parts share."""
        if self.step == "read_jets":
            layout = Layout.model_validate(self.model_dump(include=set(Layout.model_fields)))
            return ReadSpec, {"layout": layout, "classes": selection.classes}
        return ReadDelphesSpec, {
            "selection": selection,
            "position_eta": detector.position_eta,
            "label": self.labels.all if self.labels else None,
            "ignore_weights": self.ignore_weights,
        }

    def with_ids(self, where: str) -> dict[str, tuple[str, int]]:
        """Return path, and the id of the first row, of each file by its name; errors as `found`."""
        files = self.found(where)
        first_ids = _first_ids(files, where)
        return {name: (path, first_ids[name]) for name, path in files.items()}

    def rows(self, rows: int) -> tuple[int, int]:
        """Return first and last (exclusive) row of `taken` of a file with so many rows."""
        first, last = self.taken
        return rows * first // self.parts, rows * last // self.parts


Samples = dict[str, Files]
Shard = ShardSpec | ReadSpec | ReadDelphesSpec


def _first_ids(files: Mapping[str, str], where: str) -> dict[str, int]:
    """Return the id of the first jet of each file, which follows from its name."""
    first_ids = {name: derive(0, "file of jets", name) << _ROW_BITS for name in files}
    if len(set(first_ids.values())) < len(files):
        raise InputError(where, "files", "two get the same ids by chance", "Rename one of them")
    return first_ids


def start(study: str, samples: Mapping[str, Files], sides: tuple[str, str], holds: Holds) -> Holds:
    """Return what a study starts from: jets, or what a tagger made of them.

    Parameters
    ----------
    study
        Its name, for error messages.
    samples
        Its datasets that exist.
    sides
        The two datasets that are compared.
    holds
        What of taggers the study can start from.

    Raises
    ------
    ValueError
        When datasets hold something else, or only one side does.
    """
    late = {name: one.holds for name, one in samples.items() if one.holds != "jets"}
    for name, found in late.items():
        if name not in sides or found != holds:
            raise ValueError(
                f"samples.{name}.holds is {found}: in the {study} study only "
                f"{' and '.join(sides)} can hold {holds}, the others hold jets"
            )
    if len(late) == 1:
        (one,) = late
        other = sides[1 - sides.index(one)]
        raise ValueError(
            f"samples.{one} holds {holds}, but {other} is to be made of jets by another tagger: "
            f"set samples.{other} as well, of the same tagger"
        )
    return holds if late else "jets"


def require_classes(samples: Mapping[str, Files], names: Sequence[str]) -> None:
    """Raise `ValueError` when one of these datasets, which need all classes, is of one."""
    for name in names:
        labels = samples[name].labels if name in samples else None
        if labels is not None and labels.all:
            raise ValueError(
                f"samples.{name}.labels.all: this dataset needs jets of every class of its study: "
                "name the column and values that tell them apart"
            )


def _fixed(pattern: str) -> PurePath:
    """Return the directories of a pattern that come before the first wildcard."""
    parts = PurePath(pattern).parts[:-1]
    number = next((i for i, part in enumerate(parts) if has_magic(part)), len(parts))
    return PurePath(*parts[:number])


def shards(
    study: str, simulation: SimulationConfig, samples: Mapping[str, Files]
) -> dict[str, dict[tuple[str, int], Shard]]:
    """Return the shards of all datasets of jets of a study, by dataset and then (process, number).

    Datasets of `samples` are read from files, those of `simulation` that are not there are made.
    Those that hold no jets have no shards.

    Raises
    ------
    InputError
        For a pattern without files, or two files of the same name.
    """
    result: dict[str, dict[tuple[str, int], Shard]] = {}
    for name in simulation.datasets.keys() - samples:
        result[name] = dict(simulation.shards(name).items())
    for name, files in samples.items():
        if files.holds != "jets":
            continue
        where = f"{study}.samples.{name}"
        made = files.shards(where, simulation.selection, simulation.detector)
        result[name] = dict(made.items())
    return result


def jets_by_process(
    simulation: SimulationConfig, samples: Mapping[str, Files], dataset: str
) -> dict[str, int]:
    """Return how many jets of a dataset are made by each process, or read (`FILES`)."""
    if dataset in samples:
        return {FILES: samples[dataset].jets}
    return {str(name): count for name, count in simulation.datasets[dataset].jets.items()}
