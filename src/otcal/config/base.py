"""What all configuration blocks share."""

from __future__ import annotations

from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError


class Block(BaseModel):
    """A frozen block of settings that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def describe(error: ValidationError, model: type[BaseModel]) -> tuple[str, str, str]:
    """Put the first validation error in words: (dotted key, problem, remedy).

    The remedy lists the keys that exist for an unknown or missing one, else what is allowed.
    """
    first = error.errors()[0]
    location = [part for part in first["loc"] if not str(part).startswith("function-")]
    key = ".".join(str(part) for part in location) or "(whole block)"
    kind = first["type"]
    if kind in ("extra_forbidden", "missing"):
        parent = _model_at(model, location[:-1])
        known = ", ".join(parent.model_fields) if parent else "see the comments in config.yaml"
        if kind == "missing":
            return key, "is missing", f"Add it; this block takes: {known}"
        return key, "is not a known key", f"Allowed here: {known}"
    problem = first["msg"].removeprefix("Value error, ")
    if not isinstance(
        first["input"], dict
    ):  # a rule between several keys says itself what is wrong
        problem += f", got {first['input']!r}"
    return key, problem, "Correct the value in the configuration"


def _model_at(model: type[BaseModel], location: list[Any]) -> type[BaseModel] | None:
    """Follow field names, list indices and mapping keys down to the block that holds a key."""
    candidates: list[Any] = [model]
    for part in location:
        candidates = [inner for one in candidates for inner in _inside(one, part)]
    return next((one for one in candidates if hasattr(one, "model_fields")), None)


def _inside(annotation: Any, part: Any) -> list[Any]:
    """Return the types that `part` of a location can lead to."""
    fields = getattr(annotation, "model_fields", None)
    if fields is None:
        inner = [member for member in get_args(annotation) if member is not Ellipsis]
        return _members(inner[-1]) if inner else []
    if part in fields:
        return _members(fields[part].annotation)
    # Of a union, pydantic also names the member, by its tag or by its class.
    tags = [tag for field in fields.values() for tag in get_args(field.annotation)]
    return [annotation] if part in (*tags, annotation.__name__) else []


def _members(annotation: Any) -> list[Any]:
    """Return the types behind `Annotated`, unions and `None`."""
    if hasattr(annotation, "__metadata__"):
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [inner for member in get_args(annotation) for inner in _members(member)]
    return [] if annotation is type(None) else [annotation]
