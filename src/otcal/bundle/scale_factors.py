"""Binned scale factors that maps imply, in correctionlib's format (schema 2).

For a cut-based analysis that weights jets instead of moving them: in each bin between the working
points of a discriminant, the share of a flavour's or class's jets there after the map over the
share before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otcal.bundle.card import NOMINAL
from otcal.closure.discriminants import log_ratio
from otcal.config.bundle import LatentWorkingPoints, WorkingPoints
from otcal.config.closure import Discriminant
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
        _simplex_correction(name, kappa, raw, moved, spec.efficiencies)
        for name in spec.discriminants
        for kappa in spec.kappas
    ]
    return _as_json(corrections)


def latent_correction_set(
    before: Mapping[str, Array],
    after: Mapping[str, Array],
    target: Mapping[str, Array],
    discriminants: Sequence[Discriminant],
    classes: Sequence[str],
    spec: LatentWorkingPoints,
) -> str:
    """Return the scale factors of the latent study's physics discriminants as JSON.

    A correction takes ``systematic``, ``class`` and the value of the discriminant. Systematics are
    ``nominal``; ``stat_up`` and ``stat_down``, the standard error from finitely many simulated
    jets; ``closure_up`` and ``closure_down``, by as much as target jets differ from moved ones; and
    ``up`` and ``down``, both in quadrature. None is below zero. In a bin without simulated jets the
    factor is 1 and the error as large.

    Parameters
    ----------
    before, after
        Logits of the simulated jets and of the same jets after the map, by class, (N, K).
    target
        Logits of target jets, by class, (M, K).
    discriminants, classes
        Discriminants, and the names of the K logits.
    spec
        Working points.
    """
    corrections = []
    for entry in discriminants:
        old, new, there = (
            {name: log_ratio(z, entry, classes) for name, z in sample.items()}
            for sample in (before, after, target)
        )
        pooled = np.concatenate(list(old.values()))
        inner = _thresholds(entry.name, pooled, spec.efficiencies)
        found = {name: _paired(old[name], new[name], there[name], inner) for name in old}
        signal, background = (
            " + ".join(f"p_{name}" for name in side) for side in (entry.signal, entry.background)
        )
        points = _listed(spec.efficiencies, inner)
        corrections.append(
            _correction(
                entry.name,
                f"Working points ({points}), as shares of the simulated jets",
                ("class", "class of the jet"),
                f"ln (({signal}) / ({background}))",
                found,
                np.array([inner[0] - 1.0, *inner, inner[-1] + 1.0]),
            )
        )
    return _as_json(corrections)


def _as_json(corrections: list[schemav2.Correction]) -> str:
    description = "Binned scale factors of a calibration by transport maps (otcal)."
    content = schemav2.CorrectionSet(
        schema_version=2, description=description, corrections=corrections
    )
    return content.model_dump_json(exclude_unset=True, indent=1)


def _paired(before: Array, after: Array, target: Array, inner: Array) -> dict[str, Array]:
    """Return the factors of a class in the bins between inner edges, by systematic.

    Of n jets in a bin before and m after the map, c are the same: m / n has the variance
    ((m − c) + f² (n − c) + (1 − f)² c) / n², where f is the factor; m − c counts as 1 at least.
    """
    places = [np.searchsorted(inner, values, side="right") for values in (before, after, target)]
    bins = len(inner) + 1
    n, m, t = (np.bincount(place, minlength=bins).astype(float) for place in places)
    same = np.bincount(places[0][places[0] == places[1]], minlength=bins)
    filled, some = n > 0, np.maximum(n, 1.0)
    factor = np.where(filled, m / some, 1.0)
    variance = (
        np.maximum(m - same, 1.0) + factor**2 * (n - same) + (1.0 - factor) ** 2 * same
    ) / some**2
    stat = np.where(filled, np.sqrt(variance), 1.0)
    closure = np.where(filled, t / len(target) * len(before) / some - factor, 0.0)
    shifts = {"": np.hypot(stat, closure), "stat_": stat, "closure_": np.abs(closure)}
    ends = {
        f"{name}{end}": (factor + sign * shift).clip(0.0)
        for name, shift in shifts.items()
        for end, sign in (("up", 1.0), ("down", -1.0))
    }
    return {NOMINAL: factor, **ends}


def factors(before: Array, after: Array, edges: Array) -> Array:
    """Return the share of `after` over that of `before` in each bin; 1 where `before` has none."""
    shares = [np.histogram(values, edges)[0] / len(values) for values in (before, after)]
    filled = shares[0] > 0
    return np.where(filled, shares[1] / np.where(filled, shares[0], 1.0), 1.0)


def _simplex_correction(
    name: str,
    kappa: float,
    raw: Mapping[str, Array],
    moved: Moved,
    efficiencies: Sequence[float],
) -> schemav2.Correction:
    flavours = list(raw)
    before = {flavour: discriminant(name, p, kappa) for flavour, p in raw.items()}
    signal = np.concatenate([before[flavours[part]] for part in DISCRIMINANTS[name].signal])
    inner = _thresholds(f"{name} at κ = {kappa:g}", signal, efficiencies, 0.0, 1.0)
    edges = np.array([0.0, *inner, 1.0])
    found = {}
    for flavour in flavours:
        varied = {
            variation: factors(before[flavour], discriminant(name, p, kappa), edges)
            for variation, p in moved[flavour].items()
        }
        found[flavour] = _with_total(varied)
    return _correction(
        f"{name}_kappa{kappa:g}",
        f"Working points ({_listed(efficiencies, inner)}), as shares of the simulated signal jets",
        ("flavour", "flavour of the jet"),
        f"D_{name} with charm weight {kappa:g}",
        found,
        edges,
    )


def _thresholds(
    what: str,
    values: Array,
    efficiencies: Sequence[float],
    lowest: float = -np.inf,
    highest: float = np.inf,
) -> Array:
    """Return the values above which these shares are, rising and between the limits."""
    inner = np.quantile(values, 1.0 - np.asarray(efficiencies))
    if (np.diff([lowest, *inner, highest]) <= 0).any():
        raise InputError(
            what,
            "efficiencies",
            f"give equal working points {inner.tolist()}",
            "Choose efficiencies that are further apart",
        )
    return np.asarray(inner)


def _listed(efficiencies: Sequence[float], inner: Array) -> str:
    pairs = zip(efficiencies, inner, strict=True)
    return ", ".join(f"{100 * e:g} %: {threshold:.6g}" for e, threshold in pairs)


def _correction(
    name: str,
    description: str,
    kind: tuple[str, str],
    value: str,
    tables: Mapping[str, Mapping[str, Array]],
    edges: Array,
) -> schemav2.Correction:
    """Return a correction from tables by flavour or class, and by systematic."""
    systematics = list(next(iter(tables.values())))
    content = {
        "nodetype": "category",
        "input": "systematic",
        "content": [
            {"key": one, "value": _by_kind(kind[0], {k: tables[k][one] for k in tables}, edges)}
            for one in systematics
        ],
    }
    return schemav2.Correction.model_validate(
        {
            "name": name,
            "description": f"{description}.",
            "version": 1,
            "inputs": [
                _variable("systematic", "string", ", ".join(systematics)),
                _variable(kind[0], "string", f"{kind[1]}: {', '.join(tables)}"),
                _variable("discriminant", "real", value),
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


def _by_kind(kind: str, tables: Mapping[str, Array], edges: Array) -> dict[str, Any]:
    binned = {
        key: {
            "nodetype": "binning",
            "input": "discriminant",
            "edges": edges.tolist(),
            "content": values.tolist(),
            "flow": "clamp",
        }
        for key, values in tables.items()
    }
    entries = [{"key": key, "value": content} for key, content in binned.items()]
    return {"nodetype": "category", "input": kind, "content": entries}


def _variable(name: str, kind: str, description: str) -> dict[str, str]:
    return {"name": name, "type": kind, "description": description}
