"""Jets of a table as ragged arrays: what the tagger sees of them, before any transform."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from otcal.runtime.errors import InputError
from otcal.samples.tables import to_numpy

PHOTON, NEGATIVE_HADRON, NEUTRAL_HADRON, POSITIVE_HADRON = 0, 1, 2, 3
ELECTRON, POSITRON, MUON, ANTIMUON = 4, 5, 6, 7
"""Particle-type index of Algren et al. (arXiv:2507.08867, Table 4)."""

CHARGED_ONLY = ("d0val", "d0err", "dzval", "dzerr")
"""Features that a neutral constituent does not have."""

_FLAGS = ("part_isChargedHadron", "part_isNeutralHadron", "part_isElectron", "part_isMuon")


@dataclass(frozen=True)
class Jets:
    """N jets with M constituents; those of jet i are from `offsets[i]` to `offsets[i + 1]`."""

    values: NDArray[np.float32]
    """Continuous features of the constituents, (M, F)."""
    kinds: NDArray[np.uint8]
    """Particle-type index of the constituents, (M,)."""
    offsets: NDArray[np.int64]
    """(N + 1,), from 0 to M."""
    features: NDArray[np.float32]
    """Features of the jets, (N, J)."""
    labels: NDArray[np.int8]
    """Class of the jets, (N,)."""
    ids: NDArray[np.int64]
    """Ids of the jets, (N,)."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of constituents of each jet, (N,)."""
        return np.diff(self.offsets)

    def select(self, keep: NDArray[np.bool_]) -> Jets:
        """Return the jets of a mask (N,)."""
        lengths = self.lengths
        inside = np.repeat(keep, lengths)
        return Jets(
            values=self.values[inside],
            kinds=self.kinds[inside],
            offsets=offsets_of(lengths[keep]),
            features=self.features[keep],
            labels=self.labels[keep],
            ids=self.ids[keep],
        )

    def leading(self, count: int) -> Jets:
        """Return the jets with their first `count` constituents."""
        lengths = self.lengths
        position = np.arange(len(self.kinds)) - np.repeat(self.offsets[:-1], lengths)
        inside = position < count
        return replace(
            self,
            values=self.values[inside],
            kinds=self.kinds[inside],
            offsets=offsets_of(np.minimum(lengths, count)),
        )


def offsets_of(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where ragged rows of these lengths begin and end, (N + 1,)."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def columns(
    constituent_features: Sequence[str], jet_features: Sequence[str], classes: Sequence[str]
) -> list[str]:
    """Return the columns of a file of jets that `from_table` needs."""
    continuous = [f"part_{name}" for name in constituent_features if name != "pt"]
    return [
        "jet_id",
        *("part_px", "part_py", "part_charge"),
        *_FLAGS,
        *continuous,
        *(f"jet_{name}" for name in jet_features),
        *(f"label_{name}" for name in classes),
    ]


def from_table(
    table: pa.Table,
    constituent_features: Sequence[str],
    jet_features: Sequence[str],
    classes: Sequence[str],
    where: str | Path,
) -> Jets:
    """Turn a table with `columns` into ragged arrays, constituents in falling pT.

    Parameters
    ----------
    table
        Jets in the schema of `otcal.samples.jets`.
    constituent_features, jet_features
        Names of the continuous features, without ``part_`` and ``jet_``; ``pt`` of a constituent
        is computed.
    classes
        Class names in the order of the labels.
    where
        Name of the table in error messages.

    Raises
    ------
    InputError
        When the constituents' columns of a jet differ in length, or a jet has not exactly one
        class.
    """
    flat, offsets = _flatten(table, where)
    pt = np.hypot(flat["part_px"], flat["part_py"])
    flat["part_pt"] = pt
    jet = np.repeat(np.arange(len(table)), np.diff(offsets))
    order = np.lexsort((-pt, jet))
    values = np.stack([flat[f"part_{name}"] for name in constituent_features], axis=1)
    return Jets(
        values=values[order].astype(np.float32),
        kinds=_kinds(flat)[order],
        offsets=offsets,
        features=np.stack(
            [to_numpy(table[f"jet_{name}"]).astype(np.float32) for name in jet_features], axis=1
        ),
        labels=_labels(table, classes, where),
        ids=to_numpy(table["jet_id"]).astype(np.int64),
    )


def _flatten(
    table: pa.Table, where: str | Path
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.int64]]:
    """Return the list columns' values and their common offsets."""
    flat: dict[str, NDArray[np.float32]] = {}
    common: NDArray[np.int64] | None = None
    for name in table.column_names:
        if not name.startswith("part_"):
            continue
        column = table[name].combine_chunks()
        if isinstance(column, pa.ChunkedArray):  # an empty table keeps its chunks
            column = pa.concat_arrays(column.chunks)
        offsets = column.offsets.to_numpy().astype(np.int64)
        offsets = offsets - offsets[0]
        if common is not None and not np.array_equal(offsets, common):
            raise InputError(
                where,
                name,
                "has another number of constituents than part_px in some jet",
                "All part_ columns must list the same constituents: make the file again",
            )
        common = offsets
        flat[name] = column.flatten().to_numpy(zero_copy_only=False)
    assert common is not None  # `columns` always asks for part_px
    return flat, common


def _kinds(flat: dict[str, NDArray[np.float32]]) -> NDArray[np.uint8]:
    """Return the particle-type index; what no flag claims counts as a photon."""
    positive = flat["part_charge"] > 0
    kinds = np.full(len(positive), PHOTON, dtype=np.uint8)
    kinds[flat["part_isNeutralHadron"] > 0] = NEUTRAL_HADRON
    for flag, negative_kind, positive_kind in (
        ("part_isChargedHadron", NEGATIVE_HADRON, POSITIVE_HADRON),
        ("part_isElectron", ELECTRON, POSITRON),
        ("part_isMuon", MUON, ANTIMUON),
    ):
        there = flat[flag] > 0
        kinds[there] = np.where(positive[there], positive_kind, negative_kind)
    return kinds


def _labels(table: pa.Table, classes: Sequence[str], where: str | Path) -> NDArray[np.int8]:
    flags = np.stack([to_numpy(table[f"label_{name}"]) > 0 for name in classes], axis=1)
    wrong = flags.sum(axis=1) != 1
    if wrong.any():
        jet = int(to_numpy(table["jet_id"])[np.argmax(wrong)])
        raise InputError(
            where,
            "label_*",
            f"{int(wrong.sum())} jets do not have exactly one class (first: jet_id {jet})",
            f"Set one of: {', '.join(f'label_{name}' for name in classes)}",
        )
    return flags.argmax(axis=1).astype(np.int8)
