"""Process cards of Pythia 8: for the ten classes of JetClass, and for jets of each flavour.

Proton-proton collisions at 13 TeV, multiparton interactions on, no pile-up, Monash tune
(arXiv:1404.5630), Pythia's own leading-order matrix elements (arXiv:2203.11601).

* Jets of quarks and gluons are QCD multijets, two per event. (JetClass takes them from Z plus
  jets, hence has more quark and fewer gluon jets.)
* Higgs bosons recoil against a Z that decays to neutrinos. Z and W bosons and top quarks are made
  in pairs and both decay to the class in question, which gives up to two jets per event.
* Every hard process has a lower cut on its transverse momentum, below or near the 500 GeV of the
  jets and higher where neutrinos carry momentum away. JetClass's own generator cuts are not
  published; these are the highest ones (the cheapest) with which the ten classes together still
  follow the published pT spectrum; jets below 500 GeV cannot be asked for, since the cuts would
  bias them. Events are not weighted.
* Hadrons with a mean decay length below 1 m decay wherever they are, also beyond the tracker:
  JetClass has impact parameters up to 1.1 m, from K0S and Lambda. Muons, charged pions and kaons
  and K0L reach the detector. All this is Pythia's default.

Jets of flavours are those of top pairs without any cut, as in the tagging samples of ATLAS.

* ``ttbar`` has all decays. Half of its jets are b jets; light jets are those of W bosons and of
  radiation; few are c jets, from one W decay in three.
* ``ttbar_charm`` is there to balance the flavours: both W bosons decay to a charm quark and a
  down-type one, so that c jets are as frequent as b jets. Its light jets are those of strange
  quarks and of radiation. No collider has such a sample: a mixture of both cards has b and c jets
  of the usual spectra, but not the flavour composition of top pairs, and more strange jets among
  the light ones.
"""

from __future__ import annotations

from dataclasses import dataclass

_QUARKS = "1 2 3 4 5"
_LEPTONS = "11 13"

COMMON = (
    "Print:quiet = on",
    "Beams:eCM = 13000.",
    "Tune:pp = 14",
    "PartonLevel:MPI = on",
    "Random:setSeed = on",
)


@dataclass(frozen=True)
class ProcessCard:
    """How jets are generated.

    Parameters
    ----------
    settings
        Pythia settings of the hard process and of the decays.
    pt_hat_min
        Lower cut on the transverse momentum of the hard 2 -> 2 process in GeV.
    alternatives
        Sets of settings of which each batch of events uses the next one.
    """

    settings: tuple[str, ...]
    pt_hat_min: float
    alternatives: tuple[tuple[str, ...], ...] = ()


def _only(particle: int, *channels: str) -> tuple[str, ...]:
    """Return settings that leave a particle only some decay channels."""
    return (f"{particle}:onMode = off", *(f"{particle}:{channel}" for channel in channels))


def _higgs(
    pt_hat_min: float, *decays: str, alternatives: tuple[tuple[str, ...], ...] = ()
) -> ProcessCard:
    """Return a Higgs boson that recoils against an invisible Z."""
    invisible = _only(23, "onIfAny = 12 14 16")
    settings = ("HiggsSM:ffbar2HZ = on", *invisible, *decays)
    return ProcessCard(settings, pt_hat_min, alternatives)


_TOP_PAIR = ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on")
_Z_PAIR = ("WeakDoubleBoson:ffbar2gmZgmZ = on", "WeakZ0:gmZmode = 2")
_W_PAIR = ("WeakDoubleBoson:ffbar2WW = on",)
_Z_HADRONIC = _only(23, f"onIfAny = {_QUARKS}")
_W_HADRONIC = _only(24, f"onIfAny = {_QUARKS}")
_W_LEPTONIC = _only(24, f"onIfAny = {_LEPTONS}")
_H_TO_WW = _only(25, "onIfMatch = 24 -24")
# One W must decay to quarks and the other to a lepton. Which one is the W+ alternates.
_W_MIXED = (
    _only(24, f"onPosIfAny = {_QUARKS}", f"onNegIfAny = {_LEPTONS}"),
    _only(24, f"onNegIfAny = {_QUARKS}", f"onPosIfAny = {_LEPTONS}"),
)

PROCESSES: dict[str, ProcessCard] = {
    "QCD": ProcessCard(("HardQCD:all = on",), 482.0),
    "Hbb": _higgs(485.0, *_only(25, "onIfMatch = 5 -5")),
    "Hcc": _higgs(474.0, *_only(25, "onIfMatch = 4 -4")),
    "Hgg": _higgs(474.0, *_only(25, "onIfMatch = 21 21")),
    "H4q": _higgs(475.0, *_H_TO_WW, *_W_HADRONIC),
    "Hqql": _higgs(525.0, *_H_TO_WW, *_W_MIXED[0], alternatives=_W_MIXED),
    "Zqq": ProcessCard((*_Z_PAIR, *_Z_HADRONIC), 478.0),
    "Wqq": ProcessCard((*_W_PAIR, *_W_HADRONIC), 465.0),
    "Tbqq": ProcessCard((*_TOP_PAIR, *_W_HADRONIC), 480.0),
    "Tbl": ProcessCard((*_TOP_PAIR, *_W_LEPTONIC), 570.0),
    "ttbar": ProcessCard(_TOP_PAIR, 0.0),
    "ttbar_charm": ProcessCard((*_TOP_PAIR, *_only(24, "onIfAny = 4")), 0.0),
}
"""Process cards by name."""
