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
    problem = f"{first['msg']}, got {first['input']!r}"
    return key, problem, "Correct the value in the configuration"


def _model_at(model: type[BaseModel], location: list[Any]) -> type[BaseModel] | None:
    """Follow field names, list indices and mapping keys down to the block that holds a key."""
    current: Any = model
    for part in location:
        fields = getattr(current, "model_fields", None)
        if fields is not None:
            if part not in fields:
                continue  # pydantic also names the tag of a union member
            current = fields[part].annotation
        else:
            current = (get_args(current) or (None,))[-1]
        current = _unwrap(current)
    return current if hasattr(current, "model_fields") else None


def _unwrap(annotation: Any) -> Any:
    """Drop `None` and `Annotated` around a type."""
    if hasattr(annotation, "__metadata__"):
        return _unwrap(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        members = [member for member in get_args(annotation) if member is not type(None)]
        return _unwrap(members[0]) if members else annotation
    return annotation
