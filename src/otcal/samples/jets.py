"""Jets on disk: JetClass's own column names, units and meanings (arXiv:2202.03772).

GeV, millimetres, radians. `part_deta` is multiplied by the sign of `jet_eta`; `part_d0val` and
`part_dzval` are signed by geometry with respect to the origin, and zero for neutrals. Added to
JetClass: `jet_id`, a stable number that names the jet in every later file.

`jet_nparticles` counts the constituents that are stored. The `aux_` columns are the truth behind a
label: of the ten classes the resonance and JetClass's code for its decay, of flavours the hadron
and 5, 4 or 0 for b, c or light.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from otcal.samples import tables
from otcal.samples.classes import CLASSES

CONSTITUENT_FLOATS = (
    "part_px",
    "part_py",
    "part_pz",
    "part_energy",
    "part_deta",
    "part_dphi",
    "part_d0val",
    "part_d0err",
    "part_dzval",
    "part_dzerr",
    "part_charge",
)
CONSTITUENT_FLAGS = (
    "part_isChargedHadron",
    "part_isNeutralHadron",
    "part_isPhoton",
    "part_isElectron",
    "part_isMuon",
)
JET_FLOATS = ("jet_pt", "jet_eta", "jet_phi", "jet_energy", "jet_nparticles")
LABELS = tuple(f"label_{name}" for name in CLASSES)
"""Label columns of the ten classes."""
TRUTH_FLOATS = (
    "aux_genpart_eta",
    "aux_genpart_phi",
    "aux_genpart_pid",
    "aux_genpart_pt",
    "aux_truth_match",
)


def jet_schema(labels: Sequence[str]) -> pa.Schema:
    """Return the columns of a file of jets.

    JetClass's soft-drop mass and N-subjettiness columns are not part of it: no step reads them.

    Parameters
    ----------
    labels
        Names of the classes, of which each has a column ``label_<name>``: `CLASSES` or
        `otcal.samples.flavours.FLAVOURS`.
    """
    return pa.schema(
        [pa.field("jet_id", pa.int64())]
        + [pa.field(name, pa.list_(pa.float32())) for name in CONSTITUENT_FLOATS]
        + [pa.field(name, pa.list_(pa.int8())) for name in CONSTITUENT_FLAGS]
        + [pa.field(f"label_{name}", pa.int8()) for name in labels]
        + [pa.field(name, pa.float32()) for name in (*JET_FLOATS, *TRUTH_FLOATS)]
    )


JET_SCHEMA = jet_schema(CLASSES)
"""Columns of a file of jets of the ten classes."""


def write_jets(
    path: str | Path, jets: pa.Table, provenance: dict[str, Any], schema: pa.Schema = JET_SCHEMA
) -> None:
    """Write jets with the columns of `schema`."""
    tables.write_table(path, jets, schema, provenance)


def read_jets(
    paths: Iterable[str | Path], columns: Sequence[str], schema: pa.Schema = JET_SCHEMA
) -> pa.Table:
    """Read columns of several files of jets; bad files raise `InputError`."""
    return tables.read_tables(paths, schema, columns)


def iterate_jets(
    paths: Iterable[str | Path],
    columns: Sequence[str],
    batch_size: int = tables.ROW_GROUP,
    schema: pa.Schema = JET_SCHEMA,
) -> Iterator[pa.Table]:
    """Yield pieces of at most `batch_size` jets; bad files raise `InputError`."""
    yield from tables.iterate_tables(paths, schema, columns, batch_size)
