"""Scores of the discriminators on the jets that they were not trained on, as Parquet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from otcal.closure.jets import FOLDS, SAMPLES
from otcal.runtime.errors import InputError
from otcal.samples import tables

SCORE_SCHEMA = pa.schema(
    [
        pa.field("fit", pa.int8()),
        pa.field("fold", pa.int8()),
        pa.field("sample", pa.int8()),
        pa.field("jet_id", pa.int64()),
        pa.field("score", pa.float32()),
    ]
)
"""One row per fit and jet, all jets of a fit together.

`fold` is a position in `otcal.closure.jets.FOLDS` (validation or test), `sample` one in
`otcal.closure.jets.SAMPLES`; `score` estimates ln p(target)/p(other) at equal sample sizes.
"""


@dataclass(frozen=True)
class Scores:
    """Scores of K fits on the same N jets."""

    fold: NDArray[np.int8]
    """Shape (N,)."""
    sample: NDArray[np.int8]
    """Shape (N,)."""
    jet_id: NDArray[np.int64]
    """Shape (N,)."""
    score: NDArray[np.float32]
    """Shape (K, N)."""

    def of(self, sample: str, fold: str = "test") -> NDArray[np.float32]:
        """Return the scores of one sample in one fold, shape (K, n)."""
        return self.score[:, self._where(sample, fold)]

    def ids(self, sample: str, fold: str = "test") -> NDArray[np.int64]:
        """Return the ids of one sample in one fold, shape (n,)."""
        return self.jet_id[self._where(sample, fold)]

    def _where(self, sample: str, fold: str) -> NDArray[np.bool_]:
        return (self.sample == SAMPLES.index(sample)) & (self.fold == FOLDS.index(fold))


def write_scores(path: str | Path, scores: Scores, provenance: dict[str, Any]) -> None:
    """Write the scores with the columns of `SCORE_SCHEMA`."""
    fits, jets = scores.score.shape
    columns = {
        "fit": np.repeat(np.arange(fits, dtype=np.int8), jets),
        "fold": np.tile(scores.fold, fits),
        "sample": np.tile(scores.sample, fits),
        "jet_id": np.tile(scores.jet_id, fits),
        "score": scores.score.reshape(-1),
    }
    tables.write_table(path, pa.table(columns), SCORE_SCHEMA, provenance)


def read_scores(path: str | Path) -> Scores:
    """Read what `write_scores` wrote.

    Raises
    ------
    InputError
        When the file is unreadable or empty, or its fits do not hold the same jets.
    """
    table = tables.read_tables([path], SCORE_SCHEMA, SCORE_SCHEMA.names)
    columns = {name: tables.to_numpy(table[name]) for name in table.column_names}
    fits = int(columns["fit"].max()) + 1 if len(table) else 0
    if not fits or len(table) % fits:
        raise _foreign(path, "fit", f"{len(table)} rows of {fits} fits")
    by_fit = {name: values.reshape(fits, -1) for name, values in columns.items()}
    if (by_fit["fit"] != np.arange(fits)[:, None]).any():
        raise _foreign(path, "fit", "the rows of a fit are not together")
    for name in ("fold", "sample", "jet_id"):
        if (by_fit[name] != by_fit[name][0]).any():
            raise _foreign(path, name, "differs between the fits")
    return Scores(by_fit["fold"][0], by_fit["sample"][0], by_fit["jet_id"][0], by_fit["score"])


def _foreign(path: str | Path, field: str, problem: str) -> InputError:
    return InputError(path, field, problem, "Make the file again with train_discriminator")
