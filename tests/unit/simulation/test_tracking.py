"""Tables, track reconstruction and impact-parameter smearing."""

from __future__ import annotations

import numpy as np
import pytest

from otcal.config.simulation import Detector, Smearing, Variation
from otcal.simulation.detector import atlas, card
from otcal.simulation.detector.particles import Propagated
from otcal.simulation.detector.tracking import (
    efficiency,
    lognormal,
    momentum_resolution,
    reconstruct,
)
from otcal.simulation.variations import extra_width, resolution_growth, scale_settings

STANDARD = Variation()


def pions(n, pt=5.0, eta=0.5, pid=211):
    full = np.full(n, 1.0)
    return Propagated(
        event=np.zeros(n, dtype=np.int64),
        pid=np.full(n, pid),
        charge=full,
        pt=pt * full,
        eta=eta * full,
        phi=0 * full,
        energy=np.hypot(pt * np.cosh(eta), 0.13957) * full,
        eta_outer=(eta + 0.01) * full,
        phi_outer=0 * full,
        d0=0.1 * full,
        dz=-0.2 * full,
    )


@pytest.mark.parametrize(
    ("pid", "pt", "eta", "expected"),
    [
        (211, 0.1, 0.0, 0.0),  # bins are closed on the right
        (211, 0.11, 0.0, 0.70),
        (-211, 1.0, -1.5, 0.70),
        (321, 1.001, 1.5, 0.95),
        (2212, 50.0, -1.6, 0.85),
        (3112, 50.0, 2.5, 0.85),
        (211, 50.0, 2.501, 0.0),
        (11, 100.0, 0.3, 0.95),
        (-11, 100.1, 0.3, 0.99),
        (11, 0.5, 2.0, 0.50),
        (13, 5.0, 2.0, 0.98),
        (-13, 2000.0, 0.0, 0.99 * np.exp(0.5 - 1.0)),
    ],
)
def test_efficiency_is_the_cards(pid, pt, eta, expected):
    value = efficiency(np.array([pid]), np.array([pt]), np.array([eta]))
    assert value[0] == pytest.approx(expected, rel=1e-12)


def test_momentum_resolution_is_the_cards_and_never_above_one():
    pid, pt = np.array([211, 11, 13, 211]), np.array([10.0, 10.0, 10.0, 5000.0])
    value = momentum_resolution(pid, pt, np.array([0.0, 1.0, 2.0, 2.0]))
    expected = [np.hypot(0.06, 0.013), np.hypot(0.05, 0.017), np.hypot(0.025, 0.0035), 1.0]
    assert value == pytest.approx(expected, rel=1e-12)


def test_impact_parameter_resolution_has_closed_right_edges_and_zero_outside():
    d0 = card.impact_parameter_resolution("d0")
    eta = np.array([0.5, 0.5, 0.5, -0.9, 0.0, 2.6, 1.0])
    pt = np.array([0.1823, 0.2227, 500.0, 0.2, 5.0, 5.0, 0.2])
    assert d0(eta, pt) == pytest.approx([0.0, 0.3543, 0.0110, 0.3543, 0.0, 0.0, 0.4564])


# Inner Detector TDR (CERN/LHCC 97-16), Table 4-2: constant term in um and multiple scattering in
# um GeV of d0 and of z0 sin(theta), in ten bins of |eta| of width 0.25.
TDR_D0 = np.array(
    [
        [10.9, 10.9, 10.9, 11.0, 10.5, 10.2, 9.9, 9.6, 10.2, 9.6],
        [57.2, 59.0, 62.6, 68.3, 75.0, 83.4, 93.2, 104.6, 118.6, 135.5],
    ]
)
TDR_Z0 = np.array(
    [
        [81.9, 69.7, 59.1, 49.8, 42.3, 38.0, 33.6, 29.4, 25.6, 22.3],
        [85.7, 78.1, 75.5, 76.2, 79.1, 83.7, 91.7, 103.6, 119.1, 135.8],
    ]
)


def test_atlas_resolution_is_the_design_reports():
    eta = np.arange(0.125, 2.5, 0.25)
    d0, dz = (atlas.impact_parameter_resolution(name) for name in ("d0", "dz"))
    # At 10 TeV and at 2 MeV only one of the terms is left.
    assert d0(eta, np.full(10, 1e4)) * 1e3 == pytest.approx(TDR_D0[0], rel=0.14)
    assert d0(eta, np.full(10, 2e-3)) * 2 == pytest.approx(TDR_D0[1], rel=0.02)
    for pt in (0.5, 1.0, 5.0, 20.0):
        design = np.hypot(TDR_Z0[0], TDR_Z0[1] / pt) * np.cosh(eta) * 1e-3
        assert np.abs(np.log(dz(eta, np.full(10, pt)) / design)).max() < 0.36
    assert d0(np.zeros(1), np.array([5.0])) == pytest.approx(np.hypot(10.9, 57.2 / 5) * 1e-3)


def test_towers_tile_the_cylinder():
    for name, rings in (("ECal", 362), ("HCal", 80)):
        towers = card.towers(name)
        assert len(towers.n_phi) == rings
        everything = np.arange(towers.total)
        eta_low, eta_high, phi_low, phi_high = towers.edges(everything)
        found, inside = towers.find((eta_low + eta_high) / 2, (phi_low + phi_high) / 2)
        assert inside.all()
        assert np.array_equal(found, everything)
        area = ((eta_high - eta_low) * (phi_high - phi_low)).sum()
        assert area == pytest.approx(10 * 2 * np.pi)
        assert not towers.find(np.array([5.1, -5.1]), np.zeros(2))[1].any()


def test_lognormal_has_the_requested_mean_and_width():
    rng = np.random.default_rng(3)
    value = lognormal(rng, np.full(400_000, 20.0), np.full(400_000, 5.0))
    assert value.mean() == pytest.approx(20.0, rel=2e-3)
    assert value.std() == pytest.approx(5.0, rel=1e-2)
    assert lognormal(rng, np.zeros(3), np.ones(3)).tolist() == [0, 0, 0]


def test_tracking_efficiency_and_its_loss():
    made = pions(100_000)
    for loss in (0.0, 0.2):
        variation = Variation(tracking_efficiency_loss=loss)
        tracks, rows = reconstruct(made, Detector(), variation, np.random.default_rng(5))
        expected = 0.95 * (1 - loss)
        assert len(tracks) / 100_000 == pytest.approx(expected, abs=4 * 0.5 / np.sqrt(100_000))
        assert len(rows) == len(tracks)


def test_track_momentum_is_exact_or_smeared():
    made = pions(50_000, pt=20.0)
    tracks, _ = reconstruct(made, Detector(), STANDARD, np.random.default_rng(6))
    assert (tracks.pt == 20.0).all()
    assert (tracks.resolution == 0).all()
    open_detector = Detector(exact_track_momentum=False, calorimeter_overrides_tracks=False)
    tracks, _ = reconstruct(made, open_detector, STANDARD, np.random.default_rng(6))
    resolution = np.hypot(0.10, 0.0017 * 20)
    assert tracks.pt.std() / 20 == pytest.approx(resolution, rel=0.02)
    assert tracks.resolution == pytest.approx(resolution)
    assert tracks.eta == pytest.approx(0.5)


def test_errors_are_looked_up_with_the_smeared_momentum():
    made = pions(20_000, pt=5.0)
    tracks, _ = reconstruct(made, Detector(), STANDARD, np.random.default_rng(7))
    table = card.impact_parameter_resolution("d0")
    at_truth = table(np.array([0.5]), np.array([5.0]))[0]
    assert 0.3 < (tracks.d0_error == at_truth).mean() < 0.9
    assert np.isin(tracks.d0_error, table.values).all()


def test_smearing_inflates_resolution_and_error_by_the_documented_factor():
    smearing = Smearing(minimum=0.10, maximum=0.30)
    made = pions(200_000, pt=5.0, eta=1.25)
    results = []
    for block in (Smearing(), smearing):
        tracks, _ = reconstruct(
            made,
            Detector(),
            Variation(impact_parameter_smearing=block),
            np.random.default_rng(8),
        )
        results.append(tracks)
    standard, varied = results
    growth = varied.d0_error / standard.d0_error - 1
    assert growth.min() > 0.10
    assert growth.max() < 0.30
    # At 5 GeV and |eta| = 1.25: 0.1 + 0.2 (1/2 + 1/4) / 2.
    assert np.median(growth) == pytest.approx(0.175, abs=0.005)
    for name, truth in (("d0", 0.1), ("dz", -0.2)):
        for tracks in results:
            pull = (getattr(tracks, name) - truth) / getattr(tracks, f"{name}_error")
            assert pull.std() == pytest.approx(1.0, abs=0.01)
            assert pull.mean() == pytest.approx(0.0, abs=0.01)


def test_tracks_of_the_atlas_option_are_measured_as_well_as_they_say():
    made = pions(100_000, pt=2.0, eta=-1.5)
    detector = Detector(impact_parameters="atlas", exact_track_momentum=False)
    tracks, _ = reconstruct(made, detector, STANDARD, np.random.default_rng(9))
    for name, truth in (("d0", 0.1), ("dz", -0.2)):
        error = getattr(tracks, f"{name}_error")
        expected = atlas.impact_parameter_resolution(name)(tracks.eta, tracks.pt)
        assert np.allclose(error, expected, rtol=1e-12)
        pull = (getattr(tracks, name) - truth) / error
        assert pull.std() == pytest.approx(1.0, abs=0.01)
        assert pull.mean() == pytest.approx(0.0, abs=0.015)
    # Nothing but the impact parameters differs.
    card_tracks, _ = reconstruct(
        made, Detector(exact_track_momentum=False), STANDARD, np.random.default_rng(9)
    )
    for name in ("pt", "eta", "phi", "mass", "resolution", "eta_outer"):
        assert np.array_equal(getattr(tracks, name), getattr(card_tracks, name))
    assert np.median(tracks.d0_error / card_tracks.d0_error) != pytest.approx(1.0, abs=0.05)


def test_growth_stays_between_its_bounds_and_follows_pt_and_eta():
    smearing = Smearing(minimum=0.10, maximum=0.30)
    pt, eta = np.meshgrid(np.geomspace(0.2, 1000, 50), np.linspace(-2.5, 2.5, 51))
    growth = resolution_growth(smearing, pt, eta)
    assert growth.min() >= 0.10
    assert growth.max() <= 0.30
    assert (np.diff(growth, axis=1) < 0).all()  # softer is worse
    assert growth == pytest.approx(growth[::-1])  # even in eta
    assert (np.diff(growth[25:], axis=0) > 0).all()  # forward is worse
    assert np.hypot(1.0, extra_width(growth)) == pytest.approx(1 + growth)
    assert (resolution_growth(Smearing(), pt, eta) == 0).all()


def test_scale_factors_are_squared_for_pythia():
    variation = Variation.model_validate(
        {
            "hard_process": {"renormalisation": 2.0, "factorisation": 0.5},
            "final_state_shower": {"renormalisation": 2.0},
        }
    )
    assert scale_settings(variation) == [
        "SigmaProcess:renormMultFac = 4.0",
        "SigmaProcess:factorMultFac = 0.25",
        "SpaceShower:renormMultFac = 1.0",
        "SpaceShower:factorMultFac = 1.0",
        "TimeShower:renormMultFac = 4.0",
        "TimeShower:factorMultFac = 1.0",
    ]
