"""Anti-kT jets of energy-flow candidates, as columns of the jet schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import awkward as ak
import fastjet
import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from otcal.config.selection import Selection, TrackSelection
from otcal.samples.jets import CONSTITUENT_FLAGS, jet_schema
from otcal.simulation.detector.card import Floats, Ints
from otcal.simulation.detector.particles import Candidates

PZ_MAX_GEV = 10_000.0
ETA_MAX = 5.0
"""JetClass drops constituents beyond these two."""

_HADRONS = (211, 321, 2212)


@dataclass(frozen=True)
class Jets:
    """Jets with their constituents.

    `event`, `pt`, `eta`, `phi`, `energy` have shape (J,). Jet `j` consists of the candidates
    ``rows[offsets[j]:offsets[j + 1]]``, sorted by falling pT. Jets are sorted by event.
    """

    event: Ints
    pt: Floats
    eta: Floats
    phi: Floats
    energy: Floats
    offsets: Ints
    rows: Ints

    def __len__(self) -> int:
        return len(self.event)


@dataclass(frozen=True)
class Truth:
    """Jets that have a label, and what the label rests on.

    `rows` are the numbers of the jets and `label` their classes, shape (M,). `match` is a code,
    `pid`, `pt`, `eta`, `phi` the particle behind the label, zero where there is none.
    """

    rows: Ints
    label: Ints
    match: ArrayLike
    pid: ArrayLike
    pt: ArrayLike
    eta: ArrayLike
    phi: ArrayLike


def cluster(candidates: Candidates, n_events: int, selection: Selection) -> Jets:
    """Cluster the candidates of each event and keep the selected jets.

    All candidates are clustered; jets without constituents that are stored are dropped.

    Parameters
    ----------
    candidates
        Sorted by event.
    n_events
        Number of events of the batch.
    selection
        Radius, window in pT, range in eta and the constituents that are stored.
    """
    c = candidates
    offsets = np.searchsorted(c.event, np.arange(n_events + 1))
    pz = c.pt * np.sinh(c.eta)
    momenta = ak.contents.RecordArray(
        [
            ak.contents.NumpyArray(column)
            for column in (
                c.pt * np.cos(c.phi),
                c.pt * np.sin(c.phi),
                pz,
                np.sqrt(c.pt**2 + pz**2 + c.mass**2),
            )
        ],
        ["px", "py", "pz", "E"],
        parameters={"__record__": "Momentum4D"},
    )
    array = ak.Array(ak.contents.ListOffsetArray(ak.index.Index64(offsets), momenta))
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, selection.radius)
    sequence = fastjet.ClusterSequence(array, definition)

    found = sequence.inclusive_jets(min_pt=selection.pt_min)
    members = sequence.constituent_index(min_pt=selection.pt_min)
    event = np.repeat(np.arange(n_events), ak.to_numpy(ak.num(found)))
    px, py, pz, energy = (
        ak.to_numpy(ak.flatten(found[name])).astype(float) for name in ("px", "py", "pz", "E")
    )
    counts = ak.to_numpy(ak.flatten(ak.num(members, axis=2))).astype(np.int64)
    rows = ak.to_numpy(ak.flatten(members, axis=None)).astype(np.int64)
    rows += np.repeat(offsets[event], counts)

    pt = np.hypot(px, py)
    eta = np.arcsinh(pz / pt)
    kept = (pt > selection.pt_min) & (pt < selection.pt_max) & (np.abs(eta) < selection.abs_eta_max)
    owner = np.repeat(np.arange(len(pt)), counts)
    usable = kept[owner]
    usable &= np.abs(c.pt[rows] * np.sinh(c.eta_position[rows])) <= PZ_MAX_GEV
    usable &= np.abs(c.eta_position[rows]) <= ETA_MAX
    if selection.tracks is not None:
        usable &= _passes(c, selection.tracks)[rows]
    rows, owner = rows[usable], owner[usable]
    order = np.lexsort((-c.pt[rows], owner))
    rows, owner = rows[order], owner[order]
    counts = np.bincount(owner, minlength=len(pt))
    if selection.tracks is not None:
        number = np.arange(len(owner)) - (np.cumsum(counts) - counts)[owner]
        rows = rows[number < selection.tracks.maximum]
        counts = np.minimum(counts, selection.tracks.maximum)
    kept &= counts > 0
    counts = counts[kept]
    return Jets(
        event=event[kept],
        pt=pt[kept],
        eta=eta[kept],
        phi=np.arctan2(py, px)[kept],
        energy=energy[kept],
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        rows=rows,
    )


def _passes(c: Candidates, tracks: TrackSelection) -> NDArray[np.bool_]:
    """Return which candidates are tracks that are stored."""
    passed = (c.charge != 0) & (c.pt > tracks.pt_min) & (np.abs(c.d0) < tracks.abs_d0_max)
    return passed & (np.abs(c.dz) / np.cosh(c.eta) < tracks.abs_z0_sin_theta_max)


def to_table(jets: Jets, candidates: Candidates, truth: Truth, classes: Sequence[str]) -> pa.Table:
    """Return the labelled jets, without `jet_id`.

    Columns, units and signs are those of JetClass (`otcal.samples.jets`); `classes` are the names
    of the labels.
    """
    schema = jet_schema(classes)
    rows = truth.rows
    counts = np.diff(jets.offsets)[rows]
    chosen = np.isin(np.repeat(np.arange(len(jets)), np.diff(jets.offsets)), rows)
    columns = _constituents(candidates.take(jets.rows[chosen]), jets, np.repeat(rows, counts))
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
    result = {}
    for name, column in columns.items():
        values = pa.array(column, schema.field(name).type.value_type)
        result[name] = pa.ListArray.from_arrays(offsets, values)
    scalars: dict[str, ArrayLike] = {
        "jet_pt": jets.pt[rows],
        "jet_eta": jets.eta[rows],
        "jet_phi": jets.phi[rows],
        "jet_energy": jets.energy[rows],
        "jet_nparticles": counts,
        "aux_truth_match": truth.match,
        **{f"aux_genpart_{name}": getattr(truth, name) for name in ("eta", "phi", "pid", "pt")},
        **{f"label_{name}": truth.label == i for i, name in enumerate(classes)},
    }
    for name, scalar in scalars.items():
        kind = schema.field(name).type
        result[name] = pa.array(np.asarray(scalar).astype(kind.to_pandas_dtype()), kind)
    return pa.table({name: result[name] for name in schema.names if name != "jet_id"})


def _constituents(c: Candidates, jets: Jets, owner: Ints) -> dict[str, np.ndarray]:
    """Return the constituents' columns; `owner` is the jet of each candidate."""
    pz = c.pt * np.sinh(c.eta_position)
    side = np.where(jets.eta[owner] > 0, 1.0, -1.0)
    kind = np.abs(c.pid)
    flags = (
        np.isin(kind, _HADRONS),
        (c.pid == 0),
        (c.pid == 22),
        (kind == 11),
        (kind == 13),
    )
    floats = {
        "part_px": c.pt * np.cos(c.phi),
        "part_py": c.pt * np.sin(c.phi),
        "part_pz": pz,
        "part_energy": np.sqrt(c.pt**2 + pz**2 + c.mass**2),
        "part_deta": (c.eta_position - jets.eta[owner]) * side,
        "part_dphi": (c.phi - jets.phi[owner] + np.pi) % (2 * np.pi) - np.pi,
        "part_d0val": c.d0,
        "part_d0err": c.d0_error,
        "part_dzval": c.dz,
        "part_dzerr": c.dz_error,
        "part_charge": c.charge,
    }
    result = {name: column.astype(np.float32) for name, column in floats.items()}
    for name, flag in zip(CONSTITUENT_FLAGS, flags, strict=True):
        result[name] = flag.astype(np.int8)
    return result
