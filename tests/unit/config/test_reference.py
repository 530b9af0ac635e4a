"""The reference of config.yaml names every key of the models, with its limits and default."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from otcal.config.base import Block
from otcal.config.reference import reference
from otcal.config.study import Settings


class Inner(Block):
    """What is inside.

    More about it.
    """

    share: float = Field(0.25, gt=0, lt=1, description="Of a | b.")


class Outer(Block):
    """What is outside."""

    kind: Literal["x", "y"] = Field(description="Which.")
    first: Inner = Inner()
    named: dict[str, Inner] = Field({}, description="By name.")
    either: Inner | None = Field(None, description="Or none.")


def test_blocks_are_sections_and_keys_are_rows() -> None:
    text = reference(Outer.model_json_schema())
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings == ["## Top level", "## `first`", "## `named.<name>`", "## `either`"]
    assert "| `kind` | `x`, `y` |  | Which. |" in text
    assert "| `share` | number > 0 and < 1 | `0.25` | Of a \\| b. |" in text
    assert "| `named` | name: block |  | By name. |" in text
    assert "| `either` | block or null | `null` | Or none. |" in text
    assert "| `first` | block | see its section | What is inside. |" in text


def test_every_key_of_the_configuration_says_what_it_means() -> None:
    rows = [line for line in reference(Settings.model_json_schema()).splitlines() if "| `" in line]
    assert len(rows) > 200
    without = [row for row in rows if row.replace("\\|", "").split("|")[4].strip() == ""]
    assert without == []
