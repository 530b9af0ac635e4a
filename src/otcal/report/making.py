"""How the results were made: code, seeds, packages, input files and running times."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

import yaml

from otcal.runtime.errors import InputError
from otcal.runtime.files import read_json
from otcal.samples.tables import read_provenance


@dataclass
class Step:
    """All the outputs that one step left."""

    name: str
    outputs: int = 0
    versions: set[str] = field(default_factory=set)
    seeds: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Timing:
    """What one rule cost, over all its jobs."""

    rule: str
    jobs: int
    seconds: float
    memory_mb: float | None


def read_records(paths: Iterable[str | Path]) -> list[dict[str, Any]]:
    """Read where outputs came from: from a sidecar, Parquet metadata, or a JSON file itself.

    Raises
    ------
    InputError
        When a file carries none.
    """
    records = []
    for path in map(Path, paths):
        content = _record(path)
        if not isinstance(content, dict) or not {"step", "version", "inputs"} <= content.keys():
            raise InputError(path, "provenance", "is not there", "Make the file again with otcal")
        records.append(content)
    return records


def _record(path: Path) -> Any:
    sidecar = path.with_name(f"{path.name}.provenance.json")
    if sidecar.is_file():
        return read_json(sidecar)
    if path.suffix == ".parquet":
        return read_provenance(path)
    content = read_json(path)
    if not isinstance(content, dict):
        return None
    notes = content.get("notes", {})
    return content.get("provenance") or notes.get("provenance") or content


def steps(records: Iterable[dict[str, Any]]) -> list[Step]:
    """Return one entry per step, in the order of the records."""
    found: dict[str, Step] = {}
    for record in records:
        step = found.setdefault(record["step"], Step(record["step"]))
        step.outputs += 1
        revision = record.get("revision")
        step.versions.add(f"{record['version']} ({revision})" if revision else record["version"])
        if record.get("seed") is not None:
            step.seeds.add(record["seed"])
    return list(found.values())


def input_files(records: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Return the SHA-256 checksum of every file that a step read, sorted by name."""
    return dict(sorted({name: sha for r in records for name, sha in r["inputs"].items()}.items()))


def packages() -> dict[str, str]:
    """Return the installed versions of the packages that otcal requires."""
    needed = [text for text in requires("otcal") or [] if "extra ==" not in text]
    names = sorted({re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in needed}, key=str.lower)
    return {name: version(name) for name in names}


def timings(directory: str | Path | None) -> list[Timing]:
    """Add up Snakemake's benchmark files below a directory, longest first.

    The first part of a file's path below the directory names its rule. A directory that is not
    there has no timings: they are no part of the result.
    """
    rows: dict[str, list[dict[str, str]]] = {}
    if directory is not None and Path(directory).is_dir():
        for path in sorted(Path(directory).rglob("*.tsv")):
            rule = path.relative_to(directory).parts[0].removesuffix(".tsv")
            with path.open(encoding="utf-8", newline="") as stream:
                rows.setdefault(rule, []).extend(csv.DictReader(stream, delimiter="\t"))
    found = [_timing(rule, jobs) for rule, jobs in rows.items() if jobs]
    return sorted(found, key=lambda timing: -timing.seconds)


def _timing(rule: str, jobs: list[dict[str, str]]) -> Timing:
    # Snakemake writes NA for the memory of a job that ended before it looked.
    memory = [float(job["max_rss"]) for job in jobs if job["max_rss"] not in ("NA", "-")]
    seconds = sum(float(job["s"]) for job in jobs)
    return Timing(rule, len(jobs), seconds, max(memory, default=None))


def duration(seconds: float) -> str:
    """Write a duration as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def as_yaml(config: dict[str, Any]) -> str:
    """Return the configuration as YAML, keys in the order of the file."""
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=80)
