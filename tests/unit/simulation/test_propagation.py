"""The propagation against real Delphes output and against geometry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from otcal.simulation.detector.particles import Particles
from otcal.simulation.detector.propagation import propagate

REFERENCE = Path(__file__).with_name("delphes_track_reference.csv")
MASSES = {11: 0.000511, 13: 0.10566, 211: 0.13957, 321: 0.49368, 2212: 0.93827}


def particles(px, py, pz, x=0.0, y=0.0, z=0.0, charge=1.0, mass=0.13957):
    columns = np.broadcast_arrays(*(np.atleast_1d(v).astype(float) for v in (px, py, pz, x, y, z)))
    px, py, pz, x, y, z = columns
    n = len(px)
    return Particles(
        event=np.zeros(n, dtype=np.int64),
        pid=np.full(n, 211),
        charge=np.broadcast_to(np.asarray(charge, dtype=float), (n,)),
        px=px,
        py=py,
        pz=pz,
        energy=np.sqrt(px**2 + py**2 + pz**2 + mass**2),
        x=x,
        y=y,
        z=z,
    )


@pytest.fixture(scope="module")
def delphes():
    table = pd.read_csv(REFERENCE)
    mass = table["pid"].abs().map(MASSES).to_numpy()
    momentum2 = (table[["gen_px", "gen_py", "gen_pz"]] ** 2).sum(axis=1)
    made = Particles(
        event=np.zeros(len(table), dtype=np.int64),
        pid=table["pid"].to_numpy(),
        charge=table["charge"].to_numpy(dtype=float),
        px=table["gen_px"].to_numpy(),
        py=table["gen_py"].to_numpy(),
        pz=table["gen_pz"].to_numpy(),
        energy=np.sqrt(momentum2.to_numpy() + mass**2),
        x=table["gen_x_mm"].to_numpy(),
        y=table["gen_y_mm"].to_numpy(),
        z=table["gen_z_mm"].to_numpy(),
    )
    reached = propagate(made)
    assert len(reached) == len(table) == 1294
    return table, reached


def test_direction_and_exit_point_are_those_of_delphes(delphes):
    table, reached = delphes
    dphi = (reached.phi - table["phi"] + np.pi) % (2 * np.pi) - np.pi
    assert np.abs(dphi).max() < 1e-6
    assert np.abs(reached.eta_outer - table["eta_outer"]).max() < 2e-5


@pytest.mark.parametrize("name", ["d0", "dz"])
def test_impact_parameters_of_delphes_are_smeared_by_their_errors(delphes, name):
    table, reached = delphes
    error = table[f"{name}err_mm"].to_numpy()
    measured = error > 0
    pull = ((table[f"{name}_mm"] - getattr(reached, name)) / error)[measured]
    assert measured.sum() > 1250
    assert pull.std() == pytest.approx(1.0, abs=0.05)
    assert abs(pull.mean()) < 3 / np.sqrt(len(pull))


def followed(made, step=2e-3):
    """Follow particles through 3.8 T in steps of 2 mm (Runge-Kutta) until they leave; in m."""
    point = np.stack([made.x, made.y, made.z]) * 1e-3
    momentum = np.sqrt(made.px**2 + made.py**2 + made.pz**2)
    direction = np.stack([made.px, made.py, made.pz]) / momentum
    bend = 0.299792458 * 3.8 * made.charge / momentum  # per m

    def turn(u):
        return bend * np.stack([u[1], -u[0], np.zeros_like(u[0])])

    left = np.full(point.shape, np.nan)
    for _ in range(10_000):
        k1 = turn(direction)
        k2 = turn(direction + 0.5 * step * k1)
        k3 = turn(direction + 0.5 * step * k2)
        k4 = turn(direction + step * k3)
        after = point + step * (direction + step * (k1 + k2 + k3) / 6)
        direction = direction + step * (k1 + 2 * k2 + 2 * k3 + k4) / 6
        # How far out, of the way to the side and to the ends; 1 is the surface.
        before, beyond = (
            np.maximum(np.hypot(p[0], p[1]) / 1.29, np.abs(p[2]) / 3.0) for p in (point, after)
        )
        crosses = np.isnan(left[0]) & (beyond >= 1)
        share = np.clip((1 - before) / np.maximum(beyond - before, 1e-12), 0, 1)
        left[:, crosses] = (point + share * (after - point))[:, crosses]
        point = after
        if not np.isnan(left).any():
            return left
    raise AssertionError("a particle does not leave")


def test_exit_point_is_where_a_particle_followed_in_small_steps_leaves():
    rng = np.random.default_rng(1)
    n = 400
    pt, phi = rng.uniform(0.3, 5.0, n), rng.uniform(-np.pi, np.pi, n)
    pz = pt * rng.choice([-1, 1], n) * rng.uniform(0.3, 4.0, n)
    made = particles(
        *(pt * np.cos(phi), pt * np.sin(phi), pz),
        *rng.normal(0, 20, (3, n)),
        charge=rng.choice([-1.0, 1.0], n),
    )
    x, y, z = followed(made)
    reached = propagate(made)
    assert len(reached) == n
    on_side = np.abs(z) < 2.999
    assert 0.3 < on_side.mean() < 0.9
    assert (pt < 0.299792458 * 3.8 * 1.29 / 2).sum() > 20  # such loop
    r = np.hypot(x, y)
    assert np.sinh(reached.eta_outer) * r == pytest.approx(z, abs=1e-4)
    dphi = (reached.phi_outer - np.arctan2(y, x) + np.pi) % (2 * np.pi) - np.pi
    assert r * dphi == pytest.approx(np.zeros(n), abs=1e-4)


def test_stiff_tracks_bend_by_half_the_angle_of_their_arc():
    # From the origin: sin = 0.3 B R / (2 pT).
    stiff = propagate(particles([50.0, 0.0], [0.0, 80.0], [0.0, 10.0], charge=[1.0, -1.0]))
    bend = np.arcsin(0.299792458 * 3.8 * 1.29 / (2 * np.array([50.0, 80.0])))
    assert stiff.phi_outer == pytest.approx([0.0 - bend[0], np.pi / 2 + bend[1]], abs=1e-9)


def test_neutrals_fly_straight():
    reached = propagate(particles([3.0], [4.0], [2.0], x=100.0, y=0.0, z=50.0, charge=0.0))
    # From (0.1, 0, 0.05) m along (3, 4, 2) until the radius is 1.29 m.
    step = (-0.3 + np.sqrt(0.09 + 25 * (1.29**2 - 0.01))) / 25
    x, y, z = 0.1 + 3 * step, 4 * step, 0.05 + 2 * step
    assert np.hypot(x, y) == pytest.approx(1.29)
    assert reached.phi_outer[0] == pytest.approx(np.arctan2(y, x))
    assert reached.eta_outer[0] == pytest.approx(np.arcsinh(z / 1.29))
    assert reached.d0[0] == reached.dz[0] == 0.0


def test_impact_parameter_is_signed_by_geometry_and_nearest_point_of_the_circle():
    # A stiff particle along +x, displaced in y: d0 = -y at phi = 0.
    made = particles([1000.0, 1000.0], [0.0, 0.0], [0.0, 0.0], x=5.0, y=[0.3, -0.3])
    assert propagate(made).d0 == pytest.approx([-0.3, 0.3], rel=1e-3)
    # Brute force: the smallest distance of a soft helix from the axis.
    made = particles([0.4], [0.3], [0.2], x=30.0, y=20.0)
    radius = 0.5 / (0.299792458 * 3.8) * 1e3
    angle = np.linspace(-np.pi, np.pi, 400_001)
    phi0 = np.arctan2(0.3, 0.4)
    x = 30.0 + radius * np.sin(phi0) - radius * np.sin(angle)
    y = 20.0 - radius * np.cos(phi0) + radius * np.cos(angle)
    assert abs(propagate(made).d0[0]) == pytest.approx(np.hypot(x, y).min(), rel=1e-5)


def test_particles_born_outside_or_without_pt_vanish():
    made = particles(
        [1.0, 1.0, 1e-6, 1.0], 0.0, 1.0, x=[1300.0, 0.0, 0.0, 1.0], z=[0.0, 3100.0, 0, 0]
    )
    reached = propagate(made)
    assert len(reached) == 1
    assert np.isfinite(reached.eta_outer).all()


def test_looping_particle_leaves_through_the_end():
    reached = propagate(particles([0.05], [0.0], [0.5]))
    # 3 m along z at pz / pT = 10, on a circle of 4.4 cm radius around the axis.
    assert np.abs(np.sinh(reached.eta_outer[0])) > 3.0 / 0.09
