"""Columns of jets from what a file has: names of the formats, and how the rest is computed.

Our columns are those of `otcal.samples.jets`. Files often have others that say the same, such as
``part_pt`` and ``part_phi`` for ``part_px``; a recipe turns some columns into another one. Units
are GeV, mm, radians.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otcal.samples.jets import (
    CONSTITUENT_FLAGS,
    CONSTITUENT_FLOATS,
    JET_FLOATS,
    TRUTH_FLOATS,
)

Array = NDArray[Any]

COLUMNS = (*CONSTITUENT_FLOATS, *CONSTITUENT_FLAGS, *JET_FLOATS, *TRUTH_FLOATS)
"""Columns of a file of jets, but for id and labels."""
REQUIRED = (
    *("jet_pt", "jet_eta", "part_px", "part_py", "part_charge"),
    *(name for name in CONSTITUENT_FLAGS if name != "part_isPhoton"),
)
"""Those without which nothing can be done."""

MOMENTA = {
    **dict.fromkeys(("jet_pt", "jet_energy", "jet_mass", "aux_genpart_pt"), 1),
    **dict.fromkeys(("part_px", "part_py", "part_pz", "part_energy", "part_pt", "part_mass"), 1),
    "part_q_over_p": -1,
}
"""Power of the unit of momentum in a column."""


@dataclass(frozen=True)
class Recipe:
    """A column from others; those of jets are repeated for each constituent."""

    needs: tuple[str, ...]
    make: Callable[..., Array]


def _wrapped(angle: Array) -> Array:
    return (angle + np.pi) % (2 * np.pi) - np.pi


def _side(eta: Array) -> Array:
    return np.where(eta > 0, 1.0, -1.0)


def _error(value: Array, significance: Array) -> Array:
    """Return the error of a value; zero where both are zero, else possibly infinite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.abs(value / significance)
    return np.where((value == 0) & (significance == 0), 0.0, error)


def _transverse(q_over_p: Array, eta: Array) -> Array:
    with np.errstate(divide="ignore"):
        return 1.0 / (np.abs(q_over_p) * np.cosh(eta))


RECIPES: dict[str, tuple[Recipe, ...]] = {
    "part_pt": (
        Recipe(("part_pt_fraction", "jet_pt"), lambda share, pt: share * pt),
        Recipe(("part_q_over_p", "part_eta"), _transverse),
        Recipe(("part_px", "part_py"), np.hypot),
    ),
    "part_eta": (
        Recipe(("part_eta_relative", "jet_eta"), np.add),
        Recipe(("part_deta", "jet_eta"), lambda deta, eta: eta + deta * _side(eta)),
    ),
    "part_phi": (Recipe(("part_dphi", "jet_phi"), lambda dphi, phi: _wrapped(dphi + phi)),),
    "part_deta": (
        Recipe(("part_eta_relative", "jet_eta"), lambda deta, eta: deta * _side(eta)),
        Recipe(("part_eta", "jet_eta"), lambda part, jet: (part - jet) * _side(jet)),
    ),
    "part_dphi": (Recipe(("part_phi", "jet_phi"), lambda part, jet: _wrapped(part - jet)),),
    # Without the jet's azimuth: in a frame where it is zero.
    "part_px": (
        Recipe(("part_pt", "part_phi"), lambda pt, phi: pt * np.cos(phi)),
        Recipe(("part_pt", "part_dphi"), lambda pt, dphi: pt * np.cos(dphi)),
    ),
    "part_py": (
        Recipe(("part_pt", "part_phi"), lambda pt, phi: pt * np.sin(phi)),
        Recipe(("part_pt", "part_dphi"), lambda pt, dphi: pt * np.sin(dphi)),
    ),
    "part_pz": (Recipe(("part_pt", "part_eta"), lambda pt, eta: pt * np.sinh(eta)),),
    "part_energy": (
        Recipe(
            ("part_pt", "part_eta", "part_mass"),
            lambda pt, eta, mass: np.sqrt((pt * np.cosh(eta)) ** 2 + mass**2),
        ),
    ),
    "part_d0err": (Recipe(("part_d0val", "part_d0_significance"), _error),),
    "part_dzval": (Recipe(("part_z0_sin_theta", "part_eta"), lambda z, eta: z * np.cosh(eta)),),
    "part_dzerr": (
        Recipe(
            ("part_z0_sin_theta", "part_z0_sin_theta_significance", "part_eta"),
            lambda z, significance, eta: _error(z, significance) * np.cosh(eta),
        ),
    ),
    "part_charge": (Recipe(("part_q_over_p",), np.sign),),
    # Files of tracks may know leptons, or no particle types at all.
    "part_isElectron": (
        Recipe(("part_lepton_id",), lambda pid: np.abs(pid) == 11),
        Recipe(("part_charge",), np.zeros_like),
    ),
    "part_isMuon": (
        Recipe(("part_lepton_id",), lambda pid: np.abs(pid) == 13),
        Recipe(("part_charge",), np.zeros_like),
    ),
    "part_isChargedHadron": (
        Recipe(
            ("part_charge", "part_isElectron", "part_isMuon"),
            lambda charge, electron, muon: (charge != 0) & ~((electron > 0) | (muon > 0)),
        ),
    ),
    "part_isNeutralHadron": (Recipe(("part_charge",), np.zeros_like),),
    "part_isPhoton": (
        Recipe(
            ("part_charge", "part_isNeutralHadron"),
            lambda charge, hadron: (charge == 0) & (hadron == 0),
        ),
    ),
    "jet_energy": (
        Recipe(
            ("jet_pt", "jet_eta", "jet_mass"),
            lambda pt, eta, mass: np.sqrt((pt * np.cosh(eta)) ** 2 + mass**2),
        ),
    ),
}
"""How a column is computed that a file does not have; the first recipe that works is taken."""

_OURS = {name: name for name in (*COLUMNS, *RECIPES)}
for _recipe in (recipe for recipes in RECIPES.values() for recipe in recipes):
    _OURS |= {name: name for name in _recipe.needs}

NAMES: dict[str, Mapping[str, str]] = {
    "jetclass": {name: name for name in COLUMNS},
    "root": _OURS,
    "parquet": _OURS | {"jet_id": "jet_id"},
    "hdf5": {name: name for name in ("jet_id", *JET_FLOATS)},
    "upp": {
        **{f"jet_{name}": f"jets/{name}" for name in ("pt", "eta", "phi", "energy", "mass")},
        "part_pt_fraction": "consts/pt_frac",
        "part_eta_relative": "consts/eta_rel",
        "part_dphi": "consts/phi_rel",
        "part_d0val": "consts/d0",
        "part_d0_significance": "consts/signed_2d_ip",
        "part_dzval": "consts/z0",
        "part_charge": "consts/charge",
        "part_isChargedHadron": "consts/is_charged_had",
        "part_isNeutralHadron": "consts/is_neutral_had",
        "part_isPhoton": "consts/is_gamma",
        "part_isElectron": "consts/is_electron",
        "part_isMuon": "consts/is_muon",
    },
    "ftag": {
        **{f"jet_{name}": f"jets/{name}" for name in ("pt", "eta", "phi", "energy", "mass")},
        "part_q_over_p": "tracks/qOverP",
        "part_eta_relative": "tracks/deta",
        "part_dphi": "tracks/dphi",
        "part_d0val": "tracks/d0",
        "part_d0err": "tracks/d0Uncertainty",
        "part_d0_significance": "tracks/IP3D_signed_d0_significance",
        "part_z0_sin_theta": "tracks/z0SinTheta",
        "part_z0_sin_theta_significance": "tracks/IP3D_signed_z0_significance",
        "part_lepton_id": "tracks/leptonID",
    },
}
"""Names in files of each format by ours."""

FLAVOUR_COLUMN = {"upp": "jets/flavour", "ftag": "jets/HadronConeExclTruthLabelID"}
FLAVOUR_VALUES: dict[int, str | None] = {5: "b", 4: "c", 0: "light", 15: None}
"""Hadron flavours of the two HDF5 formats; jets of tau leptons are dropped as in the simulation."""


def resolve(
    target: str, given: Collection[str], parents: tuple[str, ...] = ()
) -> dict[str, Recipe | None] | None:
    """Find out how a column is made.

    Parameters
    ----------
    target
        Its name.
    given
        Names of the columns that a file has.
    parents
        What it is needed for, which it cannot be made from.

    Returns
    -------
    plan
        Columns in the order in which they are made, with their recipes, None for those that the
        file has; None when there is no way.
    """
    if target in given:
        return {target: None}
    for recipe in RECIPES.get(target, ()):
        plan: dict[str, Recipe | None] = {}
        for name in recipe.needs:
            way = None if name in parents else resolve(name, given, (*parents, target))
            if way is None:
                break
            plan |= {key: value for key, value in way.items() if key not in plan}
        else:
            return {**plan, target: recipe}
    return None
