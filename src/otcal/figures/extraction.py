"""What the mixture fit and its uncertainty say about the compositions of the regions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otcal.runtime.errors import InputError
from otcal.runtime.files import read_json

Array = NDArray[np.float64]

_REMEDY = "Delete it so that it is made again"


@dataclass(frozen=True)
class Extraction:
    """Compositions of all regions, rows in the order of `regions`.

    Parameters
    ----------
    regions
        Names of the R regions.
    enriched
        Flavour that each region is enriched in.
    flavours
        Names of the K flavours.
    pi, nominal, start
        Fitted, nominal and first compositions, shape (R, K).
    truth
        True compositions, None where nobody knows them.
    starts
        Every start of the fit: `name`, `pi`, and how it ended.
    """

    regions: tuple[str, ...]
    enriched: tuple[str, ...]
    flavours: tuple[str, ...]
    pi: Array
    nominal: Array
    start: Array
    truth: Array | None
    starts: tuple[dict[str, Any], ...]

    @classmethod
    def read(cls, path: Path) -> Extraction:
        """Read `extraction.json`.

        Raises
        ------
        InputError
            When a key is missing, or a composition has another shape.
        """
        content = read_json(path)
        regions, enriched, flavours = (
            tuple(map(str, take(content, key, path))) for key in ("regions", "enriched", "flavours")
        )
        unknown = [name for name in enriched if name not in flavours]
        if len(enriched) != len(regions) or unknown:
            raise InputError(path, "enriched", "does not name a flavour per region", _REMEDY)
        shape = (len(regions), len(flavours))
        truth = take(content, "truth", path)
        starts = tuple(dict(entry) for entry in take(content, "starts", path))
        for entry in starts:
            entry["pi"] = matrix(entry, "pi", shape, path)
        return cls(
            regions,
            enriched,
            flavours,
            matrix(content, "pi", shape, path),
            matrix(content, "nominal", shape, path),
            matrix(content, "start", shape, path),
            None if truth is None else matrix(content, "truth", shape, path),
            starts,
        )

    def region(self, flavour: str) -> int:
        """Return the number of the region that is enriched in a flavour, the purest of several.

        Raises
        ------
        InputError
            When there is none.
        """
        if flavour not in self.enriched:
            there = ", ".join(self.enriched)
            raise InputError(
                "extraction", flavour, "has no region", f"Regions are enriched in {there}"
            )
        purity = self.pi[:, self.flavours.index(flavour)]
        own = np.array([name == flavour for name in self.enriched])
        return int(np.argmax(np.where(own, purity, -1.0)))


def take(content: Any, key: str, path: Path) -> Any:
    """Return a key of a JSON object; `InputError` when it is not there."""
    if not isinstance(content, dict) or key not in content:
        raise InputError(path, key, "is missing", _REMEDY)
    return content[key]


def matrix(content: Any, key: str, shape: tuple[int, ...], path: Path) -> Array:
    """Return a key as an array of finite numbers; `InputError` unless it has this shape."""
    try:
        values = np.asarray(take(content, key, path), dtype=np.float64)
    except (TypeError, ValueError):
        values = np.array(np.nan)
    if values.shape != shape or not np.isfinite(values).all():
        size = " x ".join(map(str, shape))
        raise InputError(path, key, f"is not an array of {size} numbers", _REMEDY)
    return values
