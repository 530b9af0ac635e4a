"""The unlabelled events of a mixture fit, region by region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from otcal.mixture.points import join
from otcal.mixture.regions import check_unique, refuse_weights
from otcal.runtime.errors import InputError
from otcal.runtime.seeds import derive
from otcal.samples import splits
from otcal.samples.scores import read_scores

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Events:
    """N events of R regions.

    Attributes
    ----------
    regions
        Names of the regions.
    z
        Points, shape (N, D), see `otcal.mixture.points`; without conditions, ILR coordinates.
    region
        Number of each event's region, shape (N,).
    ids
        Ids of the jets, shape (N,).
    held_out
        Events that no density is fitted to, shape (N,).
    """

    regions: tuple[str, ...]
    z: Array
    region: NDArray[np.int64]
    ids: NDArray[np.int64]
    held_out: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.region)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Events of each region, shape (R,)."""
        return np.bincount(self.region, minlength=len(self.regions))

    def sums(self, values: Array) -> Array:
        """Sum values of the events, shape (N, K), over each region: (R, K)."""
        result = np.zeros((len(self.regions), values.shape[1]))
        for r in range(len(self.regions)):
            result[r] = values[self.region == r].sum(axis=0)
        return result


def read_events(
    paths: Sequence[Path],
    regions: Sequence[str],
    flavours: Sequence[str],
    held_out: float,
    seed: int,
    conditions: Sequence[str] = (),
) -> tuple[Events, Array | None]:
    """Read the events of all regions and, where labels are known, the true compositions.

    Parameters
    ----------
    paths
        A file of scores per region, called ``<region>.parquet``, in any order.
    regions
        Names of the regions in the order of the result.
    flavours
        Names of the K flavours.
    held_out
        Share of the events that no density is fitted to, by a hash of their ids.
    seed
        Seed of that hash.
    conditions
        Names of conditions among the coordinates.

    Returns
    -------
    tuple
        Events, and the true compositions, shape (R, K), or None when a label is not known.

    Raises
    ------
    InputError
        When a region is missing, given twice or empty, a jet is in two regions, or events are
        weighted.
    """
    names = [path.stem for path in paths]
    wrong = [name for name in names if names.count(name) > 1 or name not in regions]
    absent = [name for name in regions if name not in names]
    if wrong or absent:
        problem = (
            f"'{wrong[0]}' is given twice or not a region of the fit"
            if wrong
            else f"there is none for region '{absent[0]}'"
        )
        raise InputError("--regions", "files", problem, f"Give one of each: {', '.join(regions)}")
    z, ids, labels = [], [], []
    for region in regions:
        path = paths[names.index(region)]
        refuse_weights(path)
        scores = read_scores(path, flavours)
        if not len(scores):
            raise InputError(path, "file", "has no jets", "A region of the fit needs some")
        z.append(join(scores.p, scores.conditions(conditions), conditions))
        ids.append(scores.ids)
        labels.append(scores.labels)
    all_ids = np.concatenate(ids)
    check_unique(all_ids, ", ".join(str(path) for path in paths))
    events = Events(
        tuple(regions),
        np.concatenate(z),
        np.repeat(np.arange(len(regions)), [len(piece) for piece in ids]),
        all_ids,
        splits.uniform(all_ids, derive(seed, "held out")) < held_out,
    )
    if any((piece < 0).any() for piece in labels):
        return events, None
    shares = [np.bincount(piece, minlength=len(flavours)) / len(piece) for piece in labels]
    return events, np.array(shares)
