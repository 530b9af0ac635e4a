"""Scale factors of a finished latent study, from its files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from otcal.bundle.scale_factors import latent_correction_set
from otcal.config.bundle import LatentWorkingPoints
from otcal.config.closure import Discriminant
from otcal.runtime.errors import InputError
from otcal.runtime.files import read_json
from otcal.samples.latents import kind_of, read_latents


def latent_scale_factors(
    study: Path,
    labels: Mapping[str, int],
    shares: Mapping[str, float],
    spec: LatentWorkingPoints,
) -> tuple[str, list[Path]]:
    """Return factors from the jets that no map has seen, as JSON, and the files beside the source.

    Parameters
    ----------
    study
        Directory of its files.
    labels
        Label of each class that the map is for.
    shares
        Fractions of the splits.
    spec
        Working points.

    Raises
    ------
    InputError
        When a file is missing or damaged, when a class has no jets, or when source and calibrated
        jets are not the same.
    """
    source, calibrated, target = (
        study / f"latents/{name}.parquet" for name in ("source", "calibrated", "target")
    )
    closure = study / "closure/reweighting.json"
    samples: dict[Path, dict[str, NDArray[np.float64]]] = {}
    ids = {}
    for path in (source, calibrated, target):
        columns = ["jet_id", "label", "z10"]
        found = read_latents(path, columns, shares, "test", list(labels.values()))
        ids[path] = found["jet_id"]
        samples[path] = {
            name: found["z10"][found["label"] == label].astype(np.float64)
            for name, label in labels.items()
        }
        for name, logits in samples[path].items():
            if not len(logits):
                raise InputError(path, "label", f"no {name} jet is left to test", "Make more jets")
    if not np.array_equal(ids[source], ids[calibrated]):
        raise InputError(calibrated, "jet_id", f"is not that of {source}", "Run calibrate again")
    text = latent_correction_set(
        samples[source],
        samples[calibrated],
        samples[target],
        _discriminants(closure),
        kind_of(source).classes,
        spec,
    )
    return text, [calibrated, target, closure]


def _discriminants(closure: Path) -> list[Discriminant]:
    """Return the discriminants whose closure a study has measured."""
    try:
        entries = read_json(closure)["provenance"]["spec"]["discriminants"]
        return [Discriminant.model_validate(entry) for entry in entries]
    except (KeyError, TypeError, ValueError):
        raise InputError(
            closure, "provenance.spec.discriminants", "are missing", "Pass the output of reweight"
        ) from None
