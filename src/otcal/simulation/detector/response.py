"""The whole detector: from stable particles to energy-flow candidates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from otcal.config.simulation import Detector, Variation
from otcal.simulation.detector.calorimeter import Neutrals, measure
from otcal.simulation.detector.card import ECAL, HCAL, Calorimeter
from otcal.simulation.detector.particles import Candidates, Particles, Tracks
from otcal.simulation.detector.propagation import propagate
from otcal.simulation.detector.tracking import reconstruct


def detect(
    particles: Particles, detector: Detector, variation: Variation, rng: np.random.Generator
) -> Candidates:
    """Return the energy-flow candidates of a batch of events, sorted by event.

    Candidates without momentum (tracks in towers below threshold) are left out.
    """
    reached = propagate(particles)
    tracks, _ = reconstruct(reached, detector, variation, rng)
    parts = []
    for calorimeter in (ECAL, HCAL):
        neutrals, factor = measure(calorimeter, reached, tracks, variation.energy_scale, rng)
        tracks = replace(tracks, pt=tracks.pt * factor)
        parts.append(_neutral_candidates(calorimeter, neutrals))
    parts.append(_track_candidates(tracks.take(tracks.pt > 0), detector))
    joined = Candidates(
        **{name: np.concatenate([getattr(p, name) for p in parts]) for name in parts[0].names()}
    )
    return joined.take(np.argsort(joined.event, kind="stable"))


def _neutral_candidates(calorimeter: Calorimeter, neutrals: Neutrals) -> Candidates:
    zero = np.zeros(len(neutrals.event))
    return Candidates(
        event=neutrals.event,
        pid=np.full(len(zero), calorimeter.neutral_pid),
        charge=zero,
        pt=neutrals.energy / np.cosh(neutrals.eta),
        eta=neutrals.eta,
        phi=neutrals.phi,
        mass=zero,
        eta_position=neutrals.eta,
        d0=zero,
        d0_error=zero,
        dz=zero,
        dz_error=zero,
    )


def _track_candidates(tracks: Tracks, detector: Detector) -> Candidates:
    return Candidates(
        event=tracks.event,
        pid=tracks.pid,
        charge=tracks.charge,
        pt=tracks.pt,
        eta=tracks.eta,
        phi=tracks.phi,
        mass=tracks.mass,
        eta_position=tracks.eta_outer if detector.position_eta else tracks.eta,
        d0=tracks.d0,
        d0_error=tracks.d0_error,
        dz=tracks.dz,
        dz_error=tracks.dz_error,
    )
