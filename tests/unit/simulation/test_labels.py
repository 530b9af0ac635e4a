"""Truth matching on records written by hand."""

from __future__ import annotations

import numpy as np
import pytest

from otcal.simulation.generator import Events
from otcal.simulation.labels import QCD_CODE, Record, match

RADIUS = 0.8


def record(*entries):
    """Build one event from (pid, daughter1, daughter2, eta, phi); entry 0 is the system."""
    rows = [(90, 0, 0, 0.0, 0.0), *entries]
    pid, first, last, eta, phi = (np.array(column) for column in zip(*rows, strict=True))
    n = len(rows)
    zero = np.zeros(n)
    return Events(
        offsets=np.array([0, n]),
        pid=pid.astype(np.int64),
        status=np.full(n, -22),
        daughter1=first,
        daughter2=last,
        px=100 * np.cos(phi),
        py=100 * np.sin(phi),
        pz=100 * np.sinh(eta),
        energy=100 * np.cosh(eta),
        x=zero,
        y=zero,
        z=zero,
        charge=zero,
    )


def code(events, eta=0.0, phi=0.0):
    return match(Record(events).resonances(0), eta, phi, RADIUS)


def higgs(*products):
    return record((25, 2, 0, 0, 0), (25, 3, 2 + len(products), 0, 0), *products)


@pytest.mark.parametrize(("kind", "expected"), [(5, 41), (4, 42), (1, 43), (21, 44)])
def test_two_body_higgs(kind, expected):
    second = kind if kind == 21 else -kind
    near = higgs((kind, 0, 0, 0.3, 0.1), (second, 0, 0, -0.3, -0.1))
    answer, resonance = code(near)
    assert answer == expected
    assert (resonance.pid, resonance.pt) == (25, pytest.approx(100.0))
    # One product outside: a signal event without a match.
    assert code(higgs((kind, 0, 0, 0.3, 0.1), (second, 0, 0, -0.81, 0)))[0] == 0
    # The last copy decays, and the angle between the products wraps around pi.
    around = higgs((kind, 0, 0, 0.0, 3.1), (second, 0, 0, 0.0, -3.1))
    assert code(around, phi=np.pi)[0] == expected


def w_pair(first, second, far=0.0):
    return record(
        (25, 2, 3, 0, 0),
        (24, 4, 0, 0, 0),
        (-24, 7, 8, 0, 0),
        (24, 5, 6, 0, 0),
        (first[0], 0, 0, 0.1, 0.0),
        (first[1], 0, 0, 0.0, 0.1),
        (second[0], 0, 0, -0.1, 0.0),
        (second[1], 0, 0, 0.0, far),
    )


def test_higgs_to_w_pairs_counts_quarks_and_leptons():
    assert code(w_pair((2, -1), (3, -4)))[0] == 45
    assert code(w_pair((2, -1), (3, -4), far=1.0))[0] == 0
    assert code(w_pair((2, -1), (11, -12)))[0] == 46
    assert code(w_pair((2, -1), (13, -14), far=2.0))[0] == 46  # the neutrino may be anywhere
    assert code(w_pair((2, -1), (15, -16)))[0] == 0
    assert code(w_pair((-11, 12), (13, -14)))[0] == 0


def top(products, bottom_eta=0.2, extra=()):
    return record((6, 2, 3, 0.05, 0), (24, 4, 5, 0, 0), (5, 0, 0, bottom_eta, 0), *products, *extra)


QUARKS = ((2, 0, 0, 0.1, 0.1), (-1, 0, 0, 0.1, -0.1))
CHARMED = ((4, 0, 0, 0.1, 0.1), (-3, 0, 0, 0.1, -0.1))


def test_top_quarks():
    assert code(top(CHARMED))[0] == 11
    answer, resonance = code(top(QUARKS))
    assert (answer, resonance.pid, resonance.eta) == (12, 6, pytest.approx(0.05))
    assert code(top((QUARKS[0], (-1, 0, 0, 2.0, 0))))[0] == 14
    assert code(top((CHARMED[0], (-3, 0, 0, 2.0, 0))))[0] == 13
    # The W alone is in the jet: not a jet of W bosons, since the event is one of top quarks.
    assert code(top(QUARKS, bottom_eta=2.0))[0] == 0
    assert code(top(((-11, 0, 0, 0.1, 0), (12, 0, 0, 3.0, 0))))[0] == 15
    assert code(top(((-13, 0, 0, 0.1, 0), (14, 0, 0, 3.0, 0))))[0] == 16
    assert code(top(((-13, 0, 0, 2.1, 0), (14, 0, 0, 0.0, 0))))[0] == 0
    assert code(top(((-15, 0, 0, 0.1, 0), (16, 0, 0, 3.0, 0))))[0] == 0


def test_leptons_are_taken_after_their_radiation():
    # The lepton at production points away; its last copy is inside the jet.
    moved = top(((-11, 6, 0, 3.0, 0), (12, 0, 0, 3.0, 0)), extra=((-11, 0, 0, 0.1, 0),))
    assert code(moved)[0] == 15


def test_w_and_z():
    assert code(record((24, 2, 3, 0, 0), (4, 0, 0, 0.1, 0), (-3, 0, 0, -0.1, 0)))[0] == 21
    assert code(record((-24, 2, 3, 0, 0), (1, 0, 0, 0.1, 0), (-2, 0, 0, -0.1, 0)))[0] == 22
    for kind, expected in ((5, 31), (4, 32), (2, 33)):
        z = record((23, 2, 3, 0, 0), (kind, 0, 0, 0.1, 0), (-kind, 0, 0, -0.1, 0))
        assert code(z)[0] == expected
        assert code(z, eta=0.95)[0] == 0


def test_events_without_hadronic_resonance_are_quark_and_gluon_events():
    assert code(record((21, 0, 0, 0, 0), (2, 0, 0, 1, 1))) == (QCD_CODE, None)
    invisible = record((23, 2, 3, 0, 0), (12, 0, 0, 0, 0), (-12, 0, 0, 0, 0), (21, 0, 0, 0, 0))
    assert code(invisible) == (QCD_CODE, None)


def test_the_first_resonance_that_answers_wins():
    pair = record(
        (24, 3, 4, 3.0, 0),
        (-24, 5, 6, 0.0, 0),
        (2, 0, 0, 3.0, 0),
        (-1, 0, 0, 3.1, 0),
        (3, 0, 0, 0.1, 0),
        (-4, 0, 0, -0.1, 0),
    )
    answer, resonance = code(pair)
    assert (answer, resonance.pid) == (21, -24)
    assert code(pair, eta=3.0)[0] == 22
    assert code(pair, eta=-3.0)[0] == 0
