"""Binned scale factors that maps imply, in correctionlib's format (schema 2).

For a cut-based analysis that weights jets instead of moving them: in each bin between the working
points of a discriminant, the share of a flavour's jets there after the map over the share before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otcal.bundle.card import NOMINAL
from otcal.config.bundle import WorkingPoints
from otcal.runtime.errors import InputError
from otcal.simplex import DISCRIMINANTS, discriminant

try:
    from correctionlib import schemav2
except ModuleNotFoundError as error:
    raise InputError(
        "correctionlib", "package", "is not installed", "Run: pip install 'otcal[bundle]'"
    ) from error

Array = NDArray[np.float64]
Moved = Mapping[str, Mapping[str, Array]]
"""Probabilities (N, 3) of each flavour's jets, by flavour and variation."""


def correction_set(raw: Mapping[str, Array], moved: Moved, spec: WorkingPoints) -> str:
    """Return the scale factors of all discriminants and κ as JSON.

    A correction takes ``systematic`` (nominal, up, down, or a variation's name), ``flavour`` and
    the value of the discriminant. ``up`` and ``down`` add the variations' shifts in quadrature.

    Parameters
    ----------
    raw
        Probabilities of simulated jets by flavour (b, c, light), shape (N, 3).
    moved
        The same jets after the maps.
    spec
        Discriminants and working points.
    """
    corrections = [
        _correction(name, kappa, raw, moved, spec.efficiencies)
        for name in spec.discriminants
        for kappa in spec.kappas
    ]
    description = "Binned scale factors of a calibration by transport maps (otcal)."
    content = schemav2.CorrectionSet(
        schema_version=2, description=description, corrections=corrections
    )
    return content.model_dump_json(exclude_unset=True, indent=1)


def factors(before: Array, after: Array, edges: Array) -> Array:
    """Return the share of `after` over that of `before` in each bin; 1 where `before` has none."""
    shares = [np.histogram(values, edges)[0] / len(values) for values in (before, after)]
    filled = shares[0] > 0
    return np.where(filled, shares[1] / np.where(filled, shares[0], 1.0), 1.0)


def _correction(
    name: str,
    kappa: float,
    raw: Mapping[str, Array],
    moved: Moved,
    efficiencies: Sequence[float],
) -> schemav2.Correction:
    flavours = list(raw)
    before = {flavour: discriminant(name, p, kappa) for flavour, p in raw.items()}
    signal = np.concatenate([before[flavours[part]] for part in DISCRIMINANTS[name].signal])
    edges = np.array([0.0, *np.quantile(signal, 1.0 - np.asarray(efficiencies)), 1.0])
    if (np.diff(edges) <= 0).any():
        raise InputError(
            f"{name} at κ = {kappa:g}",
            "efficiencies",
            f"give equal working points {edges[1:-1].tolist()}",
            "Choose efficiencies that are further apart",
        )
    tables = {}
    for flavour in flavours:
        found = {
            variation: factors(before[flavour], discriminant(name, p, kappa), edges)
            for variation, p in moved[flavour].items()
        }
        tables[flavour] = _with_total(found)
    systematics = list(next(iter(tables.values())))
    content = {
        "nodetype": "category",
        "input": "systematic",
        "content": [
            {"key": one, "value": _flavours({f: tables[f][one] for f in flavours}, edges)}
            for one in systematics
        ],
    }
    points = ", ".join(
        f"{100 * e:g} %: {t:.6g}" for e, t in zip(efficiencies, edges[1:], strict=False)
    )
    return schemav2.Correction.model_validate(
        {
            "name": f"{name}_kappa{kappa:g}",
            "description": f"Working points (signal efficiency: threshold): {points}.",
            "version": 1,
            "inputs": [
                _variable("systematic", "string", ", ".join(systematics)),
                _variable("flavour", "string", ", ".join(flavours)),
                _variable("discriminant", "real", f"D_{name} with charm weight {kappa:g}"),
            ],
            "output": _variable("weight", "real", "scale factor"),
            "data": content,
        }
    )


def _with_total(found: Mapping[str, Array]) -> dict[str, Array]:
    """Put up and down after nominal: the ends of all pairs of variations in quadrature."""
    nominal = found[NOMINAL]
    shifts = np.stack([values - nominal for values in found.values()])
    stems = [name.rsplit("_", 1)[0] for name in found]
    squares = np.zeros((2, len(nominal)))
    for stem in dict.fromkeys(stems):
        pair = shifts[[one == stem for one in stems]]
        squares += np.stack([pair.max(axis=0).clip(0), pair.min(axis=0).clip(max=0)]) ** 2
    up, down = np.sqrt(squares)
    variations = {name: values for name, values in found.items() if name != NOMINAL}
    return {NOMINAL: nominal, "up": nominal + up, "down": nominal - down, **variations}


def _flavours(tables: Mapping[str, Array], edges: Array) -> dict[str, Any]:
    binned = {
        flavour: {
            "nodetype": "binning",
            "input": "discriminant",
            "edges": edges.tolist(),
            "content": values.tolist(),
            "flow": "clamp",
        }
        for flavour, values in tables.items()
    }
    entries = [{"key": flavour, "value": content} for flavour, content in binned.items()]
    return {"nodetype": "category", "input": "flavour", "content": entries}


def _variable(name: str, kind: str, description: str) -> dict[str, str]:
    return {"name": name, "type": kind, "description": description}
