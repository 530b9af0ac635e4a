"""Flavour labels of jets, from the hadrons near their axes.

Exclusive labels as in the ATLAS taggers (arXiv:2211.16345): a jet with a b hadron within the
radius is a b jet; else one with a c hadron is a c jet; else it is light. Hadrons are the last
copies before the weak decay. Jets with a prompt electron or muon (from a W or Z boson, or from a
tau lepton of one), and light jets with a prompt tau lepton that decays to hadrons, are dropped.
Whatever lies within the radius of two selected jets counts for the closer one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from otcal.config.selection import FlavourLabels
from otcal.samples.flavours import index
from otcal.simulation.detector.card import Floats, Ints
from otcal.simulation.generator import Events
from otcal.simulation.jets import Jets, Truth

BOTTOM, CHARM = 5, 4
_ELECTRON, _MUON, _TAU = 11, 13, 15
_BOSONS = (23, 24)


@dataclass(frozen=True)
class Prompt:
    """Entries of prompt leptons: electrons and muons, and tau leptons that decay to hadrons."""

    leptons: Ints
    hadronic_taus: Ints


def flavours_of(jets: Jets, events: Events, settings: FlavourLabels) -> Truth:
    """Return the jets that have a flavour.

    The truth's `match` is 5, 4 or 0 for b, c and light; its particle is the hadron of highest pT
    that gave the label.
    """
    prompt = prompt_leptons(events)
    lepton = _owned(jets, events, prompt.leptons, settings)
    tau = _owned(jets, events, prompt.hadronic_taus, settings)
    hadron = np.full(len(jets), -1)
    label = np.full(len(jets), index("light"))
    match = np.zeros(len(jets), dtype=np.int64)
    for flavour, name in ((CHARM, "c"), (BOTTOM, "b")):
        found = _owned(jets, events, weakly_decaying(events, flavour), settings)
        there = found >= 0
        hadron[there], label[there], match[there] = found[there], index(name), flavour

    rows = np.flatnonzero((lepton < 0) & ~((tau >= 0) & (match == 0)))
    source = hadron[rows]
    pt, eta, phi = _directions(events, source)
    values = {"pid": events.pid[source], "pt": pt, "eta": eta, "phi": phi}
    return Truth(
        rows=rows,
        label=label[rows],
        match=match[rows],
        **{name: np.where(source >= 0, value, 0) for name, value in values.items()},
    )


def heaviest_quark(pid: Ints) -> Ints:
    """Return the heaviest quark of hadrons with open flavour; 0 for everything else.

    PDG's numbering scheme: the quarks are the second to fourth digit from the right. Diquarks have
    a zero there, and quarkonia twice the same.
    """
    kind = np.abs(pid)
    one, two, three = kind // 1000 % 10, kind // 100 % 10, kind // 10 % 10
    hadron = (kind < 1_000_000) & (two > 0) & (three > 0)
    meson = hadron & (one == 0) & (two != three)
    return np.where(hadron & (one > 0), one, np.where(meson, two, 0))


def weakly_decaying(events: Events, flavour: int) -> Ints:
    """Return the entries of hadrons of a flavour that do not decay to another one of it."""
    of_flavour = heaviest_quark(events.pid) == flavour
    rows = np.flatnonzero(of_flavour)
    position, daughter = events.daughters(rows)
    again = np.zeros(len(rows), dtype=bool)
    again[position[of_flavour[daughter]]] = True
    return rows[~again]


def prompt_leptons(events: Events) -> Prompt:
    """Return the leptons of W and Z bosons, after their radiation."""
    kind = np.abs(events.pid)
    _, products = events.daughters(np.flatnonzero(np.isin(kind, _BOSONS)))
    products = products[np.isin(kind[products], (_ELECTRON, _MUON, _TAU))]
    last = last_copies(events, products)
    taus = last[kind[last] == _TAU]
    position, daughter = events.daughters(taus)
    leptonic = np.isin(kind[daughter], (_ELECTRON, _MUON))
    secondary = last_copies(events, daughter[leptonic])
    hadronic = np.ones(len(taus), dtype=bool)
    hadronic[position[leptonic]] = False
    return Prompt(
        leptons=np.concatenate([last[kind[last] != _TAU], secondary]),
        hadronic_taus=taus[hadronic],
    )


def last_copies(events: Events, rows: Ints) -> Ints:
    """Follow entries to their last copies of the same kind."""
    rows = rows.copy()
    active = np.arange(len(rows))
    while len(active):
        position, daughter = events.daughters(rows[active])
        same = events.pid[daughter] == events.pid[rows[active][position]]
        position, first = np.unique(position[same], return_index=True)
        active = active[position]
        rows[active] = daughter[same][first]
    return rows


def closest_jet(jets: Jets, event: Ints, eta: Floats, phi: Floats, radius: float) -> Ints:
    """Return the closest jet of the same event for each direction; -1 when none is near.

    Parameters
    ----------
    jets
        Sorted by event.
    event, eta, phi
        Directions, shape (N,).
    radius
        Largest distance in (eta, phi).
    """
    start, stop = (np.searchsorted(jets.event, event, side=side) for side in ("left", "right"))
    count = stop - start
    owner = np.repeat(np.arange(len(event)), count)
    jet = start[owner] + np.arange(len(owner)) - (np.cumsum(count) - count)[owner]
    dphi = (jets.phi[jet] - phi[owner] + np.pi) % (2 * np.pi) - np.pi
    distance = np.hypot(jets.eta[jet] - eta[owner], dphi)
    order = np.lexsort((distance, owner))
    first = order[np.unique(owner[order], return_index=True)[1]]
    first = first[distance[first] < radius]
    result = np.full(len(event), -1)
    result[owner[first]] = jet[first]
    return result


def _owned(jets: Jets, events: Events, rows: Ints, settings: FlavourLabels) -> Ints:
    """Return, for each jet, the entry of highest pT that belongs to it; -1 for none."""
    pt, eta, phi = _directions(events, rows)
    hard = np.flatnonzero(pt > settings.pt_min)
    hard = hard[np.argsort(pt[hard], kind="stable")]
    jet = closest_jet(jets, events.event_of(rows[hard]), eta[hard], phi[hard], settings.radius)
    result = np.full(len(jets), -1)
    near: NDArray[np.bool_] = jet >= 0
    result[jet[near]] = rows[hard][near]  # of several, the last one stays
    return result


def _directions(events: Events, rows: Ints) -> tuple[Floats, Floats, Floats]:
    """Return pT, pseudorapidity and azimuth of entries."""
    px, py, pz = events.px[rows], events.py[rows], events.pz[rows]
    pt = np.hypot(px, py)
    return pt, np.arcsinh(pz / np.maximum(pt, 1e-12)), np.arctan2(py, px)
