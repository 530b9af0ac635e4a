"""Every setting of a configuration, and another valid value for it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import yaml
from snakemake.utils import update_config

from otcal.config.base import Block
from otcal.config.splits import Splits
from otcal.config.study import load_settings
from otcal.runtime.errors import InputError
from support.checkout import ROOT, SMOKE

SHARES = tuple(
    {"b": 0.15, "c": 0.15, "light": 0.15} | {flavour: 0.7} for flavour in ("b", "c", "light")
)
"""Fractions of regions that are enriched in each flavour."""
BASE = [yaml.safe_load((ROOT / name).read_text()) for name in ("config.yaml", SMOKE)]


def configured(*changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return config.yaml with the smoke preset and changes on top, as Snakemake merges them."""
    result: dict[str, Any] = {}
    for over in (*BASE, *changes):
        update_config(result, copy.deepcopy(over))
    return result


NOW = load_settings(configured())


def nested(path: str, value: Any) -> dict[str, Any]:
    """Return {"a": {"b": value}} for "a.b"."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return value  # type: ignore[no-any-return]


def keys(block: Block, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield dotted name, value and type of every setting below a block.

    Shares that sum to one are one setting. Of a table with a number for each name the first entry
    stands for all.
    """
    for name, field in type(block).model_fields.items():
        value = getattr(block, name)
        path = f"{prefix}{name}"
        if isinstance(value, Block) and not isinstance(value, Splits):
            yield from keys(value, f"{path}.")
        elif isinstance(value, dict) and all(isinstance(one, Block) for one in value.values()):
            for key, one in value.items():
                yield from keys(one, f"{path}.{key}.")
        elif isinstance(value, dict) and isinstance(next(iter(value.values())), int):
            key = next(iter(value))
            yield f"{path}.{key}", value[key], int
        else:
            yield path, value, field.annotation


def change(path: str, value: Any, kind: Any) -> dict[str, Any] | None:
    """Return settings that give another valid value to one key; None when there is no other."""
    for candidate in _candidates(value, kind):
        over = nested(path, candidate)
        try:
            if load_settings(configured(over)) != NOW:
                return over
        except InputError:
            continue
    return None


def _candidates(value: Any, kind: Any) -> Iterator[Any]:
    """Yield values that may be valid, the likeliest first."""
    if isinstance(value, Splits):
        yield {"train": value.train - 0.05, "test": value.test + 0.05}
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value - 1, value + 1, 2 * value)
    elif isinstance(value, float):
        yield from (0.9 * value, 1.1 * value, 0.1)
    elif isinstance(value, str):
        yield from (other for other in get_args(kind) if isinstance(other, str))
        yield from ("source", "target", f"{value}-2")
    elif isinstance(value, tuple):
        yield from (_plain(value[:-1]), _plain(value[::-1]))
        yield from ([one] for one in get_args(get_args(kind)[0]) if isinstance(one, str))
        if all(isinstance(one, float) for one in value):
            yield [2.0 * one for one in value]
    else:  # fractions of a region, or null
        yield from (*SHARES, 1, 0.05, {}, "b")


def _plain(values: tuple[Any, ...]) -> list[Any]:
    return [one.model_dump(mode="json") if isinstance(one, Block) else one for one in values]
