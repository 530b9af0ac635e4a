"""Flavour labels: on records written by hand, and against Pythia's own bookkeeping."""

from __future__ import annotations

import numpy as np
import pytest

from otcal.config.selection import FlavourLabels
from otcal.config.simulation import Variation
from otcal.samples.flavours import FLAVOURS
from otcal.simulation.flavours import (
    closest_jet,
    flavours_of,
    heaviest_quark,
    prompt_leptons,
    weakly_decaying,
)
from otcal.simulation.generator import Events, Generator
from otcal.simulation.jets import Jets

SETTINGS = FlavourLabels()


def record(*entries, copies=1):
    """Build equal events from (pid, daughter1, daughter2[, pt, eta, phi]), after the system."""
    filled = [(*entry, *(20.0, 0.0, 0.0)[len(entry) - 3 :]) for entry in entries]
    rows = [(90, 0, 0, 1.0, 0.0, 0.0), *filled] * copies
    pid, first, last, pt, eta, phi = (np.array(column) for column in zip(*rows, strict=True))
    zero = np.zeros(len(rows))
    return Events(
        offsets=np.arange(copies + 1) * (1 + len(entries)),
        pid=pid.astype(np.int64),
        status=np.full(len(rows), -22),
        daughter1=first.astype(np.int32),
        daughter2=last.astype(np.int32),
        px=pt * np.cos(phi),
        py=pt * np.sin(phi),
        pz=pt * np.sinh(eta),
        energy=pt * np.cosh(eta),
        x=zero,
        y=zero,
        z=zero,
        charge=zero,
    )


def jets(*axes, event=None):
    """Build jets from (eta, phi)."""
    eta, phi = np.array(axes, dtype=float).T
    full = np.full(len(eta), 50.0)
    rows = np.arange(len(eta))
    event = 0 * rows if event is None else np.array(event)
    return Jets(event, full, eta, phi, full * np.cosh(eta), np.append(rows, len(eta)), rows)


def labels(truth):
    return dict(zip(truth.rows.tolist(), (FLAVOURS[i] for i in truth.label), strict=True))


def test_heaviest_quarks_of_hadrons():
    expected = {
        **{511: 5, -521: 5, 513: 5, 541: 5, 5122: 5, -5132: 5, 10511: 5, 5142: 5, 5232: 5},
        **{411: 4, -421: 4, 431: 4, 4122: 4, 4332: 4, 10413: 4, 20433: 4, 4422: 4},
        **{
            553: 0,
            443: 0,
            100443: 0,
            9940003: 0,
            5: 0,
            4: 0,
            5101: 0,
            -4203: 0,
            21: 0,
            23: 0,
            11: 0,
        },
        **{211: 2, 321: 3, 2212: 2, 3122: 3, 111: 0, 90: 0, 1000822080: 0},
    }
    assert heaviest_quark(np.array(list(expected))).tolist() == list(expected.values())


def test_hadrons_are_taken_right_before_the_weak_decay():
    events = record(
        (513, 2, 3),  # B* -> B gamma
        (511, 4, 4),  # mixes
        (22, 0, 0),
        (-511, 5, 7),  # -> D* mu nu
        (413, 8, 9),
        (13, 0, 0),
        (-14, 0, 0),
        (421, 10, 11),
        (211, 0, 0),
        (-321, 0, 0),
        (211, 0, 0),
        copies=2,
    )
    assert weakly_decaying(events, 5).tolist() == [4, 16]
    assert weakly_decaying(events, 4).tolist() == [8, 20]


def test_daughters_that_are_not_next_to_each_other():
    events = record((511, 3, 2), (421, 0, 0), (431, 0, 0), (411, 3, 3), (-421, 0, 0))
    position, daughter = events.daughters(np.array([1, 4, 2]))
    assert position.tolist() == [0, 0, 1]
    assert daughter.tolist() == [3, 2, 3]


def test_the_closer_jet_gets_what_is_near_two():
    two = jets((0.0, 0.0), (0.5, 0.0), (0.1, 3.1), event=[0, 0, 1])
    eta = np.array([0.20, 0.26, 0.8, 0.81, 0.1, 0.1])
    phi = np.array([0.0, 0.0, 0.0, 0.0, -3.1, -3.1])
    event = np.array([0, 0, 0, 0, 1, 0])
    assert closest_jet(two, event, eta, phi, 0.3).tolist() == [0, 1, -1, -1, 2, -1]
    assert closest_jet(two, event, eta, phi, 0.301).tolist() == [0, 1, 1, -1, 2, -1]
    assert closest_jet(two, np.array([7]), eta[:1], phi[:1], 0.3).tolist() == [-1]


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([(511, 0, 0), (411, 0, 0, 90.0)], "b"),  # exclusive: b before c, whatever their pT
        ([(411, 0, 0)], "c"),
        ([(443, 0, 0)], "light"),
        ([(511, 0, 0, 4.9)], "light"),
        ([(511, 0, 0, 20, 0.31)], "light"),
        ([(511, 0, 0, 20, 0.2, 0.2)], "b"),
        ([(511, 0, 0, 20, 0.2, 0.23)], "light"),
        ([(15, 2, 3), (16, 0, 0), (-211, 0, 0)], "light"),  # not from a W: of a hadron, say
        ([(11, 0, 0)], "light"),
        ([(24, 2, 3), (-11, 0, 0), (12, 0, 0)], None),
        ([(24, 2, 3), (-11, 0, 0, 4.0), (12, 0, 0)], "light"),
        ([(23, 2, 3), (13, 0, 0), (-13, 0, 0)], None),
        ([(24, 2, 3), (-13, 0, 0), (14, 0, 0), (511, 0, 0)], None),  # the lepton is in the jet
        ([(24, 2, 3), (-15, 4, 5), (16, 0, 0), (-16, 0, 0), (211, 0, 0)], None),
        ([(24, 2, 3), (-15, 4, 5), (16, 0, 0), (-16, 0, 0), (211, 0, 0), (511, 0, 0)], "b"),
        ([(24, 2, 3), (-15, 4, 5), (16, 0, 0), (-16, 0, 0), (-13, 0, 0)], None),
        # The same far away from the jet: the tau is not in it, its muon is not either.
        ([(24, 2, 3), (-15, 4, 5, 20, 2), (16, 0, 0), (-16, 0, 0), (-13, 0, 0, 20, 2)], "light"),
        # Leptons count where they are after their radiation.
        ([(24, 2, 3), (-11, 4, 5, 20, 2), (12, 0, 0), (-11, 0, 0), (22, 0, 0)], None),
        ([(24, 2, 2), (24, 3, 4), (2, 0, 0), (-1, 0, 0)], "light"),
    ],
)
def test_labels(entries, expected):
    truth = flavours_of(jets((0.0, 0.0), (2.0, 3.0)), record(*entries), SETTINGS)
    assert labels(truth).get(0) == expected
    assert labels(truth)[1] == "light"


def test_truth_is_the_hadron_of_highest_momentum():
    events = record((511, 0, 0, 20, 0.1), (-521, 0, 0, 30, 0.2), (411, 0, 0, 60, 0.1), copies=2)
    truth = flavours_of(jets((0.0, 0.0), (2.0, 3.0), (0.0, 0.1), event=[0, 0, 1]), events, SETTINGS)
    assert truth.rows.tolist() == [0, 1, 2]
    assert truth.match.tolist() == [5, 0, 5]
    assert truth.pid.tolist() == [-521, 0, -521]
    assert truth.pt == pytest.approx([30, 0, 30])
    assert truth.eta == pytest.approx([0.2, 0, 0.2])
    wider = flavours_of(jets((0.0, 0.0)), events, FlavourLabels(radius=0.15, pt_min=25))
    assert wider.match.tolist() == [4]


def last_copy(event, particle):
    while True:
        same = [d for d in particle.daughterList() if event[d].id() == particle.id()]
        if not same:
            return particle
        particle = event[same[0]]


def test_hadrons_and_leptons_are_those_that_pythia_knows():
    """The array code against one particle after the other, on generated top pairs."""
    batch = Generator("ttbar", Variation(), seed=11).next_batch(12)
    single = Generator("ttbar", Variation(), seed=11).pythia
    leptons, taus = [], []
    hadrons = {4: [], 5: []}
    for offset in batch.offsets[:-1].tolist():
        assert single.next()
        event = single.event
        for particle in event:
            row = offset + particle.index()
            daughters = [event[d] for d in particle.daughterList()]
            for flavour, found in hadrons.items():
                heavy = [
                    abs(single.particleData.heaviestQuark(p.id())) == flavour
                    and p.isHadron()
                    and str(p.idAbs())[-3:-1] not in ("44", "55")
                    for p in (particle, *daughters)
                ]
                if heavy[0] and not any(heavy[1:]):
                    found.append(row)
            if abs(particle.id()) != 24:
                continue
            for product in (last_copy(event, d) for d in daughters if 11 <= d.idAbs() <= 15):
                decay = [event[d] for d in product.daughterList()]
                charged = [last_copy(event, d) for d in decay if d.idAbs() in (11, 13)]
                if product.idAbs() in (11, 13):
                    leptons.append(offset + product.index())
                elif product.idAbs() == 15 and charged:
                    leptons.append(offset + charged[0].index())
                elif product.idAbs() == 15:
                    taus.append(offset + product.index())
    for flavour, found in hadrons.items():
        assert weakly_decaying(batch, flavour).tolist() == found
    assert len(hadrons[5]) >= 24
    prompt = prompt_leptons(batch)
    assert sorted(prompt.leptons.tolist()) == sorted(leptons)
    assert sorted(prompt.hadronic_taus.tolist()) == sorted(taus)
    assert len(leptons) > 4
    assert len(taus) > 0
