"""Tables of the JetClass Delphes card and how to look them up.

The numbers are in `otcal/simulation/data` (its README names their source). All bins are closed on
the right, as the card's formulas are (``eta <= 1.5``), and nothing is interpolated.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SOLENOID_RADIUS_M = 1.29
"""Radius of the tracker cylinder."""
SOLENOID_HALF_LENGTH_M = 3.0
MAGNETIC_FIELD_T = 3.8

SPECIES = ("charged_hadron", "electron", "muon")


def species(pid: Ints) -> Ints:
    """Return the index in `SPECIES` of charged particles with PDG ids `pid`."""
    absolute = np.abs(pid)
    return np.where(absolute == 11, 1, np.where(absolute == 13, 2, 0))


@dataclass(frozen=True)
class Calorimeter:
    """One calorimeter of the card: its name, thresholds, and the id of its neutral objects."""

    name: str
    energy_min: float
    significance_min: float
    neutral_pid: int


ECAL = Calorimeter("ECal", energy_min=0.5, significance_min=2.0, neutral_pid=22)
HCAL = Calorimeter("HCal", energy_min=1.0, significance_min=1.0, neutral_pid=0)


@dataclass(frozen=True)
class Grid:
    """A piecewise constant function of |eta| and pT, zero outside its bins.

    Parameters
    ----------
    eta_edges, pt_edges
        Bin edges; lengths E + 1 and P + 1.
    values
        Shape (..., E, P).
    """

    eta_edges: Floats
    pt_edges: Floats
    values: Floats

    def bins(self, eta: Floats, pt: Floats) -> tuple[Ints, Ints, NDArray[np.bool_]]:
        """Return bin numbers in |eta| and pT, and which points are inside the grid."""
        i = np.searchsorted(self.eta_edges, np.abs(eta), side="left") - 1
        j = np.searchsorted(self.pt_edges, pt, side="left") - 1
        n_eta, n_pt = self.values.shape[-2:]
        inside = (i >= 0) & (i < n_eta) & (j >= 0) & (j < n_pt)
        return np.where(inside, i, 0), np.where(inside, j, 0), inside

    def __call__(self, eta: Floats, pt: Floats) -> Floats:
        """Look up points; for a grid of shape (E, P)."""
        i, j, inside = self.bins(eta, pt)
        return np.where(inside, self.values[i, j], 0.0)


@dataclass(frozen=True)
class Towers:
    """Rings of towers of one calorimeter, numbered through from eta = -5.

    Parameters
    ----------
    eta_edges
        Shape (R + 1,).
    n_phi
        Towers per ring, shape (R,).
    """

    eta_edges: Floats
    n_phi: Ints

    @property
    def total(self) -> int:
        """Number of towers."""
        return int(self.n_phi.sum())

    def find(self, eta: Floats, phi: Floats) -> tuple[Ints, NDArray[np.bool_]]:
        """Return tower numbers of directions, and which directions hit a tower."""
        ring = np.searchsorted(self.eta_edges, eta, side="left") - 1
        inside = (ring >= 0) & (ring < len(self.n_phi))
        ring = np.where(inside, ring, 0)
        n_phi = self.n_phi[ring]
        column = np.ceil((phi + np.pi) * (n_phi / (2 * np.pi))).astype(np.int64) - 1
        return self._first[ring] + np.clip(column, 0, n_phi - 1), inside

    def edges(self, tower: Ints) -> tuple[Floats, Floats, Floats, Floats]:
        """Return low eta, high eta, low phi and high phi of towers."""
        ring = np.searchsorted(self._first, tower, side="right") - 1
        width = 2 * np.pi / self.n_phi[ring]
        low = -np.pi + (tower - self._first[ring]) * width
        return self.eta_edges[ring], self.eta_edges[ring + 1], low, low + width

    @property
    def _first(self) -> Ints:
        return np.concatenate([[0], np.cumsum(self.n_phi)[:-1]])


@dataclass(frozen=True)
class Resolution:
    """Energy resolution of a calorimeter, in GeV.

    sigma(E) = shape(eta) sqrt((c E)^2 + s^2 E + n^2) with a shape quadratic in |eta|.
    """

    eta_edges: Floats
    shape: Floats
    terms: Floats

    def __call__(self, eta: Floats, energy: Floats) -> Floats:
        """Return sigma at tower centres `eta` and energies in GeV; zero outside."""
        absolute = np.abs(eta)
        i = np.searchsorted(self.eta_edges, absolute, side="left") - 1
        i = np.where(absolute == 0, 0, i)  # the first bin starts with its edge
        inside = i < len(self.terms)
        i = np.where(inside, i, 0)
        base, slope, centre = self.shape[i].T
        constant, stochastic, noise = self.terms[i].T
        shape = base + slope * (absolute - centre) ** 2
        sigma = np.sqrt((constant * energy) ** 2 + stochastic**2 * energy + noise**2)
        return np.where(inside, shape * sigma, 0.0)


@cache
def tracking_efficiency() -> tuple[Grid, Floats, Floats]:
    """Return the efficiency's scale by (species, |eta|, pT), and log offset and slope alike."""
    rows = _read("tracking_efficiency.csv")
    eta_edges, pt_edges = _edges(rows, "eta"), _edges(rows, "pt")
    tables = np.zeros((3, len(SPECIES), len(eta_edges) - 1, len(pt_edges) - 1))
    for row in rows:
        i = np.searchsorted(eta_edges, float(row["eta_min"]))
        low, high = (np.searchsorted(pt_edges, float(row[f"pt_{side}"])) for side in ("min", "max"))
        for k, name in enumerate(("scale", "log_offset", "log_slope_per_GeV")):
            tables[k, SPECIES.index(row["species"]), i, low:high] = float(row[name])
    eta_edges[0] = -1.0  # unlike the others, the first |eta| bin includes its lower edge, zero
    return Grid(eta_edges, pt_edges, tables[0]), tables[1], tables[2]


@cache
def momentum_resolution() -> tuple[Floats, Floats]:
    """Return |eta| edges, and (constant, slope per GeV) by (species, |eta|)."""
    rows = _read("momentum_resolution.csv")
    eta_edges = _edges(rows, "eta")
    values = np.zeros((len(SPECIES), len(eta_edges) - 1, 2))
    for row in rows:
        i = np.searchsorted(eta_edges, float(row["eta_min"]))
        values[SPECIES.index(row["species"]), i] = row["constant"], row["slope_per_GeV"]
    eta_edges[0] = -1.0  # includes zero, as above
    return eta_edges, values


@cache
def impact_parameter_resolution(name: str) -> Grid:
    """Return sigma in mm of ``d0`` or ``dz`` by |eta| and pT."""
    rows = _read(f"{name}_resolution.csv")
    eta_edges, pt_edges = _edges(rows, "eta"), _edges(rows, "pt")
    values = np.array([float(row["sigma_mm"]) for row in rows])
    return Grid(eta_edges, pt_edges, values.reshape(len(eta_edges) - 1, len(pt_edges) - 1))


@cache
def towers(calorimeter: str) -> Towers:
    """Return the towers of ``ECal`` or ``HCal``."""
    rows = _read(f"{calorimeter.lower()}_towers.csv")
    edges = [float(row["eta_low"]) for row in rows] + [float(rows[-1]["eta_high"])]
    return Towers(np.array(edges), np.array([int(row["n_phi"]) for row in rows]))


@cache
def calorimeter_resolution(calorimeter: str) -> Resolution:
    """Return the energy resolution of ``ECal`` or ``HCal``."""
    rows = [r for r in _read("calorimeter_resolution.csv") if r["calorimeter"] == calorimeter]
    shape = [[float(r[f"shape_{k}"]) for k in ("constant", "slope", "centre")] for r in rows]
    terms = [[float(r[k]) for k in ("constant_c", "stochastic_s", "noise_n")] for r in rows]
    return Resolution(_edges(rows, "eta"), np.array(shape), np.array(terms))


@cache
def energy_fractions(calorimeter: str) -> tuple[Ints, Floats, float]:
    """Return sorted |PDG ids|, their energy fractions, and the fraction of all other ids."""
    rows = _read("energy_fractions.csv")
    table = sorted((int(row["abs_pdg"]), float(row[calorimeter.lower()])) for row in rows)
    ids, fractions = np.array([i for i, _ in table]), np.array([f for _, f in table])
    return ids[1:], fractions[1:], float(fractions[0])


def energy_fraction(calorimeter: str, pid: Ints) -> Floats:
    """Return the share of their energy that particles leave in a calorimeter."""
    ids, fractions, default = energy_fractions(calorimeter)
    absolute = np.abs(pid)
    position = np.minimum(np.searchsorted(ids, absolute), len(ids) - 1)
    return np.where(ids[position] == absolute, fractions[position], default)


def _read(name: str) -> list[dict[str, str]]:
    text = (files("otcal.simulation") / "data" / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _edges(rows: list[dict[str, str]], axis: str) -> Floats:
    values = {float(row[f"{axis}_{side}"] or "inf") for row in rows for side in ("min", "max")}
    return np.array(sorted(values))
