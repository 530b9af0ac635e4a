"""Which resonance a jet contains: the truth matching of JetClass (arXiv:2202.03772).

A jet matches a resonance when the resonance's decay products lie within the jet radius of its
axis. The codes are those of JetClass's `aux_truth_match` column.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from otcal.samples.classes import index
from otcal.simulation.generator import Events
from otcal.simulation.jets import Jets, Truth

QCD_CODE = 50
CODES = {
    "QCD": (QCD_CODE,),
    "Hbb": (41,),
    "Hcc": (42,),
    "Hgg": (44,),
    "H4q": (45,),
    "Hqql": (46,),
    "Zqq": (31, 32, 33),
    "Wqq": (21, 22),
    "Tbqq": (11, 12),
    "Tbl": (15, 16),
}
"""Codes of `aux_truth_match` that belong to each class."""

_TOP, _Z, _W, _HIGGS = 6, 23, 24, 25


@dataclass(frozen=True)
class Product:
    """A decay product: PDG id without sign, and direction."""

    kind: int
    eta: float
    phi: float

    def near(self, eta: float, phi: float, radius: float) -> bool:
        """Return whether it lies within `radius` of a direction."""
        dphi = (self.phi - phi + np.pi) % (2 * np.pi) - np.pi
        return (self.eta - eta) ** 2 + dphi**2 < radius**2


@dataclass(frozen=True)
class Resonance:
    """The last copy of a top quark, W, Z or Higgs boson and what it decays to.

    For a top quark and for a Higgs boson that decays to W or Z bosons, the products are those of
    the bosons (and the bottom quark).
    """

    pid: int
    pt: float
    eta: float
    phi: float
    products: tuple[Product, ...]

    @property
    def kind(self) -> int:
        """PDG id without sign."""
        return abs(self.pid)

    @property
    def is_signal(self) -> bool:
        """Whether an event with this resonance is not an event of quark and gluon jets."""
        if self.kind == _TOP:
            return True
        if self.kind == _HIGGS:
            return len(self.products) > 2 or any(_is_parton(p) for p in self.products)
        return all(_is_quark(p) for p in self.products)

    def code(self, eta: float, phi: float, radius: float) -> int:
        """Return the code of a jet with this axis, 0 when it does not match."""
        inside = [p for p in self.products if p.near(eta, phi, radius)]
        if self.kind == _TOP:
            return self._top_code(inside)
        if self.kind == _HIGGS:
            return self._higgs_code(inside)
        kinds = [p.kind for p in inside]
        if len(inside) < 2 or not all(_is_quark(p) for p in self.products):
            return 0
        if self.kind == _W:
            return 21 if 4 in kinds else 22
        return {5: 31, 4: 32}.get(kinds[0], 33)

    def _top_code(self, inside: list[Product]) -> int:
        if not self.products or self.products[0] not in inside:  # the bottom quark comes first
            return 0
        boson = inside[1:]
        heavy = any(_is_quark(p) and p.kind >= 4 for p in boson)
        quarks = sum(_is_quark(p) for p in boson)
        if quarks:
            return (11 if heavy else 12) if quarks == 2 else (13 if heavy else 14)
        kinds = [p.kind for p in boson]
        return 15 if 11 in kinds else 16 if 13 in kinds else 0

    def _higgs_code(self, inside: list[Product]) -> int:
        quarks = sum(_is_quark(p) for p in inside)
        leptons = sum(p.kind in (11, 13) for p in inside)
        if len(self.products) == 2:
            if len(inside) < 2:
                return 0
            return {5: 41, 4: 42, 21: 44}.get(inside[0].kind, 43 if quarks == 2 else 0)
        if quarks >= 4:
            return 45
        return 46 if quarks == 2 and leptons == 1 else 0


def _is_quark(product: Product) -> bool:
    return 1 <= product.kind <= 5


def _is_parton(product: Product) -> bool:
    return _is_quark(product) or product.kind == 21


class Record:
    """Walks through the events of a batch."""

    def __init__(self, events: Events) -> None:
        self._events = events
        kinds = np.abs(events.pid)
        rows = np.flatnonzero((kinds == _TOP) | ((kinds >= _Z) & (kinds <= _HIGGS)))
        self._rows = np.split(rows, np.searchsorted(rows, events.offsets[1:-1]))

    def resonances(self, event: int) -> list[Resonance]:
        """Return the last copies of the resonances of an event, in the order of its record."""
        first = int(self._events.offsets[event])
        return list(self._resonances(first, self._rows[event].tolist()))

    def _resonances(self, first: int, rows: list[int]) -> Iterator[Resonance]:
        pid = self._events.pid
        for row in rows:
            daughters = self._daughters(first, row)
            if not daughters or any(pid[d] == pid[row] for d in daughters):
                continue
            yield Resonance(
                int(pid[row]), *self._direction(row), self._products(first, row, daughters)
            )

    def _products(self, first: int, row: int, daughters: list[int]) -> tuple[Product, ...]:
        kinds = {d: abs(int(self._events.pid[d])) for d in daughters}
        bosons = [d for d in daughters if kinds[d] in (_Z, _W)]
        others = [d for d in daughters if kinds[d] not in (_Z, _W)]
        if abs(int(self._events.pid[row])) == _TOP:
            others = [d for d in others if kinds[d] == 5][:1]
            if not others:
                return ()
        for boson in bosons:
            others += self._daughters(first, self._last_copy(first, boson))
        return tuple(self._product(first, d) for d in others)

    def _product(self, first: int, row: int) -> Product:
        kind = abs(int(self._events.pid[row]))
        if kind in (11, 13, 15):
            row = self._last_copy(first, row)
        _, eta, phi = self._direction(row)
        return Product(kind, eta, phi)

    def _last_copy(self, first: int, row: int) -> int:
        pid = self._events.pid
        while True:
            same = [d for d in self._daughters(first, row) if pid[d] == pid[row]]
            if not same:
                return row
            row = same[0]

    def _daughters(self, first: int, row: int) -> list[int]:
        """Return the rows of the daughters; Pythia's conventions for its two numbers."""
        low, high = int(self._events.daughter1[row]), int(self._events.daughter2[row])
        if low <= 0:
            return []
        if high == 0 or high == low:
            return [first + low]
        if high < low:
            return [first + low, first + high]
        return list(range(first + low, first + high + 1))

    def _direction(self, row: int) -> tuple[float, float, float]:
        px, py, pz = (float(getattr(self._events, k)[row]) for k in ("px", "py", "pz"))
        pt = float(np.hypot(px, py))
        return pt, float(np.arcsinh(pz / pt)), float(np.arctan2(py, px))


def match(
    resonances: list[Resonance], eta: float, phi: float, radius: float
) -> tuple[int, Resonance | None]:
    """Return the code of a jet and the resonance that it contains.

    The first resonance that answers wins. In an event without any hadronic resonance every jet
    counts as a quark or gluon jet. A jet that only matches part of a decay chain (the W of a top
    quark, say) gets code 0, as does every jet of a signal event that matches nothing.
    """
    signal = [r for r in resonances if r.is_signal]
    if not signal:
        return QCD_CODE, None
    for resonance in signal:
        code = resonance.code(eta, phi, radius)
        if code:
            return (code, resonance) if resonance.kind == signal[0].kind else (0, None)
    return 0, None


def resonances_in(jets: Jets, record: Record, process: str, radius: float) -> Truth:
    """Return the jets of the process's own class."""
    rows: list[int] = []
    truth: dict[str, list[float]] = {name: [] for name in ("match", "pid", "pt", "eta", "phi")}
    for j, event in enumerate(jets.event.tolist()):
        code, resonance = match(
            record.resonances(event), float(jets.eta[j]), float(jets.phi[j]), radius
        )
        if code not in CODES[process]:
            continue
        rows.append(j)
        truth["match"].append(code)
        for name in ("pid", "pt", "eta", "phi"):
            truth[name].append(getattr(resonance, name) if resonance else 0)
    return Truth(np.array(rows, dtype=np.int64), np.full(len(rows), index(process)), **truth)
