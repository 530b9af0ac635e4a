"""Arrays that pass between the stages of the detector."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from otcal.simulation.detector.card import Floats, Ints


@dataclass(frozen=True)
class Columns:
    """A bundle of equally long arrays."""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of the arrays."""
        return tuple(field.name for field in fields(cls))

    def __len__(self) -> int:
        return len(getattr(self, self.names()[0]))

    def take(self, rows: Ints | NDArray[np.bool_]) -> Self:
        """Return the rows with these numbers, or where this mask is true."""
        return type(self)(**{name: getattr(self, name)[rows] for name in self.names()})


@dataclass(frozen=True)
class Particles(Columns):
    """Stable particles of a batch of events: production point in mm, momenta in GeV."""

    event: Ints
    pid: Ints
    charge: Floats
    px: Floats
    py: Floats
    pz: Floats
    energy: Floats
    x: Floats
    y: Floats
    z: Floats


@dataclass(frozen=True)
class Propagated(Columns):
    """Particles that reached the surface of the tracker.

    `phi` is the direction of the momentum at the perigee (at production for neutrals), `eta_outer`
    and `phi_outer` are the point where the particle leaves the tracker, as seen from the origin;
    `d0` and `dz` are those of Delphes, in mm, and zero for neutrals. Energies in GeV.
    """

    event: Ints
    pid: Ints
    charge: Floats
    pt: Floats
    eta: Floats
    phi: Floats
    energy: Floats
    eta_outer: Floats
    phi_outer: Floats
    d0: Floats
    dz: Floats


@dataclass(frozen=True)
class Tracks(Columns):
    """Reconstructed charged particles; `pt`, `eta`, `phi` and `mass` make the momentum.

    `resolution` is the relative uncertainty of the momentum that the calorimeters see.
    """

    event: Ints
    pid: Ints
    charge: Floats
    pt: Floats
    eta: Floats
    phi: Floats
    mass: Floats
    eta_outer: Floats
    phi_outer: Floats
    resolution: Floats
    d0: Floats
    d0_error: Floats
    dz: Floats
    dz_error: Floats

    @property
    def energy(self) -> Floats:
        """Energy in GeV."""
        return np.hypot(self.pt * np.cosh(self.eta), self.mass)


@dataclass(frozen=True)
class Candidates(Columns):
    """Energy-flow objects: tracks, photons (id 22) and neutral hadrons (id 0).

    `eta` belongs to the momentum, `eta_position` is what the constituents' columns are made from.
    """

    event: Ints
    pid: Ints
    charge: Floats
    pt: Floats
    eta: Floats
    phi: Floats
    mass: Floats
    eta_position: Floats
    d0: Floats
    d0_error: Floats
    dz: Floats
    dz_error: Floats
