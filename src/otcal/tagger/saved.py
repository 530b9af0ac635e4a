"""A trained tagger on disk: weights (safetensors) and their description (JSON beside them)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import Tensor

from otcal.config.base import describe
from otcal.config.tagger import Architecture
from otcal.runtime.errors import InputError
from otcal.runtime.weights import description_path, save_described
from otcal.samples.latents import LAYERS
from otcal.tagger.head import (
    FORMAT,
    put_weights,
    read_description,
    read_weights,
    weights_metadata,
)
from otcal.tagger.network import Tagger
from otcal.tagger.preprocessing import Preprocessing


@dataclass(frozen=True)
class SavedTagger:
    """A tagger ready for use, with what its inputs and outputs mean."""

    network: Tagger
    preprocessing: Preprocessing
    classes: tuple[str, ...]


def build(
    architecture: Architecture, preprocessing: Preprocessing, classes: Sequence[str]
) -> Tagger:
    """Return an untrained network of this architecture."""
    return Tagger(
        constituent_features=len(preprocessing.constituents),
        jet_features=len(preprocessing.jets),
        classes=len(classes),
        d_model=architecture.d_model,
        blocks=architecture.blocks,
        heads=architecture.heads,
        expansion=architecture.expansion,
        dropout=architecture.dropout,
        head=head_widths(architecture),
    )


def head_widths(architecture: Architecture) -> list[int]:
    """Return the widths of the head's hidden layers."""
    return [LAYERS["z128"]] * (architecture.head_layers - 1)


def save_tagger(
    path: str | Path,
    weights: Mapping[str, Tensor],
    architecture: Architecture,
    preprocessing: Preprocessing,
    classes: Sequence[str],
    provenance: Mapping[str, Any],
) -> None:
    """Write the weights to `path` and the description beside it (.json)."""
    description = {
        "format": FORMAT,
        "classes": list(classes),
        "head": head_widths(architecture),
        "architecture": architecture.model_dump(),
        "preprocessing": preprocessing.to_json(),
        "provenance": dict(provenance),
    }
    save_described(path, weights, description, weights_metadata())


def load_tagger(path: str | Path) -> SavedTagger:
    """Read a tagger for inference, on the CPU in float32.

    Raises
    ------
    InputError
        When a file is missing, is something else, or they do not belong together.
    """
    where = description_path(path)
    description = read_description(path)
    try:
        architecture = Architecture.model_validate(description["architecture"])
    except ValidationError as error:
        field, problem, remedy = describe(error, Architecture)
        raise InputError(where, f"architecture.{field}", problem, remedy) from None
    preprocessing = Preprocessing.from_json(description["preprocessing"], where)
    classes = tuple(description["classes"])
    network = build(architecture, preprocessing, classes)
    put_weights(network, read_weights(path), path)
    return SavedTagger(network.eval().requires_grad_(False), preprocessing, classes)
