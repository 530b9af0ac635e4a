"""Versions of the same simulated jets: raw, moved by maps, weighted; mixed into regions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otcal.closure.simplex_closure import Region
from otcal.closure.simplex_jets import CALIBRATED, DATA, RAW, FlavourJets, Sample
from otcal.runtime.errors import InputError
from otcal.runtime.files import read_json, sha256

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

ORDER = (RAW, CALIBRATED, DATA, "truth_target", "reweighted", "binned_sf", "logit_space")
"""Samples in the order of the tables."""


def assemble(
    name: str,
    data: Array,
    flavours: Sequence[FlavourJets],
    rows: Sequence[Rows],
    strata: NDArray[Any] | None = None,
) -> Region:
    """Mix chosen jets of all flavours into a region.

    Parameters
    ----------
    name
        Name of the region.
    data
        Probabilities of its data jets, shape (M, K).
    flavours, rows
        Jets of each flavour, and the positions of those that enter.
    strata
        Flavours of the data jets, shape (M,); None where they are not known.
    """
    moved = [flavour.moved for flavour in flavours]
    samples = {key: Sample(_mixed(moved, key, rows)) for key in moved[0]}
    weights = [flavour.weights for flavour in flavours]
    for key in weights[0]:
        samples[key] = Sample(samples[RAW].p, _balanced(weights, key, rows))
    samples[DATA] = Sample(data)
    ordered = {key: samples[key] for key in ORDER if key in samples}
    return Region(name, ordered, np.array([len(chosen) for chosen in rows]), strata)


def pair_names(names: Sequence[str], where: str | Path) -> list[tuple[str, str]]:
    """Return (`x_up`, `x_down`) for variations that come in such pairs.

    Raises
    ------
    InputError
        When one has no partner.
    """
    stems = dict.fromkeys(name.rsplit("_", 1)[0] for name in names)
    for stem in stems:
        for name in (f"{stem}_up", f"{stem}_down"):
            if name not in names:
                raise InputError(
                    where, "variation", f"'{name}' is missing", "Make variations in pairs"
                )
    return [(f"{stem}_up", f"{stem}_down") for stem in stems]


def variation_files(path: Path) -> dict[str, Path]:
    """Return the maps of a flavour's variations by name, from the list of `vary_flavour_maps`.

    Raises
    ------
    InputError
        When a map is missing or not the one that the list was written for.
    """
    content = read_json(path)
    files = {}
    try:
        entries: list[dict[str, Any]] = content["maps"]
        for entry in entries:
            files[entry["variation"]] = path.parent / entry["file"]
            whole = files[entry["variation"]].exists()
            if not whole or sha256(files[entry["variation"]]) != entry["sha256"]:
                raise InputError(
                    files[entry["variation"]],
                    "file",
                    f"is not the map that {path.name} lists",
                    "Run vary_flavour_maps again",
                )
    except (KeyError, TypeError):
        raise InputError(
            path, "maps", "is not a list of maps", "Pass the output of vary_flavour_maps"
        ) from None
    return files


def _mixed(versions: Sequence[dict[str, Array]], key: str, rows: Sequence[Rows]) -> Array:
    return np.concatenate([one[key][chosen] for one, chosen in zip(versions, rows, strict=True)])


def _balanced(versions: Sequence[dict[str, Array]], key: str, rows: Sequence[Rows]) -> Array:
    """Return weights of mean one per flavour among the jets that entered: composition stays."""
    chosen = [one[key][which] for one, which in zip(versions, rows, strict=True)]
    return np.concatenate([w / w.mean() if len(w) else w for w in chosen])
