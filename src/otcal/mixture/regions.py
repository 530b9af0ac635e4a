"""Control regions: mixtures of pseudo-data with known shares of each flavour.

Kim, Yang (arXiv:2605.01363), [KY], section VI and Table 1. Labels serve to build the regions, and
afterwards only to compare a fit with the truth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from otcal.config.regions import Regions, RegionsSpec
from otcal.mixture.conditioning import condition_number
from otcal.runtime.errors import InputError
from otcal.runtime.seeds import derive
from otcal.samples import splits, tables
from otcal.samples.scores import Scores, read_scores, score_schema

Array = NDArray[np.float64]


def build(path: Path, spec: RegionsSpec) -> dict[str, pa.Table]:
    """Draw the jets of all regions from a file of scores.

    The jets of each flavour are put in the order of a hash of their ids and dealt out region by
    region: who goes where depends on ids and seed, not on the order of the file, and no jet goes
    twice.

    Parameters
    ----------
    path
        Scores with labels.
    spec
        Regions and seed.

    Returns
    -------
    dict
        Tables of `otcal.samples.scores.score_schema` by region, rows shuffled by another hash.

    Raises
    ------
    InputError
        When the compositions cannot be told apart, events are weighted, ids occur twice, or the
        jets of a flavour do not suffice.
    """
    check_compositions(_matrix(spec), spec.kappa_limit, "mixture.regions")
    refuse_weights(path)
    scores = read_scores(path, spec.flavours)
    check_unique(scores.ids, path)
    positions = deal(scores, _counts(spec), spec.flavours, spec.seed, path)
    del scores  # the table takes as much
    schema = score_schema(spec.flavours)
    table = tables.read_tables([path], schema, schema.names)
    return {name: table.take(pa.array(rows)) for name, rows in positions.items()}


def deal(
    scores: Scores,
    counts: Mapping[str, Sequence[int]],
    flavours: Sequence[str],
    seed: int,
    where: str | Path = "scores",
) -> dict[str, NDArray[np.int64]]:
    """Return the rows of each region's jets.

    Parameters
    ----------
    scores
        All jets.
    counts
        Jets of each flavour by region.
    flavours
        Their names.
    seed
        Seed of the hash.
    where
        Name of the jets' file in error messages.

    Raises
    ------
    InputError
        When a flavour has fewer jets than the regions take together.
    """
    order = np.argsort(splits.uniform(scores.ids, derive(seed, "regions")), kind="stable")
    left = [order[scores.labels[order] == label] for label in range(len(flavours))]
    for label, flavour in enumerate(flavours):
        needed = sum(count[label] for count in counts.values())
        if needed > len(left[label]):
            wanted = ", ".join(f"{name} {count[label]}" for name, count in counts.items())
            raise InputError(
                where,
                "label",
                f"has {len(left[label])} jets of flavour {flavour}, the regions take {needed} "
                f"({wanted})",
                "Make more jets or smaller regions",
            )
    # Of its own hash: by that of the deal, the flavours would come one after the other.
    place = splits.uniform(scores.ids, derive(seed, "shuffle"))
    result = {}
    for name, count in counts.items():
        taken = np.concatenate([left[label][:n] for label, n in enumerate(count)])
        left = [rest[n:] for rest, n in zip(left, count, strict=True)]
        result[name] = taken[np.argsort(place[taken], kind="stable")]
    return result


def exact_counts(jets: int, fractions: Sequence[float]) -> list[int]:
    """Return whole numbers next to `jets` times `fractions` that sum to `jets`.

    What rounding down leaves over goes to the largest remainders (Hamilton's method).
    """
    exact = jets * np.asarray(fractions, dtype=np.float64)
    # Shares such as 0.07 of 100 are 7.000000000000001 or 6.999999999999999.
    whole = np.floor(np.round(exact, 9)).astype(int)
    remainders = exact - whole
    for place in np.argsort(-remainders, kind="stable")[: jets - int(whole.sum())]:
        whole[place] += 1
    return [int(count) for count in whole]


def check_compositions(pi: Array, limit: float, where: str | Path) -> None:
    """Check that compositions Π, shape (R, K), can be inverted (KY 26).

    Raises
    ------
    InputError
        When κ(Π) (KY 27) is above `limit`, which includes regions of equal compositions.
    """
    kappa = condition_number(pi)
    if kappa > limit:
        value = "they are linearly dependent" if np.isinf(kappa) else f"kappa is {kappa:.4g}"
        raise InputError(
            where,
            "fractions",
            f"do not tell the regions apart: {value}, the limit is {limit:g}",
            "Choose purer regions, or raise kappa_limit and expect large errors",
        )


def check_unique(ids: NDArray[np.int64], where: str | Path) -> None:
    """Raise `InputError` when an id occurs twice."""
    values, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise InputError(
            where,
            "jet_id",
            f"{values[np.argmax(counts > 1)]} occurs more than once ({int((counts > 1).sum())} do)",
            "Every jet may enter once only: make the file again",
        )


def refuse_weights(path: str | Path) -> None:
    """Raise `InputError` when a file of scores has weights.

    Responsibilities count events, exact numbers per flavour are dealt out, and a mixture of
    weighted events has no likelihood of its own: weights that nobody looks at would bias all that.
    """
    tables.row_count(path)  # names a file that is missing or damaged
    found = [name for name in pq.read_schema(path).names if "weight" in name.lower()]
    if found:
        raise InputError(
            path,
            found[0],
            "weighted events are not supported: counts, likelihood and covariance of the mixture "
            "are those of single events",
            "Drop the column if its weights are all one, else unweight the events first",
        )


def _counts(spec: Regions) -> dict[str, list[int]]:
    result = {}
    for name, region in spec.regions.items():
        shares = spec.shares(region)
        result[name] = exact_counts(region.jets, [shares[flavour] for flavour in spec.flavours])
    return result


def _matrix(spec: Regions) -> Array:
    fitted = [spec.regions[name] for name in spec.fitted()]
    return np.array([[spec.shares(region)[name] for name in spec.flavours] for region in fitted])
