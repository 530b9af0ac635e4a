"""Samples that the map of a flavour is fitted to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from otcal.config.conditions import ScoreCondition
from otcal.config.splits import Splits
from otcal.runtime.errors import InputError
from otcal.runtime.seeds import numpy_generator
from otcal.samples import splits as splitting
from otcal.samples import tables
from otcal.samples.flavours import FLAVOURS, index
from otcal.samples.scores import Scores, read_scores
from otcal.samples.targets import read_target, target_schema
from otcal.simplex import ilr_inverse
from otcal.transport.problem import FEWEST
from otcal.transport.simplex_maps import Space, encode

Ranges = Mapping[ScoreCondition, tuple[float, float]]

NOMINAL = "nominal"

HELD_OUT = 0.1
"""Share of a target that a fit is measured on."""


@dataclass(frozen=True)
class Sample:
    """Probabilities (N, K) and conditions (N, C) of what a map moves, or moves to."""

    p: NDArray[Any]
    conditions: NDArray[Any]

    def __len__(self) -> int:
        return len(self.p)

    @staticmethod
    def of(scores: Scores, conditions: Sequence[str]) -> Sample:
        """Return the sample of some jets."""
        return Sample(scores.p, scores.conditions(conditions))

    def select(self, rows: NDArray[Any]) -> Sample:
        """Return some rows."""
        return Sample(self.p[rows], self.conditions[rows])

    def hold_out(self, seed: int) -> Pair:
        """Return the rows that fit and those held out: the same for samples of equal size."""
        order = numpy_generator(seed, "target held out").permutation(len(self))
        count = int(np.ceil(HELD_OUT * len(self)))
        return self.select(np.sort(order[count:])), self.select(np.sort(order[:count]))


Pair = tuple[Sample, Sample]
"""What fits, and what is held out from it."""


def samples_of_fit(source: Pair, target: Pair, space: Space) -> dict[str, Any]:
    """Return the samples as `otcal.transport.api.fit_map` takes them."""
    fitted, held_out = zip(source, target, strict=True)
    result: dict[str, Any] = dict(
        zip(("source", "target"), (encode(one.p, space) for one in fitted), strict=True)
    )
    result["validation"] = tuple(encode(one.p, space) for one in held_out)
    if source[0].conditions.shape[1]:
        result["conditions"] = tuple(one.conditions for one in fitted)
        result["validation_conditions"] = tuple(one.conditions for one in held_out)
    return result


def simulated(
    path: str | Path,
    flavour: str,
    splits: Splits,
    split: str | None = None,
    ranges: Ranges | None = None,
) -> Scores:
    """Return the simulated jets of a flavour that are in a split; None stands for all of them.

    `ranges` as `otcal.samples.scores.Scores.within` has them.

    Raises
    ------
    InputError
        When the file is no file of scores, or has too few such jets.
    """
    scores = read_scores(path, FLAVOURS, [index(flavour)])
    if split is not None:
        scores = scores.select(splitting.select(scores.ids, splits.fractions(), split))
    scores = scores.within(ranges or {})
    _enough(path, len(scores), f"{split or 'simulated'} jets of flavour {flavour}", ranges)
    return scores


def extracted(path: str | Path, variation: str = NOMINAL, conditions: Sequence[str] = ()) -> Sample:
    """Return the sample of an extracted density."""
    found = read_target(path, variation, len(FLAVOURS) - 1, conditions)
    _enough(path, len(found.z), f"points of {variation}")
    return Sample(ilr_inverse(found.z), found.conditions)


def variations(path: str | Path) -> list[str]:
    """Return the names of the variations in a file of targets, in its order."""
    schema = target_schema(len(FLAVOURS) - 1)
    names: dict[str, None] = {}
    for piece in tables.iterate_tables([path], schema, ["variation"]):
        names |= dict.fromkeys(pc.unique(piece["variation"]).to_pylist())
    return [name for name in names if name != NOMINAL]


def labelled(
    path: str | Path,
    flavour: str,
    excluded: Iterable[str | Path],
    ranges: Ranges | None = None,
) -> Scores:
    """Return the data jets of a flavour that are in no `excluded`.

    Parameters
    ----------
    path
        Scores with labels.
    flavour
        Name of the flavour.
    excluded
        Files of scores whose jets are left out, such as a validation region's.
    ranges
        As `otcal.samples.scores.Scores.within` has them.
    """
    scores = read_scores(path, FLAVOURS, [index(flavour)])
    for other in excluded:
        scores = scores.select(~np.isin(scores.ids, read_scores(other, FLAVOURS).ids))
    scores = scores.within(ranges or {})
    _enough(path, len(scores), f"jets of flavour {flavour} outside the validation", ranges)
    return scores


def _enough(path: str | Path, count: int, what: str, ranges: Ranges | None = None) -> None:
    if count < 2 * FEWEST:
        what += "".join(f" with {a} <= {name} < {b}" for name, (a, b) in (ranges or {}).items())
        raise InputError(
            path,
            "rows",
            f"there are {count} {what}",
            f"A map needs at least {2 * FEWEST}: make more jets or correct the splits",
        )
