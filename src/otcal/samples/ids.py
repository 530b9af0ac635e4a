"""The ids of jets, which decide which of them fit and which test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from otcal.runtime.errors import InputError


def require_distinct(path: str | Path, ids: list[NDArray[np.int64]]) -> None:
    """Raise `InputError` when an id is there twice."""
    if not ids:
        return
    values, counts = np.unique(np.concatenate(ids), return_counts=True)
    if (counts > 1).any():
        raise InputError(
            path,
            "jet_id",
            f"{int((counts > 1).sum())} ids are there more than once (first: "
            f"{values[np.argmax(counts > 1)]})",
            "Jets are split by their ids: make them distinct, or leave the column out",
        )


def require_in_all_or_none(path: str | Path, has: bool, other: str | Path, other_has: bool) -> None:
    """Raise `InputError` when one of two files of a dataset has a column of ids, the other not."""
    if has == other_has:
        return
    first, second = (path, other) if has else (other, path)
    raise InputError(
        path,
        "jet_id",
        f"is in {first}, but not in {second}",
        "Files of one dataset must all have ids, or none: read them as two datasets",
    )
