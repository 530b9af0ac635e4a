"""Which charged particles become tracks, and how well they are measured.

Delphes' Efficiency, MomentumSmearing and TrackSmearing modules with the JetClass card.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from otcal.config.simulation import Detector, Variation
from otcal.simulation.detector import atlas, card
from otcal.simulation.detector.card import Floats, Ints
from otcal.simulation.detector.particles import Propagated, Tracks
from otcal.simulation.variations import extra_width, resolution_growth

_RESOLUTIONS: dict[str, Callable[[str], Callable[[Floats, Floats], Floats]]] = {
    "jetclass": card.impact_parameter_resolution,
    "atlas": atlas.impact_parameter_resolution,
}


def efficiency(pid: Ints, pt: Floats, eta: Floats) -> Floats:
    """Return the probability that charged particles are reconstructed.

    Parameters
    ----------
    pid, pt
        PDG ids and transverse momenta in GeV, shape (N,).
    eta
        Pseudorapidities of the points where the particles leave the tracker.
    """
    grid, offset, slope = card.tracking_efficiency()
    kind = card.species(pid)
    i, j, inside = grid.bins(eta, pt)
    scale = np.where(inside, grid.values[kind, i, j], 0.0)
    return scale * np.exp(offset[kind, i, j] - slope[kind, i, j] * pt)


def momentum_resolution(pid: Ints, pt: Floats, eta: Floats) -> Floats:
    """Return the relative resolution of the transverse momentum; arguments as `efficiency`."""
    edges, values = card.momentum_resolution()
    i = np.searchsorted(edges, np.abs(eta), side="left") - 1
    inside = i < values.shape[1]
    constant, slope = values[card.species(pid), np.where(inside, i, 0)].T
    return np.where(inside, np.minimum(np.hypot(constant, slope * pt), 1.0), 0.0)


def lognormal(rng: np.random.Generator, mean: Floats, width: Floats) -> Floats:
    """Draw log-normal numbers of given mean and standard deviation; 0 where the mean is."""
    positive = mean > 0
    safe = np.where(positive, mean, 1.0)
    spread2 = np.log1p((width / safe) ** 2)
    value = safe * np.exp(np.sqrt(spread2) * rng.standard_normal(len(mean)) - spread2 / 2)
    return np.where(positive, value, 0.0)


def reconstruct(
    particles: Propagated, detector: Detector, variation: Variation, rng: np.random.Generator
) -> tuple[Tracks, NDArray[np.intp]]:
    """Return the tracks and the rows of `particles` that they belong to."""
    charged = np.flatnonzero(particles.charge != 0)
    p = particles.take(charged)
    probability = efficiency(p.pid, p.pt, p.eta_outer) * (1 - variation.tracking_efficiency_loss)
    found = rng.random(len(p)) <= probability
    p, rows = p.take(found), charged[found]

    resolution = momentum_resolution(p.pid, p.pt, p.eta_outer)
    smeared_pt = lognormal(rng, p.pt, resolution * p.pt)
    growth = resolution_growth(variation.impact_parameter_smearing, smeared_pt, p.eta)
    measured = {}
    for name, true in (("d0", p.d0), ("dz", p.dz)):
        sigma = _RESOLUTIONS[detector.impact_parameters](name)(p.eta, smeared_pt)
        value = true + sigma * rng.standard_normal(len(p))
        # Drawn always, so that a variation changes nothing but what it is about.
        value += sigma * extra_width(growth) * rng.standard_normal(len(p))
        measured[name] = value
        measured[f"{name}_error"] = sigma * (1 + growth)

    mass2 = p.energy**2 - (p.pt * np.cosh(p.eta)) ** 2
    tracks = Tracks(
        event=p.event,
        pid=p.pid,
        charge=p.charge,
        pt=p.pt if detector.exact_track_momentum else smeared_pt,
        eta=p.eta,
        phi=p.phi,
        mass=np.sqrt(np.maximum(mass2, 0.0)),
        eta_outer=p.eta_outer,
        phi_outer=p.phi_outer,
        resolution=np.zeros(len(p)) if detector.calorimeter_overrides_tracks else resolution,
        **measured,
    )
    return tracks, rows
