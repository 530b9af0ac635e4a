"""The model card of a calibration bundle: what it calibrates, with which files, and where it holds.

A bundle is a directory: ``card.json`` (this card), ONNX models, and scale factors. It can be copied
anywhere; the card has the SHA-256 of every other file and of itself, so that a bundle is read whole
or not at all. Nothing here needs torch or the files' libraries.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from otcal.runtime.errors import InputError
from otcal.runtime.files import read_json, sha256, write_json

FORMAT = "otcal.bundle/2"
CARD = "card.json"
NOMINAL = "nominal"

_AGAIN = "Copy the whole bundle again, or export it again"

OUTSIDE = (
    "Each map has a validity range: the smallest and largest value of every input among the jets "
    "that it was fitted to. A jet outside of it is moved by the map's own continuation, which is "
    "monotone but not tested there, and its status says so. Jets that cannot be moved have NaN in "
    "all calibrated columns, and a status that says why."
)


UNITS = {"jet_pt": "GeV", "jet_energy": "GeV", "jet_phi": "rad"}
"""Units of conditions that have one."""


@dataclass(frozen=True)
class Range:
    """Smallest and largest values of an input among the jets that a map was fitted to, (d,)."""

    low: NDArray[np.float32]
    high: NDArray[np.float32]

    def contains(self, values: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return whether rows (n, d) are inside, shape (n,)."""
        return np.asarray(((values >= self.low) & (values <= self.high)).all(axis=1))


@dataclass(frozen=True)
class Head:
    """The layers after a latent, as a model."""

    file: str
    outputs: dict[str, int]
    """Names of its outputs, and their widths."""


@dataclass(frozen=True)
class Card:
    """What `otcal apply` needs to know of a bundle, and notes for its reader.

    Attributes
    ----------
    study
        Name of the study that the bundle is from.
    kind
        ``probabilities``: each of `columns` has one number per jet, together they sum to one;
        ``latent``: the only column has `width` numbers per jet.
    columns
        Names of the columns that are calibrated.
    width
        Numbers per jet in each of them.
    conditions
        Names of the columns that the maps depend on.
    floor
        Smaller probabilities are raised to this one; None leaves zeros without calibration.
    normalise
        Divide probabilities by their sum, as those were that the maps were fitted to: they are
        some of a tagger's with more classes.
    label
        Name of the column of the true label.
    labels
        Name of the map by label.
    maps
        File of the model by map and variation; `NOMINAL` is one of each map's.
    validity
        Range by map and column, conditions included.
    head
        Layers after the latent, when the bundle has them.
    notes
        Blocks for the reader: provenance, closure, uncertainties, …
    """

    study: str
    kind: Literal["probabilities", "latent"]
    columns: tuple[str, ...]
    width: int
    conditions: tuple[str, ...]
    floor: float | None
    normalise: bool
    label: str
    labels: dict[int, str]
    maps: dict[str, dict[str, str]]
    validity: dict[str, dict[str, Range]]
    head: Head | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def variations(self) -> list[str]:
        """Names of the variations, without the nominal one; every map has them all."""
        first = next(iter(self.maps.values()))
        return [name for name in first if name != NOMINAL]


def write_card(directory: Path, card: Card) -> None:
    """Write the card of the files that are in a directory, last of all files."""
    files = sorted(entry.name for entry in os.scandir(directory) if entry.name != CARD)
    content = {
        "format": FORMAT,
        "study": card.study,
        "inputs": {
            "kind": card.kind,
            "columns": list(card.columns),
            "width": card.width,
            "conditions": list(card.conditions),
            "floor": card.floor,
            "normalise": card.normalise,
            "units": {name: UNITS[name] for name in card.conditions if name in UNITS},
        },
        "labels": {
            "column": card.label,
            "maps": {str(value): name for value, name in card.labels.items()},
        },
        "maps": card.maps,
        "validity": {
            name: {
                column: {"low": found.low.tolist(), "high": found.high.tolist()}
                for column, found in ranges.items()
            }
            for name, ranges in card.validity.items()
        },
        "outside": OUTSIDE,
        "head": card.head and {"file": card.head.file, "outputs": card.head.outputs},
        "notes": card.notes,
        "files": {name: sha256(directory / name) for name in files},
    }
    write_json(directory / CARD, {**content, "sha256": _digest(content)})


def read_card(directory: str | Path) -> Card:
    """Read the card of a bundle and check all of the bundle's files.

    Raises
    ------
    InputError
        When the directory is no bundle or one of another version, or when a file is missing,
        changed, or not what the card says; names file and field.
    """
    directory = Path(directory)
    path = directory / CARD
    if not path.is_file():
        raise InputError(directory, CARD, "is not there", "Give the directory of `otcal export`")
    content = read_json(path)
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise InputError(
            path,
            "format",
            f"is {json.dumps(found)}, this version of otcal reads {FORMAT}",
            "Export the bundle again with this version, or use the version that wrote it",
        )
    given = content.pop("sha256", None)
    if given != _digest(content):
        raise InputError(path, "sha256", "is not that of the card's content", _AGAIN)
    try:
        card = _card(content)
        files: dict[str, str] = dict(content["files"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(path, "content", f"is not a card's ({error!r})", _AGAIN) from None
    _check_files(directory, card, files)
    return card


def _card(content: dict[str, Any]) -> Card:
    inputs, labels, head = content["inputs"], content["labels"], content["head"]
    return Card(
        study=content["study"],
        kind=inputs["kind"],
        columns=tuple(inputs["columns"]),
        width=inputs["width"],
        conditions=tuple(inputs["conditions"]),
        floor=inputs["floor"],
        normalise=inputs["normalise"],
        label=labels["column"],
        labels={int(value): name for value, name in labels["maps"].items()},
        maps={name: dict(files) for name, files in content["maps"].items()},
        validity={
            name: {
                column: Range(*(np.asarray(found[end], np.float32) for end in ("low", "high")))
                for column, found in ranges.items()
            }
            for name, ranges in content["validity"].items()
        },
        head=Head(head["file"], dict(head["outputs"])) if head else None,
        notes=content["notes"],
    )


def _check_files(directory: Path, card: Card, files: Mapping[str, str]) -> None:
    path = directory / CARD
    used = {file for one in card.maps.values() for file in one.values()}
    used |= {card.head.file} if card.head else set()
    for name in sorted(used - files.keys()):
        raise InputError(path, "files", f"do not list {name}", _AGAIN)
    for name in sorted(set(card.labels.values()) - card.maps.keys()):
        raise InputError(path, "labels", f"name the map {name}, which is not there", _AGAIN)
    for name, expected in files.items():
        if Path(name).name != name:
            raise InputError(path, "files", f"lists {name}, which is no plain name", _AGAIN)
        if not (directory / name).is_file():
            raise InputError(directory / name, "file", "does not exist", _AGAIN)
        if sha256(directory / name) != expected:
            raise InputError(directory / name, "SHA-256", "is not that of the card", _AGAIN)


def _digest(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
