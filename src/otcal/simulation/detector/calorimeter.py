"""Calorimeters with energy flow: Delphes' SimpleCalorimeter with the JetClass card.

The card runs the module twice, ECal first; the tracks that leave the ECal enter the HCal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from otcal.simulation.detector import card
from otcal.simulation.detector.card import Calorimeter, Floats, Ints
from otcal.simulation.detector.particles import Propagated, Tracks
from otcal.simulation.detector.tracking import lognormal


@dataclass(frozen=True)
class Neutrals:
    """Massless neutral objects of a calorimeter: event, energy in GeV and direction."""

    event: Ints
    energy: Floats
    eta: Floats
    phi: Floats


def measure(
    calorimeter: Calorimeter,
    particles: Propagated,
    tracks: Tracks,
    energy_scale: float,
    rng: np.random.Generator,
) -> tuple[Neutrals, Floats]:
    """Return the neutral objects, and the factor by which each track's momentum is rescaled.

    A tower measures its deposits with a log-normal of the card's resolution, and nothing below
    threshold. A significant excess over its tracks becomes a neutral object; without one the
    tracks share the average of both measurements, weighted by their inverse variances. Tracks of
    no relative uncertainty have weight zero in it (see `Detector.calorimeter_overrides_tracks`).

    Parameters
    ----------
    calorimeter
        Which calorimeter.
    particles
        All particles that reached the tracker's surface, detected as a track or not.
    tracks
        Tracks as they come from the tracker or from the calorimeter before.
    energy_scale
        Factor on the measured energies.
    rng
        Source of random numbers.
    """
    layout = card.towers(calorimeter.name)
    fraction = card.energy_fraction(calorimeter.name, particles.pid)
    number, inside = layout.find(particles.eta_outer, particles.phi_outer)
    hit = inside & (fraction > 0)
    key = (particles.event * layout.total + number)[hit]
    towers, position = np.unique(key, return_inverse=True)
    deposit = _sum(position, (fraction * particles.energy)[hit], len(towers))

    track_fraction = card.energy_fraction(calorimeter.name, tracks.pid)
    number, inside = layout.find(tracks.eta_outer, tracks.phi_outer)
    seen = np.flatnonzero(inside & (track_fraction > 0))
    at = np.searchsorted(towers, (tracks.event * layout.total + number)[seen])
    energy = (track_fraction * tracks.energy)[seen]
    track_energy = _sum(at, energy, len(towers))
    spread = (tracks.resolution * tracks.energy)[seen]
    track_variance = _sum(at, spread**2, len(towers))

    eta_low, eta_high, phi_low, phi_high = layout.edges(towers % layout.total)
    centre = (eta_low + eta_high) / 2
    resolution = card.calorimeter_resolution(calorimeter.name)
    measured = energy_scale * lognormal(rng, deposit, resolution(centre, deposit))
    sigma = resolution(centre, measured)
    above = (measured >= calorimeter.energy_min) & (
        measured >= calorimeter.significance_min * sigma
    )
    measured = np.where(above, measured, 0.0)
    eta = rng.uniform(eta_low, eta_high)
    phi = rng.uniform(phi_low, phi_high)

    excess = np.maximum(measured - track_energy, 0.0)
    significant = excess > calorimeter.energy_min
    significant &= excess > calorimeter.significance_min * np.sqrt(track_variance + sigma**2)

    average = _average(measured, sigma, track_energy, track_variance)
    ratio = np.divide(average, track_energy, out=np.ones(len(towers)), where=track_energy > 0)
    factor = np.ones(len(tracks))
    factor[seen] = np.where(significant, 1.0, ratio)[at]
    neutrals = Neutrals(
        event=towers[significant] // layout.total,
        energy=excess[significant],
        eta=eta[significant],
        phi=phi[significant],
    )
    return neutrals, factor


def _sum(tower: Ints, energy: Floats, n_towers: int) -> Floats:
    """Return sums per tower."""
    return np.bincount(tower, energy, n_towers).astype(np.float64)


def _average(
    measured: Floats, sigma: Floats, track_energy: Floats, track_variance: Floats
) -> Floats:
    """Return the average of calorimeter and tracks; a zero width has weight zero in it."""
    track_weight = np.divide(
        1.0, track_variance, out=np.zeros_like(measured), where=track_variance > 0
    )
    weight = np.divide(1.0, sigma**2, out=np.zeros_like(measured), where=sigma > 0)
    total = track_weight + weight
    both = track_weight * track_energy + weight * measured
    return np.divide(both, total, out=np.zeros_like(measured), where=total > 0)
