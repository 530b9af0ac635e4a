"""Towers, thresholds and energy flow, one particle at a time."""

from __future__ import annotations

import numpy as np
import pytest

from otcal.config.simulation import Detector, Variation
from otcal.simulation.detector import card
from otcal.simulation.detector.calorimeter import measure
from otcal.simulation.detector.card import ECAL, HCAL
from otcal.simulation.detector.particles import Particles, Propagated, Tracks
from otcal.simulation.detector.response import detect

CENTRAL = 0.0087  # middle of a ring of ECal towers


def reached(pid, energy, event=None, eta=CENTRAL, phi=0.01):
    energy = np.atleast_1d(np.asarray(energy, dtype=float))
    full = np.ones(len(energy))
    return Propagated(
        event=np.arange(len(energy)) if event is None else np.asarray(event),
        pid=np.broadcast_to(np.asarray(pid), energy.shape),
        charge=0 * full,
        pt=energy / np.cosh(eta),
        eta=eta * full,
        phi=phi * full,
        energy=energy,
        eta_outer=eta * full,
        phi_outer=phi * full,
        d0=0 * full,
        dz=0 * full,
    )


def as_tracks(particles, resolution=0.0):
    names = set(Tracks.names()) & set(Propagated.names())
    shared = {name: getattr(particles, name) for name in names}
    zero = np.zeros(len(particles))
    extra = {"mass": zero, "resolution": zero + resolution, "d0_error": zero, "dz_error": zero}
    return Tracks(**{**shared, **extra})


def no_tracks():
    return as_tracks(reached(211, [])).take(np.zeros(0, dtype=np.int64))


def test_energy_resolution_is_the_cards():
    ecal, hcal = card.calorimeter_resolution("ECal"), card.calorimeter_resolution("HCal")
    term = np.sqrt((0.008 * 50) ** 2 + 0.11**2 * 50 + 0.4**2)
    eta, energy = np.array([0.0, 1.0, -2.2, 3.0]), np.full(4, 50.0)
    forward = np.sqrt((0.107 * 50) ** 2 + 2.08**2 * 50)
    assert ecal(eta, energy) == pytest.approx(
        [term, 1.64 * term, (2.16 + 5.6 * 0.04) * term, forward], rel=1e-12
    )
    assert hcal(np.array([1.0]), np.array([4.0])) == pytest.approx(np.hypot(0.05 * 4, 1.5 * 2))


def test_energy_fractions_are_the_cards():
    pid = np.array([22, -11, 13, 211, -3122, 310, 130, 12, 2112])
    assert card.energy_fraction("ECal", pid).tolist() == [1, 1, 0, 0, 0.3, 0.3, 0, 0, 0]
    assert card.energy_fraction("HCal", pid).tolist() == [0, 0, 0, 1, 0.7, 0.7, 1, 0, 1]


@pytest.mark.parametrize("calorimeter", [ECAL, HCAL])
def test_neutrals_keep_their_energy_on_average(calorimeter):
    pid = 22 if calorimeter is ECAL else 130
    particles = reached(pid, np.full(40_000, 100.0))
    rng = np.random.default_rng(1)
    neutrals, _ = measure(calorimeter, particles, no_tracks(), 1.0, rng)
    width = card.calorimeter_resolution(calorimeter.name)(np.array([CENTRAL]), np.array([100.0]))[0]
    assert len(neutrals.energy) == 40_000
    assert neutrals.energy.mean() == pytest.approx(100.0, abs=5 * width / 200)
    assert neutrals.energy.std() == pytest.approx(width, rel=0.02)
    layout = card.towers(calorimeter.name)
    tower, _ = layout.find(np.array([CENTRAL]), np.array([0.01]))
    assert (layout.find(neutrals.eta, neutrals.phi)[0] == tower).all()


def test_energy_scale_multiplies_measured_energies():
    particles = reached(130, np.full(2000, 100.0))
    plain, _ = measure(HCAL, particles, no_tracks(), 1.0, np.random.default_rng(2))
    scaled, _ = measure(HCAL, particles, no_tracks(), 1.05, np.random.default_rng(2))
    assert scaled.energy == pytest.approx(1.05 * plain.energy)


def test_particles_of_one_tower_and_event_are_measured_together():
    particles = reached(22, np.full(6, 50.0), event=[0, 0, 0, 1, 1, 2])
    neutrals, _ = measure(ECAL, particles, no_tracks(), 1.0, np.random.default_rng(3))
    assert neutrals.event.tolist() == [0, 1, 2]
    assert neutrals.energy == pytest.approx([150, 100, 50], rel=0.1)


@pytest.mark.parametrize(
    ("calorimeter", "pid", "threshold"), [(ECAL, 22, 0.825), (HCAL, 130, 2.2556)]
)
def test_nothing_below_the_effective_threshold(calorimeter, pid, threshold):
    # The energy at which E = S sigma(E): known from real JetClass spectra.
    energies = np.random.default_rng(4).uniform(0.1, 6.0, 30_000)
    particles = reached(pid, energies, eta=0.0087)
    neutrals, _ = measure(calorimeter, particles, no_tracks(), 1.0, np.random.default_rng(5))
    assert neutrals.energy.min() >= threshold - 1e-3
    assert neutrals.energy.min() < threshold + 0.02


def test_tracks_take_the_calorimeters_energy_without_an_excess():
    particles = reached(211, np.full(3000, 20.0))
    tracks = as_tracks(particles)
    neutrals, factor = measure(HCAL, particles, tracks, 1.0, np.random.default_rng(6))
    with_neutral = np.isin(tracks.event, neutrals.event)
    assert 0.05 < with_neutral.mean() < 0.4
    assert (factor[with_neutral] == 1).all()
    # Energy of track plus neutral is the calorimeter's.
    total = 20 * factor
    total[neutrals.event] += neutrals.energy
    sigma = np.hypot(0.05 * 20, 1.5 * np.sqrt(20))
    assert total.mean() == pytest.approx(20.0, abs=4 * sigma / np.sqrt(3000))
    assert total.std() == pytest.approx(sigma, rel=0.05)


def test_soft_tracks_are_lost_in_towers_below_threshold():
    particles = reached(211, np.full(2000, 1.0))
    _, factor = measure(HCAL, particles, as_tracks(particles), 1.0, np.random.default_rng(7))
    assert (factor == 0).mean() > 0.5


def test_precise_tracks_survive_when_their_uncertainty_counts():
    particles = reached(211, np.full(2000, 20.0))
    tracks = as_tracks(particles, resolution=0.01)
    neutrals, factor = measure(HCAL, particles, tracks, 1.0, np.random.default_rng(8))
    without = ~np.isin(tracks.event, neutrals.event)
    assert np.abs(factor[without] - 1).max() < 0.02


def test_muons_and_hadrons_pass_the_ecal():
    for pid in (13, 211):
        particles = reached(pid, np.full(10, 20.0))
        neutrals, factor = measure(
            ECAL, particles, as_tracks(particles), 1.0, np.random.default_rng(9)
        )
        assert len(neutrals.energy) == 0
        assert (factor == 1).all()


def made(n=400, seed=10):
    rng = np.random.default_rng(seed)
    pid = rng.choice([211, -211, 22, 130, 11, 13, 310], n)
    charge = np.select([np.isin(pid, [211]), np.isin(pid, [-211, 11, 13])], [1.0, -1.0], 0.0)
    pt, eta, phi = rng.exponential(8.0, n), rng.uniform(-2, 2, n), rng.uniform(-np.pi, np.pi, n)
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    zero = np.zeros(n)
    energy = np.sqrt(px**2 + py**2 + pz**2 + 0.1396**2)
    return Particles(
        np.sort(rng.integers(0, 5, n)), pid, charge, px, py, pz, energy, zero, zero, zero
    )


def test_candidates_of_the_whole_detector():
    candidates = detect(made(), Detector(), Variation(), np.random.default_rng(11))
    assert (np.diff(candidates.event) >= 0).all()
    assert (candidates.pt > 0).all()
    neutral = candidates.charge == 0
    assert set(candidates.pid[neutral].tolist()) == {0, 22}
    for name in ("d0", "d0_error", "dz", "dz_error", "mass"):
        assert (getattr(candidates, name)[neutral] == 0).all()
    assert (candidates.d0_error[~neutral] > 0).all()
    assert (candidates.eta_position[neutral] == candidates.eta[neutral]).all()


def test_each_quirk_is_a_switch():
    def run(**switches):
        return detect(made(), Detector(**switches), Variation(), np.random.default_rng(12))

    standard = run()
    charged = standard.charge != 0
    # Helices are longer than their chords, so they leave the tracker further forward.
    outward = np.abs(standard.eta_position) - np.abs(standard.eta)
    assert (outward[charged] > 0).all()
    momentum_eta = run(position_eta=False)
    assert np.array_equal(momentum_eta.eta_position, momentum_eta.eta)
    assert np.array_equal(momentum_eta.pt, standard.pt)

    truth = made().take(made().charge != 0)
    true_pt = np.hypot(truth.px, truth.py)
    muons = standard.pt[standard.pid == 13]
    assert np.isclose(muons[:, None], true_pt, rtol=1e-12).any(axis=1).all()
    smeared = run(exact_track_momentum=False)
    muons = smeared.pt[smeared.pid == 13]
    assert not np.isclose(muons[:, None], true_pt, rtol=1e-12).any()

    def changed_hadrons(candidates):
        hadrons = candidates.pt[np.abs(candidates.pid) == 211]
        ratio = hadrons[:, None] / true_pt
        return np.median(np.abs(ratio - 1).min(axis=1)), len(hadrons)

    overridden, n_overridden = changed_hadrons(standard)
    weighted, n_weighted = changed_hadrons(run(calorimeter_overrides_tracks=False))
    assert weighted < overridden
    assert n_weighted > n_overridden  # none is rescaled to nothing
