"""Put a study's page together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from otcal.report import making, media, numbers, prose
from otcal.report.manifest import Figure, Manifest, Number, Section, Table
from otcal.runtime.errors import InputError


@dataclass(frozen=True)
class Sources:
    """The files that a page is made of."""

    manifest: Path
    summary: Path
    images: tuple[Path, ...]
    captions: Path
    """Directory of the figures' captions."""
    provenance: tuple[Path, ...] = ()
    benchmarks: Path | None = None


def build(
    manifest: Manifest,
    figures: Iterable[Figure],
    config: dict[str, Any],
    sources: Sources,
    page: Path,
) -> str:
    """Copy the figures beside `page` and return its HTML.

    Raises
    ------
    InputError
        When a figure, caption or number that the page needs is not there, or when a figure has no
        place on it: nothing is left out in silence.
    """
    catalogue = {figure.name: figure for figure in figures}
    _check_placed(manifest, catalogue, sources.manifest)
    summary = numbers.Summary(sources.summary)
    images = media.panels(sources.images)
    records = making.read_records(sources.provenance)
    environment = Environment(
        loader=PackageLoader("otcal.report"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = making.duration
    return environment.get_template("report.html").render(
        manifest=manifest,
        sections=[
            _section(section, catalogue, summary, images, sources, page)
            for section in manifest.sections
        ],
        config=making.as_yaml(config),
        steps=making.steps(records),
        input_files=making.input_files(records),
        packages=making.packages(),
        timings=making.timings(sources.benchmarks),
    )


def _check_placed(manifest: Manifest, catalogue: Mapping[str, Figure], where: Path) -> None:
    placed = [name for section in manifest.sections for name in section.figures]
    for name in placed:
        if name not in catalogue:
            known = ", ".join(catalogue)
            raise InputError(where, name, "is not a figure of the study", f"There are: {known}")
    for name in catalogue:
        if name not in placed:
            raise InputError(where, name, "has no place on the page", "Put it into a section")


def _section(
    section: Section,
    catalogue: Mapping[str, Figure],
    summary: numbers.Summary,
    images: Mapping[str, Path],
    sources: Sources,
    page: Path,
) -> dict[str, Any]:
    where = sources.manifest
    return {
        "id": section.id,
        "title": section.title,
        "text": prose.to_html(section.text, where, f"sections.{section.id}.text"),
        "numbers": [_number(number, summary, where) for number in section.numbers],
        "tables": [_table(table, summary, where) for table in section.tables],
        "figures": [
            _figure(catalogue[name], images, sources.captions, page) for name in section.figures
        ],
    }


def _number(number: Number, summary: numbers.Summary, where: Path) -> dict[str, Any]:
    paper = prose.to_html(number.paper, where, f"{number.key}.paper") if number.paper else None
    return {
        "label": number.label,
        "cell": numbers.key_number(number, summary),
        "text": prose.to_html(number.text, where, f"{number.key}.text"),
        "paper": paper,
    }


def _table(table: Table, summary: numbers.Summary, where: Path) -> dict[str, Any]:
    return {
        "id": table.id,
        "title": table.title,
        "caption": prose.to_html(table.caption, where, f"{table.id}.caption"),
        "row_title": table.row_title,
        "grid": numbers.grid(table, summary),
    }


def _figure(
    figure: Figure, images: Mapping[str, Path], captions: Path, page: Path
) -> dict[str, Any]:
    for name in figure.panels:
        if name not in images:
            raise InputError("--figures", name, f"panel of {figure.name} is missing", "Name it")
    caption: Markup = prose.read(captions / figure.caption)
    return {
        "name": figure.name,
        "title": figure.title,
        "number": figure.number,
        "panels": [media.publish(images[name], page) for name in figure.panels],
        "caption": caption,
    }
