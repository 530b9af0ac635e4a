"""Events of Pythia 8 as flat arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pythia8mc
from numpy.typing import NDArray

from otcal.config.simulation import Variation
from otcal.simulation.detector.card import Floats, Ints
from otcal.simulation.detector.particles import Particles
from otcal.simulation.processes import COMMON, PROCESSES
from otcal.simulation.variations import scale_settings

MAX_TRIALS = 20.0
"""Attempts per accepted event before the generation of a batch is given up."""


@dataclass(frozen=True)
class Events:
    """Event records of a batch, one after the other.

    Event `i` has the entries ``offsets[i]:offsets[i + 1]`` of all other arrays. Daughters are
    numbered within their event, as in Pythia. Momenta in GeV, `x`, `y`, `z` are production
    points in mm, `charge` is in units of e.
    """

    offsets: Ints
    pid: Ints
    status: Ints
    daughter1: Ints
    daughter2: Ints
    px: Floats
    py: Floats
    pz: Floats
    energy: Floats
    x: Floats
    y: Floats
    z: Floats
    charge: Floats

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def event_of(self, rows: Ints) -> Ints:
        """Return the events that entries belong to."""
        return np.searchsorted(self.offsets, rows, side="right") - 1

    def daughters(self, rows: Ints) -> tuple[Ints, Ints]:
        """Return the daughters of entries, one entry after the other.

        Parameters
        ----------
        rows
            Entries, shape (N,).

        Returns
        -------
        position, daughter
            Shape (M,) each: `daughter` is a daughter of ``rows[position]``. Pythia's two numbers
            mean a range, or two separate entries where the second is the smaller one.
        """
        low, high = self.daughter1[rows].astype(np.int64), self.daughter2[rows].astype(np.int64)
        high = np.where(high == 0, low, high)
        count = np.where(low <= 0, 0, np.where(high < low, 2, high - low + 1))
        stride = np.where(high < low, high - low, 1)
        position = np.repeat(np.arange(len(rows)), count)
        number = np.arange(len(position)) - (np.cumsum(count) - count)[position]
        first = self.offsets[self.event_of(rows)] + low
        return position, first[position] + number * stride[position]

    def stable(self) -> Particles:
        """Return the particles that reach the detector."""
        rows = np.flatnonzero(self.status > 0)
        names = [name for name in Particles.names() if name != "event"]
        return Particles(
            event=self.event_of(rows),
            **{name: getattr(self, name)[rows] for name in names},
        )


def settings(process: str, variation: Variation, seed: int) -> list[str]:
    """Return the lines that Pythia is configured with; arguments as `Generator`."""
    card = PROCESSES[process]
    return [
        *COMMON,
        f"Random:seed = {1 + seed % 900_000_000}",
        f"PhaseSpace:pTHatMin = {card.pt_hat_min!r}",
        *card.settings,
        *scale_settings(variation),
    ]


class Generator:
    """A Pythia instance for one process.

    Parameters
    ----------
    process
        A key of `PROCESSES`.
    variation
        Its scale factors are applied.
    seed
        Seed of Pythia, from 0 to 2^31 - 1; folded into the range that Pythia takes.
    """

    def __init__(self, process: str, variation: Variation, seed: int) -> None:
        self.card = PROCESSES[process]
        self._batches = 0
        self.pythia = pythia8mc.Pythia("", False)
        for line in settings(process, variation, seed):
            if not self.pythia.readString(line):
                raise RuntimeError(f"Pythia refuses the setting '{line}'")
        if not self.pythia.init():
            raise RuntimeError(f"Pythia cannot be initialised for process {process}")

    def next_batch(self, n_events: int) -> Events:
        """Generate `n_events` events (`RuntimeError` when too many attempts fail)."""
        if self.card.alternatives:
            for line in self.card.alternatives[self._batches % len(self.card.alternatives)]:
                self.pythia.readString(line)
        self._batches += 1
        batch = self.pythia.nextBatch(n_events, MAX_TRIALS)
        records = batch.layout.content("prt")
        fields = records.content
        momentum = fields.content("p")
        pid = np.asarray(fields.content("id").data, dtype=np.int64)
        offsets = np.asarray(records.offsets.data)
        x, y, z = self._vertices(fields.content("vProd"), offsets)
        return Events(
            offsets=offsets,
            pid=pid,
            status=fields.content("status").data,
            daughter1=fields.content("daughter1").data,
            daughter2=fields.content("daughter2").data,
            px=momentum.content("px").data,
            py=momentum.content("py").data,
            pz=momentum.content("pz").data,
            energy=momentum.content("e").data,
            x=x,
            y=y,
            z=z,
            charge=self._charges(pid),
        )

    def _charges(self, pid: Ints) -> Floats:
        kinds, where = np.unique(pid, return_inverse=True)
        charge = np.array([self.pythia.particleData.charge(int(kind)) for kind in kinds])
        return charge[where]

    def _vertices(self, optional: Any, offsets: Ints) -> NDArray[np.float64]:
        """Return production points in mm, shape (3, particles); the origin where unset.

        Pythia 8.317 puts one entry too many in front of the vertices of every event of a batch
        (the system entry, which never has a vertex, then seems to have one), and cuts off as many
        at the end. The entries are shifted back here, and the missing ones, which belong to the
        last event, are read from the event record itself.
        """
        index = np.asarray(optional.index.data)
        components = [np.asarray(optional.content.content(k).data) for k in ("px", "py", "pz")]
        missing = 0
        if index[0] >= 0:
            missing = len(offsets) - 1
            event = np.repeat(np.arange(missing), np.diff(offsets))
            index = index[np.minimum(np.arange(len(index)) + event + 1, len(index) - 1)]
        result = np.zeros((3, len(index)))
        known = np.flatnonzero(index[: len(index) - missing] >= 0)
        for row, values in zip(result, components, strict=True):
            row[known] = values[index[known]]
        last = self.pythia.event
        if missing > last.size():
            raise RuntimeError(f"batches must be shorter than an event record ({last.size()})")
        for back in range(1, missing + 1):
            entry = last[last.size() - back]
            result[:, -back] = entry.xProd(), entry.yProd(), entry.zProd()
        return result
