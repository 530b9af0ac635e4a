"""Pseudo-data: simulated jets whose tracks are measured worse than the simulation says.

A controlled mismodelling as in Kim, Yang (arXiv:2605.01363, sec. VI): Gaussian smearing and random
dropout of track features. Unlike a variation of the detector it is done to jets that exist already.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from otcal.config.degradation import Degradation
from otcal.runtime.seeds import derive
from otcal.samples.tables import to_numpy

SMEARED = ("d0val", "dzval")
"""Constituent features with a quoted error, which `Degradation` has a width for."""


def needed(spec: Degradation) -> list[str]:
    """Return the columns that `degrade` reads: of what is not smeared, no errors."""
    smeared = [name for name in SMEARED if getattr(spec, name) > 0]
    errors = [name.replace("val", "err") for name in smeared]
    return [
        *("jet_id", "jet_nparticles", "part_charge"),
        *(f"part_{name}" for name in (*smeared, *errors)),
    ]


def degrade(table: pa.Table, spec: Degradation) -> pa.Table:
    """Return jets with smeared impact parameters and fewer tracks.

    Impact parameters move by a Gaussian of the given width in units of their quoted error, so that
    the variance of a pull grows from 1 to 1 + width^2; the quoted errors do not change. Tracks (the
    charged constituents) are lost at random, but never the last one of a jet. Only these two
    features, the lists of constituents and `jet_nparticles` differ from what came in.

    What happens to a jet depends on `spec` and the jet alone: its random numbers are those of a
    stream that is named by the seed and its id. Neither the other jets of a table nor the sizes of
    the changes affect them.

    Parameters
    ----------
    table
        Jets with the columns that `needed` names, and any others.
    spec
        Sizes of the changes, and the seed.
    """
    if len(table) == 0:
        return table
    lists = {
        name: table[name].combine_chunks()
        for name in table.column_names
        if name.startswith("part_")
    }
    flat = {name: column.flatten() for name, column in lists.items()}
    lengths = to_numpy(lists["part_charge"].value_lengths()).astype(np.int64)
    jet = np.repeat(np.arange(len(table)), lengths)
    charged = to_numpy(flat["part_charge"]) != 0
    uniform, normal = _draws(to_numpy(table["jet_id"]), lengths, spec.seed)

    for name, gauss in zip(SMEARED, normal, strict=True):
        if getattr(spec, name) == 0:
            continue
        value, error = (
            to_numpy(flat[f"part_{kind}"]).astype(np.float64)
            for kind in (name, name.replace("val", "err"))
        )
        value = value + np.where(charged, getattr(spec, name) * error * gauss, 0.0)
        flat[f"part_{name}"] = pa.array(value.astype(np.float32))

    lost = charged & (uniform < spec.dropout)
    lost &= uniform < _largest(np.where(charged, uniform, -1.0), jet, len(table))[jet]
    kept = pa.array(~lost)
    gone = np.bincount(jet[lost], minlength=len(table))
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths - gone)]), pa.int32())
    changed = {name: pa.ListArray.from_arrays(offsets, flat[name].filter(kept)) for name in lists}
    changed["jet_nparticles"] = pa.array(to_numpy(table["jet_nparticles"]) - gone)
    for position, field in enumerate(table.schema):
        if field.name in changed:
            table = table.set_column(position, field, changed[field.name].cast(field.type))
    return table


def _draws(
    ids: NDArray[np.int64], lengths: NDArray[np.int64], seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a uniform and two Gaussian numbers per constituent, shapes (M,) and (2, M).

    Philox is keyed by seed and id, which makes streams independent without a hash.
    """
    first = derive(seed, "degradation")
    uniform, normal = [], []
    for jet_id, length in zip(ids.astype(np.uint64), lengths.tolist(), strict=True):
        stream = np.random.Generator(np.random.Philox(key=np.array([first, jet_id], np.uint64)))
        uniform.append(stream.random(length))
        normal.append(stream.standard_normal((len(SMEARED), length)))
    return np.concatenate(uniform), np.concatenate(normal, axis=1)


def _largest(values: NDArray[np.float64], owner: NDArray[np.int64], n: int) -> NDArray[np.float64]:
    """Return the largest value of each owner, -1 for owners of nothing, shape (n,)."""
    result = np.full(n, -1.0)
    np.maximum.at(result, owner, values)
    return result
