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
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from otcal.runtime.errors import InputError
from otcal.samples.readers.files import damage_named, open_tree
from otcal.simulation.detector.card import Floats, Ints
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

WEIGHT = "Event.Weight"
_MEMBERS = {
    **{"pt": "PT", "eta": "CtgTheta", "phi": "Phi", "mass": "Mass", "eta_position": "EtaOuter"},
    **{"d0": "D0", "d0_error": "ErrorD0", "dz": "DZ", "dz_error": "ErrorDZ"},
}
"""What the numbers of `Candidates` are made from."""


class Piece(NamedTuple):
    """Some events of a file."""

    first: int
    """Entry of the first one."""
    events: int
    """How many they are."""
    record: Events | None
    """Generated particles, where these are read."""
    candidates: Candidates
    """Energy-flow candidates."""


class DelphesFile:
    """A file that is open.

    Parameters
    ----------
    path
        Where it is.
    tree
        Its TTree.
    """

    def __init__(self, path: str | Path, tree: Any) -> None:
        self.path, self._tree = path, tree
        self.events = int(tree.num_entries)
        # Branches of objects hold those of their members; files of other writers have no levels.
        self._there = {name.rpartition("/")[2] for name in tree.keys(recursive=True)}

    def require(self, *branches: str) -> None:
        """Raise `InputError` when one of these `BRANCHES`, or a member of it, is not there."""
        for branch in branches:
            for member in BRANCHES[branch]:
                if f"{branch}.{member}" not in self._there:
                    raise InputError(
                        self.path,
                        f"{branch}.{member}",
                        "no such branch",
                        f"The card's TreeWriter needs 'add Branch {_SOURCES[branch]}', in Delphes "
                        "3.5 or later",
                    )

    def weights(self) -> Floats:
        """Return the different weights of the events, sorted; none for a file without weights.

        Raises
        ------
        InputError
            When the file is damaged there.
        """
        if WEIGHT not in self._there:
            return np.empty(0)
        with damage_named(self.path):
            weights = ak.to_numpy(ak.flatten(self._tree[WEIGHT].array(), axis=None))
        return np.unique(weights, equal_nan=False)

    def iterate(
        self, first: int, last: int, batch: int, position_eta: bool = True, truth: bool = True
    ) -> Iterator[Piece]:
        """Yield the events from `first` to `last` (exclusive), at most `batch` at a time.

        Parameters
        ----------
        first, last
            Entries.
        batch
            Events in memory at once.
        position_eta
            As `otcal.config.simulation.Detector.position_eta`.
        truth
            Whether the generated particles are read.

        Raises
        ------
        InputError
            For a file without one of `BRANCHES` that is read, one that is damaged there, and NaN or
            infinite values.
        """
        branches = list(BRANCHES) if truth else ["ParticleFlowCandidate"]
        self.require(*branches)
        names = [f"{branch}.{member}" for branch in branches for member in BRANCHES[branch]]
        span = {"entry_start": first, "entry_stop": last}
        with damage_named(self.path):
            # uproot keeps the baskets that reach into the next piece: none is read twice.
            for arrays in self._tree.iterate(names, step_size=batch, how=dict, **span):
                record = self._record(first, arrays) if truth else None
                candidates = self._candidates(first, arrays, position_eta)
                yield Piece(first, len(arrays[names[0]]), record, candidates)
                first += batch

    def _candidates(self, first: int, arrays: Any, position_eta: bool) -> Candidates:
        found = _candidates(*_columns(arrays, "ParticleFlowCandidate"), position_eta)
        # Tracks of towers below threshold stay in the file; NaN is not below zero.
        found = found.take(~(found.pt <= 0))
        members = {theirs: getattr(found, ours) for ours, theirs in _MEMBERS.items()}
        self._require_finite("ParticleFlowCandidate", members, first + found.event)
        return found

    def _record(self, first: int, arrays: Any) -> Events:
        offsets, flat = _columns(arrays, "Particle")
        self._require_finite("Particle", flat, first + _owners(offsets))
        return _events(offsets, flat)

    def _require_finite(self, branch: str, members: Columns, entries: Ints) -> None:
        for name, values in members.items():
            bad = ~np.isfinite(values)
            if bad.any():
                raise InputError(
                    self.path,
                    f"{branch}.{name}",
                    f"has NaN or infinite values (first: entry {entries[bad][0]})",
                    "Make the file again without these events",
                )


@contextmanager
def open_delphes(path: str | Path) -> Iterator[DelphesFile]:
    """Open a file of Delphes.

    Raises
    ------
    InputError
        For a file that is missing, damaged, truncated, or without the TTree `TREE`.
    """
    with damage_named(path):
        try:
            tree = open_tree(path, TREE)
        except InputError as error:
            if error.field != TREE:
                raise
            remedy = f"{error.remedy}. Give another `format` if Delphes did not write it"
            raise InputError(path, TREE, error.problem, remedy) from None
        file = DelphesFile(path, tree)
    with closing(tree.file):
        yield file


def recognised(path: str | Path) -> bool:
    """Tell whether a file is one of ROOT with the TTree `TREE`.

    Raises
    ------
    InputError
        For a file that is missing, and one of ROOT that is damaged or truncated.
    """
    with damage_named(path), Path(path).open("rb") as stream:
        if stream.read(4) != b"root":
            return False
    try:
        with open_delphes(path):
            return True
    except InputError as error:
        if error.field != TREE:
            raise
        return False


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
        As `open_delphes` and `DelphesFile.iterate`.
    """
    with open_delphes(path) as file:
        for piece in file.iterate(0, file.events, batch, position_eta):
            assert piece.record is not None
            yield piece.record, piece.candidates


def _columns(arrays: Any, branch: str) -> tuple[Ints, Columns]:
    """Return where each event begins and ends, and the members, one event after the other."""
    counts = ak.to_numpy(ak.num(arrays[f"{branch}.PID"])).astype(np.int64)
    flat = {name: ak.to_numpy(ak.flatten(arrays[f"{branch}.{name}"])) for name in BRANCHES[branch]}
    return np.concatenate([[0], np.cumsum(counts)]), flat


def _owners(offsets: Ints) -> Ints:
    """Return the number of each entry's event."""
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


def _events(offsets: Ints, flat: Columns) -> Events:
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


def _candidates(offsets: Ints, flat: Columns, position_eta: bool) -> Candidates:
    charged = flat["Charge"] != 0
    values = {name: flat[name].astype(np.float64) for name in BRANCHES["ParticleFlowCandidate"]}
    eta = np.arcsinh(values["CtgTheta"])
    return Candidates(
        event=_owners(offsets),
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
