"""Motion of particles through the tracker to its surface, and their impact parameters.

Follows Delphes' ParticlePropagator (arXiv:1307.6346) in closed form: helices around a field along
z, in a cylinder centred on the origin.
"""

from __future__ import annotations

import numpy as np

from otcal.simulation.detector.card import (
    MAGNETIC_FIELD_T,
    SOLENOID_HALF_LENGTH_M,
    SOLENOID_RADIUS_M,
    Floats,
)
from otcal.simulation.detector.particles import Particles, Propagated

LIGHT_M_PER_NS = 0.299792458
_PT2_MIN_GEV2 = 1.0e-9


def propagate(particles: Particles) -> Propagated:
    """Carry particles to the tracker's surface.

    Particles born outside the tracker or without transverse momentum vanish. The direction of a
    charged particle is turned to its perigee, the point of closest approach to the z axis.
    """
    pt2 = particles.px**2 + particles.py**2
    born = np.hypot(particles.x, particles.y) <= SOLENOID_RADIUS_M * 1e3
    born &= np.abs(particles.z) <= SOLENOID_HALF_LENGTH_M * 1e3
    kept = particles.take(born & (pt2 > _PT2_MIN_GEV2))

    pt = np.hypot(kept.px, kept.py)
    phi = np.arctan2(kept.py, kept.px)
    d0, dz = np.zeros(len(kept)), np.zeros(len(kept))
    x_out, y_out, z_out = np.empty(len(kept)), np.empty(len(kept)), np.empty(len(kept))

    neutral = np.flatnonzero(kept.charge == 0)
    x_out[neutral], y_out[neutral], z_out[neutral] = _straight(kept.take(neutral))
    charged = np.flatnonzero(kept.charge != 0)
    helix = _helix(kept.take(charged), pt[charged], phi[charged])
    x_out[charged], y_out[charged], z_out[charged], phi[charged], d0[charged], dz[charged] = helix

    return Propagated(
        event=kept.event,
        pid=kept.pid,
        charge=kept.charge,
        pt=pt,
        eta=np.arcsinh(kept.pz / pt),
        phi=phi,
        energy=kept.energy,
        eta_outer=np.arcsinh(z_out / np.hypot(x_out, y_out)),
        phi_outer=np.arctan2(y_out, x_out),
        d0=d0,
        dz=dz,
    )


def _straight(p: Particles) -> tuple[Floats, Floats, Floats]:
    """Return where straight lines leave the tracker, in m."""
    x, y, z = p.x * 1e-3, p.y * 1e-3, p.z * 1e-3
    pt2 = p.px**2 + p.py**2
    along = x * p.px + y * p.py
    inside = SOLENOID_RADIUS_M**2 - x**2 - y**2
    to_side = (np.sqrt(along**2 + pt2 * inside) - along) / pt2
    step = np.minimum(to_side, _time_to_end(z, p.pz))
    return x + p.px * step, y + p.py * step, z + p.pz * step


def _time_to_end(z: Floats, speed: Floats) -> Floats:
    """Return the time until an end cap at constant `speed` along z; infinite at rest."""
    with np.errstate(divide="ignore", invalid="ignore"):
        time = (np.copysign(SOLENOID_HALF_LENGTH_M, speed) - z) / speed
    return np.where(speed == 0, np.inf, time)


def _helix(
    p: Particles, pt: Floats, phi0: Floats
) -> tuple[Floats, Floats, Floats, Floats, Floats, Floats]:
    """Return exit point in m, direction at the perigee, d0 and dz in mm."""
    x, y, z = p.x * 1e-3, p.y * 1e-3, p.z * 1e-3
    radius = pt / (p.charge * MAGNETIC_FIELD_T * LIGHT_M_PER_NS)  # signed by the charge
    omega = LIGHT_M_PER_NS * pt / (p.energy * radius)  # turns per ns; positive charge: clockwise
    speed = LIGHT_M_PER_NS * p.pz / p.energy
    x_c = x + radius * np.sin(phi0)
    y_c = y - radius * np.cos(phi0)
    r_c = np.hypot(x_c, y_c)

    # The angle is reduced modulo half a turn: Delphes takes the extremal point of the circle
    # within a quarter turn of the production point.
    turn = phi0 + np.arctan2(x_c, y_c)
    turn -= np.pi * np.round(turn / np.pi)
    time_d = turn / omega
    phi_d = phi0 - turn
    x_d = x_c - radius * np.sin(phi_d)
    y_d = y_c + radius * np.cos(phi_d)
    d0 = x_d * np.sin(phi_d) - y_d * np.cos(phi_d)
    dz = z + speed * time_d

    cosine = (radius**2 + r_c**2 - SOLENOID_RADIUS_M**2) / (2 * np.abs(radius) * r_c)
    to_side = time_d + np.abs(np.arccos(np.clip(cosine, -1.0, 1.0)) / omega)
    to_side = np.where(r_c + np.abs(radius) < SOLENOID_RADIUS_M, np.inf, to_side)
    time = np.minimum(to_side, _time_to_end(z, speed))
    # A helix without motion along z that never reaches the side stays where it is.
    time = np.where(np.isfinite(time), time, 0.0)
    phi_t = phi0 - omega * time
    x_t = x_c - radius * np.sin(phi_t)
    y_t = y_c + radius * np.cos(phi_t)
    phi_d = phi_d - 2 * np.pi * np.round(phi_d / (2 * np.pi))
    return x_t, y_t, z + speed * time, phi_d, d0 * 1e3, dz * 1e3
