r"""The card of Delphes for a detector and a version of the simulated world.

All numbers are those of the detector as array code (`otcal.simulation.detector`), written as
formulas: both engines have one detector. Three things are not the same.

* The scale of the calorimeters' energies multiplies the energies of the particles that reach them,
  as Delphes' calorimeters have no scale of their own; the array code multiplies what they measure.
  A factor s changes the relative resolution that is looked up, by less than \|s - 1\|.
* Growth of the impact-parameter resolution multiplies the one Gaussian that Delphes draws; the
  array code draws a second one. Their sum has the same distribution.
* `Detector.position_eta` is up to the reader (`otcal.simulation.delphes.reader`), and the
  other two switches of `Detector` cannot be off: they follow from the chain of modules.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from importlib.resources import files
from itertools import pairwise
from string import Template

import numpy as np

from otcal.config.simulation import Detector, Variation
from otcal.simulation.detector import atlas, card
from otcal.simulation.detector.card import ECAL, HCAL, SPECIES, Calorimeter
from otcal.simulation.variations import SOFT_PT_GEV, TRACKER_ETA


class _Template(Template):
    delimiter = "@"  # Tcl has a meaning for Template's own


def write_card(detector: Detector, variation: Variation, seed: int) -> str:
    """Return the card.

    Parameters
    ----------
    detector
        Which impact-parameter resolution.
    variation
        Its effects on tracks and energies.
    seed
        Of Delphes' random numbers, from 1: Delphes takes 0 for any.
    """
    growth = _growth(variation)
    values: dict[str, object] = {
        "seed": seed,
        "radius": card.SOLENOID_RADIUS_M,
        "half_length": card.SOLENOID_HALF_LENGTH_M,
        "field": card.MAGNETIC_FIELD_T,
        "energy_scale": variation.energy_scale,
    }
    for kind, name in enumerate(SPECIES):
        values[f"{name}_efficiency"] = _efficiency(kind, variation)
        values[f"{name}_momentum"] = _momentum(kind)
    for name in ("d0", "dz"):
        values[f"{name}_resolution"] = f"{growth} * ({_impact_parameter(name, detector)})"
    for calorimeter in (ECAL, HCAL):
        prefix = calorimeter.name.lower()
        values |= {f"{prefix}_{key}": value for key, value in _calorimeter(calorimeter).items()}
    text = (files("otcal.simulation.delphes") / "data" / "card.tcl").read_text(encoding="utf-8")
    return _Template(text).substitute(values)


def _sum(terms: Iterable[str]) -> str:
    return "\n    " + " +\n    ".join(terms)


def _bin(variable: str, low: float, high: float) -> str:
    """Return a factor that is 1 in a bin, closed on the right, and 0 elsewhere."""
    above = [] if low < 0 else [f"{variable} > {float(low)!r}"]  # of what is never negative
    below = [] if math.isinf(high) else [f"{variable} <= {float(high)!r}"]
    return f"({' && '.join(above + below)})"


def _bins(variable: str, edges: np.ndarray) -> list[str]:
    return [_bin(variable, low, high) for low, high in pairwise(edges)]


def _efficiency(kind: int, variation: Variation) -> str:
    grid, offset, slope = card.tracking_efficiency()
    terms = []
    for i, eta in enumerate(_bins("abs(eta)", grid.eta_edges)):
        for j, pt in enumerate(_bins("pt", grid.pt_edges)):
            scale, start, fall = (float(t[kind, i, j]) for t in (grid.values, offset, slope))
            falling = f" * exp({start!r} - {fall!r} * pt)" if start or fall else ""
            terms.append(f"{eta} * {pt} * {scale!r}{falling}")
    return f"{1 - variation.tracking_efficiency_loss!r} * ({_sum(terms)})"


def _momentum(kind: int) -> str:
    edges, values = card.momentum_resolution()
    return _sum(
        f"{eta} * sqrt({float(constant)!r}^2 + ({float(slope)!r} * pt)^2)"
        for eta, (constant, slope) in zip(_bins("abs(eta)", edges), values[kind], strict=True)
    )


def _growth(variation: Variation) -> str:
    """Return one plus `otcal.simulation.variations.resolution_growth`."""
    smearing = variation.impact_parameter_smearing
    half = (smearing.maximum - smearing.minimum) / 2
    soft = f"1.0 / (1.0 + pt / {SOFT_PT_GEV!r})"
    inside, outside = (f"(abs(eta) {sign} {TRACKER_ETA!r})" for sign in ("<=", ">"))
    forward = f"{inside} * (eta / {TRACKER_ETA!r})^2 + {outside}"
    return f"(1.0 + {smearing.minimum!r} + {half!r} * ({soft} + {forward}))"


def _impact_parameter(name: str, detector: Detector) -> str:
    if detector.impact_parameters == "atlas":
        constant, scattering, power = atlas.TERMS_MM[name]
        return f"sqrt({constant!r}^2 + ({scattering!r} * pow(cosh(eta), {power!r}) / pt)^2)"
    grid = card.impact_parameter_resolution(name)
    return _sum(
        f"{eta} * {pt} * {float(sigma)!r}"
        for eta, row in zip(_bins("abs(eta)", grid.eta_edges), grid.values, strict=True)
        for pt, sigma in zip(_bins("pt", grid.pt_edges), row, strict=True)
    )


def _calorimeter(calorimeter: Calorimeter) -> dict[str, object]:
    return {
        "energy_min": calorimeter.energy_min,
        "significance_min": calorimeter.significance_min,
        "towers": _towers(calorimeter.name),
        "fractions": _fractions(calorimeter.name),
        "resolution": _energy_resolution(calorimeter.name),
    }


def _towers(name: str) -> str:
    """Return the towers: Delphes wants a ring's bins in azimuth with its upper edge."""
    layout = card.towers(name)
    rings = {int(n): layout.eta_edges[1:][layout.n_phi == n].tolist() for n in layout.n_phi}
    rings[int(layout.n_phi[0])].insert(0, float(layout.eta_edges[0]))
    return "\n".join(
        f"  add EtaPhiBins {{{_list(edges)}}} {{{_list(np.linspace(-np.pi, np.pi, n + 1))}}}"
        for n, edges in rings.items()
    )


def _list(values: Iterable[float]) -> str:
    return " ".join(repr(float(value)) for value in values)


def _fractions(name: str) -> str:
    ids, fractions, default = card.energy_fractions(name)
    pairs = [(0, default), *zip(ids.tolist(), fractions.tolist(), strict=True)]
    return "\n".join(f"  add EnergyFraction {{{pid}}} {{{share!r}}}" for pid, share in pairs)


def _energy_resolution(name: str) -> str:
    resolution = card.calorimeter_resolution(name)
    edges = resolution.eta_edges.copy()
    edges[0] = -1.0  # the first bin includes its lower edge
    terms = []
    for i, eta in enumerate(_bins("abs(eta)", edges)):
        base, slope, centre = resolution.shape[i].tolist()
        constant, stochastic, noise = resolution.terms[i].tolist()
        shape = f"({base!r} + {slope!r} * (abs(eta) - {centre!r})^2)"
        sigma2 = f"({constant!r} * energy)^2 + {stochastic!r}^2 * energy + {noise!r}^2"
        terms.append(f"{eta} * {shape} * sqrt({sigma2})")
    return _sum(terms)
