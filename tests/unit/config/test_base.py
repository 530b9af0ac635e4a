"""Settings that are wrong are named by their key, with what is allowed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, ValidationError

from otcal.config.base import Block, describe


class Circle(Block):
    kind: Literal["circle"] = "circle"
    radius_mm: float = Field(gt=0)


class Square(Block):
    kind: Literal["square"] = "square"
    side_mm: float = Field(gt=0)


Shape = Annotated[Circle | Square, Field(discriminator="kind")]


class Leaf(Block):
    size: int = Field(ge=1)
    colour: Literal["red", "green"] = "red"


class Tree(Block):
    leaf: Leaf | None = None
    leaves: tuple[Leaf, ...] = ()
    named: dict[str, Leaf] = Field(default_factory=dict)
    shape: Shape | None = None
    share: float = 0.5


def message(**content: Any) -> tuple[str, str, str]:
    with pytest.raises(ValidationError) as caught:
        Tree.model_validate(content)
    return describe(caught.value, Tree)


LEAF = "Allowed here: size, colour"


@pytest.mark.parametrize(
    ("content", "key", "problem", "remedy"),
    [
        (
            {"leav": 1},
            "leav",
            "is not a known key",
            "Allowed here: leaf, leaves, named, shape, share",
        ),
        ({"leaf": {"size": 1, "x": 2}}, "leaf.x", "is not a known key", LEAF),
        ({"leaves": [{"size": 1}, {"size": 1, "x": 2}]}, "leaves.1.x", "is not a known key", LEAF),
        ({"named": {"oak": {"size": 1, "x": 2}}}, "named.oak.x", "is not a known key", LEAF),
        ({"leaf": {}}, "leaf.size", "is missing", "Add it; this block takes: size, colour"),
        (
            {"named": {"oak": {"colour": "red"}}},
            "named.oak.size",
            "is missing",
            "Add it; this block takes: size, colour",
        ),
        (
            {"leaf": {"size": 1, "colour": "blue"}},
            "leaf.colour",
            "Input should be 'red' or 'green', got 'blue'",
            "Correct the value in the configuration",
        ),
        (
            {"leaf": {"size": 0}},
            "leaf.size",
            "Input should be greater than or equal to 1, got 0",
            "Correct the value in the configuration",
        ),
    ],
)
def test_the_key_and_what_is_allowed_are_named(
    content: dict[str, Any], key: str, problem: str, remedy: str
) -> None:
    assert message(**content) == (key, problem, remedy)


def test_a_key_of_one_kind_lists_the_keys_of_that_kind() -> None:
    key, problem, remedy = message(shape={"kind": "square", "side_mm": 1, "radius_mm": 1})
    assert key.endswith("radius_mm")
    assert problem == "is not a known key"
    assert remedy == "Allowed here: kind, side_mm"


def test_an_unknown_kind_names_the_kinds() -> None:
    _, problem, _ = message(shape={"kind": "line"})
    assert "'circle', 'square'" in problem


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_are_finite(bad: float) -> None:
    key, problem, _ = message(share=bad)
    assert key == "share"
    assert "finite" in problem


def test_settings_are_frozen() -> None:
    leaf = Leaf(size=1)
    with pytest.raises(ValidationError, match="frozen"):
        leaf.size = 2  # type: ignore[misc]
