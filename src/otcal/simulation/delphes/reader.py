"""Events and energy-flow candidates from Delphes' ROOT files.

Jets are clustered again from the candidates, as those of the array code are, instead of following
the references from Delphes' own jets to their constituents: the radius and the window are then
those of the study, not of a card; a file needs two plain branches, whatever jets its card makes;
and nothing depends on how references (TRefArray) are stored, which uproot does not read.

Branches are those of Delphes' TreeWriter: `Particle` (class GenParticle) of
``Delphes/allParticles`` for the labels, and `ParticleFlowCandidate` of the merged energy flow. The
pseudorapidity of momenta is taken from `CtgTheta`, since `Eta` is that of the position up to
Delphes 3.5.0, and that of the momentum later.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from otcal.runtime.errors import InputError
from otcal.samples.readers.files import damage_named, open_tree
from otcal.simulation.detector.particles import Candidates
from otcal.simulation.generator import Events

TREE = "Delphes"
BRANCHES = {
    "Particle": ("PID", "Status", "D1", "D2", "Charge", "Px", "Py", "Pz", "E", "X", "Y", "Z"),
    "ParticleFlowCandidate": (
        *("PID", "Charge", "PT", "CtgTheta", "EtaOuter", "Phi", "Mass"),
        *("D0", "ErrorD0", "DZ", "ErrorDZ"),
    ),
}
"""What is read."""

_SOURCES = {
    "Particle": "Delphes/allParticles Particle GenParticle",
    "ParticleFlowCandidate": "EFlowMerger/eflow ParticleFlowCandidate ParticleFlowCandidate",
}

Columns = dict[str, NDArray[Any]]


def read(
    path: str | Path, batch: int, position_eta: bool = True
) -> Iterator[tuple[Events, Candidates]]:
    """Yield the events of a file and their candidates, at most `batch` events at a time.

    Parameters
    ----------
    path
        Output of Delphes, version 3.5 or later.
    batch
        Events in memory at once.
    position_eta
        As `otcal.config.simulation.Detector.position_eta`.

    Raises
    ------
    InputError
        For a file that is missing, damaged, truncated, or without one of `BRANCHES`.
    """
    with damage_named(path):
        tree = open_tree(path, TREE)
        with closing(tree.file):
            _require_branches(path, tree)
            total = int(tree.num_entries)
            for first in range(0, total, batch):
                last = min(first + batch, total)
                offsets, particles = _columns(tree, "Particle", first, last)
                starts, candidates = _columns(tree, "ParticleFlowCandidate", first, last)
                yield _events(offsets, particles), _candidates(starts, candidates, position_eta)


def _require_branches(path: str | Path, tree: Any) -> None:
    # Branches of objects hold those of their members; files of other writers may have no levels.
    there = {name.rpartition("/")[2] for name in tree.keys(recursive=True)}
    for branch, members in BRANCHES.items():
        for member in members:
            if f"{branch}.{member}" not in there:
                raise InputError(
                    path,
                    f"{branch}.{member}",
                    "no such branch",
                    f"The card's TreeWriter needs 'add Branch {_SOURCES[branch]}', in Delphes 3.5 "
                    "or later",
                )


def _columns(tree: Any, branch: str, first: int, last: int) -> tuple[NDArray[np.int64], Columns]:
    """Return where each event begins and ends, and the members, one event after the other."""
    arrays = {
        name: tree[f"{branch}.{name}"].array(entry_start=first, entry_stop=last)
        for name in BRANCHES[branch]
    }
    counts = ak.to_numpy(ak.num(arrays["PID"])).astype(np.int64)
    flat = {name: ak.to_numpy(ak.flatten(array)) for name, array in arrays.items()}
    return np.concatenate([[0], np.cumsum(counts)]), flat


def _events(offsets: NDArray[np.int64], flat: Columns) -> Events:
    """Return event records: as Pythia's, without the entry for the event as a whole.

    `status` is Delphes' own, which is positive for particles that decayed, too.

    Delphes counts from zero and has -1 for no daughter. Here no daughter is zero, which no particle
    has for a daughter: the first one is a beam.
    """
    names = {"px": "Px", "py": "Py", "pz": "Pz", "energy": "E", "x": "X", "y": "Y", "z": "Z"}
    return Events(
        offsets=offsets,
        pid=flat["PID"].astype(np.int64),
        status=flat["Status"],
        daughter1=np.maximum(flat["D1"], 0),
        daughter2=np.maximum(flat["D2"], 0),
        charge=flat["Charge"].astype(np.float64),
        **{ours: flat[theirs].astype(np.float64) for ours, theirs in names.items()},
    )


def _candidates(offsets: NDArray[np.int64], flat: Columns, position_eta: bool) -> Candidates:
    charged = flat["Charge"] != 0
    values = {name: flat[name].astype(np.float64) for name in BRANCHES["ParticleFlowCandidate"]}
    eta = np.arcsinh(values["CtgTheta"])
    result = Candidates(
        event=np.repeat(np.arange(len(offsets) - 1), np.diff(offsets)),
        pid=flat["PID"].astype(np.int64),
        charge=values["Charge"],
        pt=values["PT"],
        eta=eta,
        phi=values["Phi"],
        mass=np.maximum(values["Mass"], 0.0),  # rounding makes it negative
        eta_position=np.where(charged, values["EtaOuter"], eta) if position_eta else eta,
        d0=np.where(charged, values["D0"], 0.0),
        d0_error=np.where(charged, values["ErrorD0"], 0.0),
        dz=np.where(charged, values["DZ"], 0.0),
        dz_error=np.where(charged, values["ErrorDZ"], 0.0),
    )
    return result.take(result.pt > 0)  # tracks of towers below threshold stay in the file
