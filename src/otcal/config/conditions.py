"""What a map may depend on without moving it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator


def _distinct(names: Sequence[str]) -> Sequence[str]:
    if len(set(names)) < len(names):
        raise ValueError("conditions name a column twice")
    return names


def _rising(ranges: Mapping[Any, tuple[float, float]]) -> Mapping[Any, tuple[float, float]]:
    for name, (low, high) in ranges.items():
        if low >= high:
            raise ValueError(f"the range of {name} is empty: from {low:g} to {high:g}")
    return ranges


Condition = Literal["jet_pt", "jet_eta", "jet_phi", "jet_energy", "jet_nparticles"]
"""Columns of jets that every file of latents has."""

ScoreCondition = Literal["jet_pt", "jet_eta"]
"""Columns of jets that every file of scores has."""

Conditions = Annotated[tuple[Condition, ...], AfterValidator(_distinct)]
ScoreConditions = Annotated[tuple[ScoreCondition, ...], AfterValidator(_distinct)]
Ranges = Annotated[dict[Condition, tuple[float, float]], AfterValidator(_rising)]
ScoreRanges = Annotated[dict[ScoreCondition, tuple[float, float]], AfterValidator(_rising)]
