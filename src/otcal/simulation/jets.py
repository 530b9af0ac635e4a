"""Anti-kT jets of energy-flow candidates, as columns of the jet schema."""

from __future__ import annotations

from dataclasses import dataclass

import awkward as ak
import fastjet
import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from otcal.config.simulation import Selection
from otcal.samples.classes import CLASSES
from otcal.samples.jets import CONSTITUENT_FLAGS, JET_SCHEMA, LABELS
from otcal.simulation.detector.card import Floats, Ints
from otcal.simulation.detector.particles import Candidates
from otcal.simulation.labels import CODES, Record, match

PZ_MAX_GEV = 10_000.0
ETA_MAX = 5.0
"""JetClass drops constituents beyond these two."""

_HADRONS = (211, 321, 2212)


@dataclass(frozen=True)
class Jets:
    """Jets with their constituents.

    `event`, `pt`, `eta`, `phi`, `energy` have shape (J,). Jet `j` consists of the candidates
    ``rows[offsets[j]:offsets[j + 1]]``, sorted by falling pT.
    """

    event: Ints
    pt: Floats
    eta: Floats
    phi: Floats
    energy: Floats
    offsets: Ints
    rows: Ints


def cluster(candidates: Candidates, n_events: int, selection: Selection) -> Jets:
    """Cluster the candidates of each event and keep the selected jets.

    Parameters
    ----------
    candidates
        Sorted by event.
    n_events
        Number of events of the batch.
    selection
        Radius, window in pT and range in eta.
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
    rows, owner = rows[usable], owner[usable]
    order = np.lexsort((-c.pt[rows], owner))
    counts = np.bincount(owner, minlength=len(pt))[kept]
    return Jets(
        event=event[kept],
        pt=pt[kept],
        eta=eta[kept],
        phi=np.arctan2(py, px)[kept],
        energy=energy[kept],
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        rows=rows[order],
    )


def to_table(
    jets: Jets, candidates: Candidates, record: Record, process: str, radius: float
) -> pa.Table:
    """Return the jets of the process's own class, without `jet_id`.

    Columns, units and signs are those of JetClass (`otcal.samples.jets`).
    """
    truth: dict[str, list[float]] = {k: [] for k in ("match", "pid", "pt", "eta", "phi")}
    kept = []
    for j, event in enumerate(jets.event.tolist()):
        resonances = record.resonances(event)
        code, resonance = match(resonances, float(jets.eta[j]), float(jets.phi[j]), radius)
        if code not in CODES[process]:
            continue
        kept.append(j)
        truth["match"].append(code)
        for name in ("pid", "pt", "eta", "phi"):
            truth[name].append(getattr(resonance, name) if resonance else 0)

    rows = np.array(kept, dtype=np.int64)
    counts = np.diff(jets.offsets)[rows]
    chosen = np.isin(np.repeat(np.arange(len(jets.pt)), np.diff(jets.offsets)), rows)
    columns = _constituents(candidates.take(jets.rows[chosen]), jets, np.repeat(rows, counts))
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
    result = {}
    for name, column in columns.items():
        values = pa.array(column, JET_SCHEMA.field(name).type.value_type)
        result[name] = pa.ListArray.from_arrays(offsets, values)
    scalars: dict[str, ArrayLike] = {
        "jet_pt": jets.pt[rows],
        "jet_eta": jets.eta[rows],
        "jet_phi": jets.phi[rows],
        "jet_energy": jets.energy[rows],
        "jet_nparticles": counts,
        "aux_truth_match": truth["match"],
        **{f"aux_genpart_{name}": truth[name] for name in ("eta", "phi", "pid", "pt")},
        **{
            label: np.full(len(rows), name == process)
            for label, name in zip(LABELS, CLASSES, strict=True)
        },
    }
    for name, scalar in scalars.items():
        kind = JET_SCHEMA.field(name).type
        result[name] = pa.array(np.asarray(scalar).astype(kind.to_pandas_dtype()), kind)
    return pa.table({name: result[name] for name in JET_SCHEMA.names if name != "jet_id"})


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
