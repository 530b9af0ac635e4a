"""What a report page shows, in reading order: prose, figures, tables and key numbers.

A manifest is a YAML file; every number on the page comes from the study's summary through the
keys that the manifest names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from otcal.config.base import Block, describe
from otcal.runtime.errors import InputError


class Figure(Block):
    """One figure of the study's catalogue."""

    name: str = Field(description="Name that a section places, such as fig03.")
    title: str = Field(description="Heading of the figure, plain text.")
    number: str = Field("", description="Its number in the paper; empty when it is not in there.")
    caption: str = Field(description="File name of its caption (reStructuredText).")
    panels: tuple[str, ...] = Field(min_length=1, description="File stems of its panels, in order.")


class Number(Block):
    """A number that opens the page, with its meaning in plain words."""

    key: str = Field(description="Key in the summary; `<key>.std` and `.stat` are its errors.")
    label: str = Field(description="What it is, in a few words.")
    text: str = Field(description="What it says, in a sentence (reStructuredText).")
    paper: str | None = Field(None, description="What the paper found (reStructuredText).")
    digits: int = Field(2, ge=0, le=6, description="Digits after the point.")
    expect: tuple[float, float] | None = Field(
        None, description="Range in which it should lie; the page says whether it does."
    )


class Column(Block):
    """A column of numbers, or of words."""

    title: str = Field(description="Column heading, plain text.")
    group: str = Field("", description="Heading above neighbouring columns of the same group.")
    key: str | None = Field(None, description="Key in the summary, with {row} for the row's name.")
    error: str | None = Field(None, description="Key of its error, if not `<key>.std` or `.stat`.")
    values: dict[str, str] | None = Field(None, description="Plain text per row, instead of a key.")
    digits: int = Field(3, ge=0, le=6, description="Digits after the point.")
    limit: float | None = Field(None, description="Numbers above this one are marked.")

    @model_validator(mode="after")
    def _one_source(self) -> Column:
        if (self.key is None) == (self.values is None):
            raise ValueError("a column takes either 'key' or 'values'")
        if self.key is not None and "{row}" not in self.key:
            raise ValueError("'key' must contain {row}")
        return self


class Table(Block):
    """A table whose cells are numbers of the summary."""

    id: str = Field(description="Anchor of the table on the page.")
    title: str = Field(description="Heading of the table, plain text.")
    caption: str = Field("", description="Text below it (reStructuredText).")
    row_title: str = Field(description="Heading of the first column, plain text.")
    rows: dict[str, str] | Literal["*"] = Field(
        description="Row names and how they are written; * takes every name that the first column's"
        " key matches in the summary, in its order."
    )
    names: dict[str, str] = Field(
        default_factory=dict, description="How rows found by * are written; others as they are."
    )
    columns: tuple[Column, ...] = Field(min_length=1, description="Columns, left to right.")

    @model_validator(mode="after")
    def _rows_can_be_found(self) -> Table:
        if self.rows == "*" and self.columns[0].key is None:
            raise ValueError("rows: '*' needs a first column with a key")
        return self


Start = Literal["jets", "outputs"]
"""What a study starts from: jets and its own tagger, or what another tagger made of jets."""


class Section(Block):
    """A part of the page."""

    id: str = Field(pattern=r"^[a-z][a-z0-9-]*$", description="Anchor of the section on the page.")
    title: str = Field(description="Heading, plain text.")
    text: str = Field("", description="Prose (reStructuredText).")
    numbers: tuple[Number, ...] = Field((), description="Key numbers.")
    tables: tuple[Table, ...] = Field((), description="Tables.")
    figures: tuple[str, ...] = Field((), description="Names of the catalogue's figures.")
    start: Start | None = Field(
        None, description="Start of the studies whose page has the section; null: of all."
    )


class Manifest(Block):
    """The page of one study."""

    title: str = Field(description="Title of the page, plain text.")
    subtitle: str = Field("", description="Line below it, plain text.")
    legend: dict[str, Literal["source", "target", "calibrated"]] = Field(
        default_factory=dict, description="Colour key at the top: text and the colour it explains."
    )
    sections: tuple[Section, ...] = Field(min_length=1, description="Sections in reading order.")

    @model_validator(mode="after")
    def _names_are_unique(self) -> Manifest:
        for what, names in (
            ("section", [section.id for section in self.sections]),
            ("table", [table.id for section in self.sections for table in section.tables]),
            ("figure", [name for s in self.sections for name in s.figures]),
        ):
            double = {name for name in names if names.count(name) > 1}
            if double:
                raise ValueError(f"{what} named twice: {', '.join(sorted(double))}")
        return self


class ReportSpec(Block):
    """What the step that builds the page consumes."""

    config: dict[str, Any] = Field(description="The study's whole configuration, shown folded.")
    figures: tuple[Figure, ...] = Field(description="The study's catalogue of figures.")
    omitted: tuple[str, ...] = Field(
        (), description="Names of figures that a study of this start does not draw."
    )
    start: Start = Field("jets", description="What the study starts from.")


def chosen(manifest: Manifest, spec: ReportSpec) -> Manifest:
    """Return the manifest without what a study of this start does not have."""
    sections = [
        section.model_copy(
            update={"figures": tuple(one for one in section.figures if one not in spec.omitted)}
        )
        for section in manifest.sections
        if section.start in (None, spec.start)
    ]
    return manifest.model_copy(update={"sections": tuple(sections)})


def load(path: str | Path) -> Manifest:
    """Read a manifest.

    Raises
    ------
    InputError
        When the file is missing, is not YAML or does not fit `Manifest`; names the key.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Manifest.model_validate(content)
    except FileNotFoundError:
        raise InputError(path, "file", "does not exist", "Check the path") from None
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise InputError(path, "file", f"is not YAML ({problem})", "Correct it") from None
    except ValidationError as error:
        raise InputError(path, *describe(error, Manifest)) from None
