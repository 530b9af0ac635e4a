"""Numbers of the simplex study, by the keys of `otcal.closure.summary_keys`.

[KY]: Kim, Yang, arXiv:2605.01363.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from otcal.closure import summary
from otcal.closure.summary import Numbers, check, read_csv
from otcal.runtime.errors import InputError
from otcal.runtime.files import read_json

VALIDATION = "validation"
"""Region of equal shares, on which the closure is quoted."""


def from_tagger(path: str | Path) -> Numbers:
    """Return `simplex.tagger.*`: all numbers of a JSON file of metrics."""
    return summary.from_tagger(path, "simplex")


def from_extraction(path: str | Path) -> Numbers:
    """Return conditioning, iterations and the spread of the starts (`select_extraction`)."""
    content = read_json(path)
    try:
        names = content["regions"], content["flavours"]
        result = {
            "simplex.conditioning.kappa": content["kappa"],
            "simplex.fit.iterations": content["iterations"],
            "simplex.fit.converged": int(content["converged"]),
            "simplex.fit.starts": len(content["starts"]),
            **_cells("simplex.composition.fraction", names, content["pi"]),
            **_cells("simplex.composition.spread", names, content["spread"]),
        }
    except (KeyError, TypeError) as error:
        raise InputError(
            path, str(error), "is not in the file", "Pass the result of select_extraction"
        ) from None
    return check(result, path)


def from_feedback(path: str | Path) -> Numbers:
    """Return pulls and amplifications (`propagate_uncertainty`); infinite ones are left out."""
    content = read_json(path)
    try:
        names = content["regions"], content["flavours"]
        result = {
            "simplex.feedback.spectral_radius": content["F_spectral_radius"],
            **_cells("simplex.composition.error", names, content["sigma_pi"]),
        }
        for key, recipe in (("singular", "projected"), ("singular_plain", "plain")):
            values = content[recipe]["singular_values"]
            finite = {i: value for i, value in enumerate(values, 1) if value is not None}
            result |= {f"simplex.feedback.{key}.{i}": value for i, value in finite.items()}
        result["simplex.feedback.prior_dominated"] = sum(content["projected"]["prior_dominated"])
        if content["pulls"] is not None:
            result |= _cells("simplex.composition.pull", names, content["pulls"])
            for region, distance in zip(content["regions"], content["distance"], strict=True):
                result[f"simplex.composition.distance.{region}"] = distance
    except (KeyError, TypeError) as error:
        raise InputError(
            path, str(error), "is not in the file", "Pass the result of propagate_uncertainty"
        ) from None
    return check(result, path)


def from_closure(path: str | Path, region: str = VALIDATION) -> Numbers:
    """Return how close each calibration comes to the pseudo-data of a region.

    Parameters
    ----------
    path
        Metrics of the closure test (CSV).
    region
        Name of the region; by default the one that no fit has used.
    """
    columns = ["region", "discriminant", "kappa", "sample", "w1", "w1_floor", "in_band"]
    table = read_csv(path, columns)
    table = table[table["region"] == region]
    result: Numbers = {}
    for (name, kappa), rows in table.groupby(["discriminant", "kappa"], sort=False):
        by_sample = {row["sample"]: row for row in rows.to_dict("records")}
        if "simulation" not in by_sample:
            raise InputError(
                path, "sample", f"has no simulation for {name} at κ = {kappa:g}", "Make it again"
            )
        raw = by_sample.pop("simulation")
        where = f"{name}.{kappa:g}"
        result[f"simplex.closure.w1.{where}"] = raw["w1"]
        result[f"simplex.closure.w1_floor.{where}"] = raw["w1_floor"]
        for sample, row in by_sample.items():
            if sample == "calibrated":
                result[f"simplex.closure.w1_ratio.{where}"] = row["w1"] / raw["w1"]
                result[f"simplex.closure.in_band.{where}"] = row["in_band"]
            elif math.isfinite(row["w1"]):
                result[f"simplex.closure.w1_ratio_{sample}.{where}"] = row["w1"] / raw["w1"]
    return check(result, path)


def _cells(prefix: str, names: tuple[list[str], list[str]], rows: Any) -> Numbers:
    """Return the entries of a table, regions by flavours."""
    return dict(_entries(prefix, names, rows))


def _entries(
    prefix: str, names: tuple[list[str], list[str]], rows: Any
) -> Iterator[tuple[str, float]]:
    for region, row in zip(names[0], rows, strict=True):
        for flavour, value in zip(names[1], row, strict=True):
            yield f"{prefix}.{region}.{flavour}", value
