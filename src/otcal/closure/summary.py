"""The machine-readable summary of a study: flat dotted keys and finite numbers.

Every key is documented once, in `otcal.closure.summary_keys`; no other can be written.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from otcal.closure.summary_keys import documentation
from otcal.runtime.errors import InputError
from otcal.runtime.files import read_json

Numbers = dict[str, float]


def check(content: Mapping[str, Any], where: str | Path) -> Numbers:
    """Return the numbers when all keys are documented and all values finite.

    Raises
    ------
    InputError
        For a key without documentation, or a value that is not a finite number.
    """
    for key, value in content.items():
        try:
            documentation(key)
        except KeyError as error:
            raise InputError(
                where, key, str(error.args[0]), "Correct the file, or document the key"
            ) from None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(where, key, f"is not a number: {value!r}", "Make the file again")
        if not math.isfinite(value):
            raise InputError(where, key, f"is {value}", "Make the file again")
    return dict(content)


def from_auc(path: str | Path) -> Numbers:
    """Return the keys `latent.auc.*` of the table that `collect_discriminators` writes."""
    columns = ["layer", "evaluation", "model", "auc", "std", "stat", "n_other", "n_target"]
    table = read_csv(path, columns)
    result: Numbers = {}
    for row in table.to_dict("records"):
        key = f"latent.auc.{row['layer']}.{row['evaluation']}.{row['model']}"
        result |= {key: row["auc"], f"{key}.std": row["std"], f"{key}.stat": row["stat"]}
    nominal = table[table["evaluation"] == "nominal"]
    if len(nominal):
        result["latent.auc.jets"] = int(nominal[["n_other", "n_target"]].to_numpy().min())
    return check(result, path)


def from_reweighting(path: str | Path) -> Numbers:
    """Return the keys of `reweight`'s result: `latent.dilution.*` and the reweighted AUCs."""
    content = read_json(path)
    names = {
        "rho": "rho",
        "rho.std": "rho_std",
        "rho.stat": "rho_stat",
        **{name: name for name in ("rho_raw", "jets", "effective_jets", "max_weight")},
    }
    try:
        result = {f"latent.dilution.{key}": content[name] for key, name in names.items()}
        for name in ("slope", "error", "error_raw"):
            result[f"latent.dilution.{name}"] = content["calibration"][name]
        for layer, area in content["auc"].items():
            key = f"latent.auc.{layer}.reweighted.mlp"
            result |= {key: area["auc"], f"{key}.std": area["std"], f"{key}.stat": area["stat"]}
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            path, str(error), "is not in the file", "Pass the result of the step reweight"
        ) from None
    return check(result, path)


def from_distances(path: str | Path) -> Numbers:
    """Return the keys of `reweight`'s table of distances."""
    table = read_csv(path, ["space", "quantity", "sample", "metric", "value", "noise"])
    result: Numbers = {}
    for row in table.to_dict("records"):
        if row["metric"] == "ks":
            key = f"latent.{row['space']}s.ks.{row['quantity']}.{row['sample']}"
            result[f"{key}.noise"] = row["noise"]
        else:
            key = f"latent.{row['metric']}.{row['space']}.{row['sample']}"
        result[key] = row["value"]
    return check(result, path)


def from_validation(path: str | Path) -> Numbers:
    """Return `latent.inputs.ks.<feature>` of a table with the columns feature and ks."""
    table = read_csv(path, ["feature", "ks"])
    result = {f"latent.inputs.ks.{row['feature']}": row["ks"] for row in table.to_dict("records")}
    return check(result, path)


def from_tagger(path: str | Path, study: str = "latent") -> Numbers:
    """Return `<study>.tagger.*`: all numbers of a JSON file of metrics."""
    return check(dict(_flatten(read_json(path), f"{study}.tagger")), path)


def from_map(path: str | Path) -> Numbers:
    """Return `latent.map.*`: the diagnostics in a map's description."""
    content = read_json(path)
    try:
        diagnostics = content["notes"]["diagnostics"]
    except (KeyError, TypeError):
        raise InputError(
            path, "notes.diagnostics", "is not in the file", "Pass the description of a map"
        ) from None
    return check(dict(_flatten(diagnostics, "latent.map")), path)


def merge(parts: Mapping[str, Path]) -> Numbers:
    """Join the summaries of several studies, keys sorted.

    Parameters
    ----------
    parts
        Files by study, which is the first part of all their keys.

    Raises
    ------
    InputError
        When a file holds a key of another study.
    """
    merged: Numbers = {}
    for study, path in parts.items():
        content = check(read_json(path), path)
        for key in content:
            if not key.startswith(f"{study}."):
                raise InputError(path, key, f"does not belong to {study}", "Make the file again")
        merged |= content
    return dict(sorted(merged.items()))


def read_csv(path: str | Path, columns: list[str]) -> pd.DataFrame:
    """Read a CSV file that has these columns; `InputError` otherwise."""
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise InputError(path, "file", f"cannot be read ({error})", "Make it again") from None
    for name in columns:
        if name not in table:
            there = ", ".join(map(str, table.columns))
            raise InputError(path, name, "column is missing", f"The file has: {there}")
    return table


def _flatten(tree: Any, prefix: str) -> Iterator[tuple[str, float]]:
    """Yield the numbers of nested dicts; lists, words and provenance are left out."""
    for key, value in tree.items():
        if isinstance(value, dict) and key != "provenance":
            yield from _flatten(value, f"{prefix}.{key}")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}.{key}", value
