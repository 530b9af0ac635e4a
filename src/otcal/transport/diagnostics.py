"""What is known about a map on held-out points, beside the figures that it was chosen by."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from otcal.transport.conjugate import conjugate
from otcal.transport.fitted import TransportMap
from otcal.transport.metrics import energy_distance
from otcal.transport.problem import Problem

NEIGHBOURS = 5
"""Neighbours of `unreached`; by chance, a share 2⁻⁵ of the target is counted as missed."""

FOLDS = 2
ENOUGH = 400
"""Points of both samples from which some are kept to stop the classifier's training."""


def diagnose(problem: Problem, transport_map: TransportMap, seed: int) -> dict[str, Any]:
    """Return figures of a map on the problem's held-out points, JSON-ready.

    Distances and the classifier see principal directions at unit spread, as selection does.

    Returns
    -------
    dict
        ``energy_distance`` and ``c2st`` (area under the ROC curve of a classifier, cross-validated;
        ½ when it can tell nothing), each with ``before`` and ``after``;
        ``cycle_error``: E|T⁻¹(T(u)) − u|² / Var(u) in the map's coordinates, and
        ``cycle_converged``, the share of points whose inverse was found, for one potential;
        ``dual_gap``: E φ*(v) − E φ*(T(u)), with ``dual_gap_error``, for one potential: by how much
        the dual value misses the coupling (u, T(u)); zero where T reaches the target;
        ``unreached``: share of target points with no transported source point nearer than their
        fifth neighbour in the target (1 − coverage of Naeem et al., arXiv:2002.09797), and
        ``unreached_by_chance``, its mean for two samples of one distribution.
        Nothing at all where neither sample varies.
    """
    held_out, coordinates = problem.held_out, problem.coordinates
    if coordinates.rank == 0:
        return {}
    x, v = _source(problem), held_out.target
    y = coordinates.decode_target(v, coordinates.source_mean.expand(len(v), -1))
    moved = coordinates.encode_target(transport_map.move(x))
    samples = {"before": coordinates.encode_target(x), "after": moved}
    target = held_out.principal(v)
    result: dict[str, Any] = {"energy_distance": {}, "c2st": {}}
    for name, sample in samples.items():
        seen = held_out.principal(sample)
        result["energy_distance"][name] = energy_distance(seen, target)
        result["c2st"][name] = c2st(seen, target, seed)
    result |= unreached(held_out.principal(moved), target)
    return result | _inverse(transport_map, x, y)


def c2st(x: Tensor, y: Tensor, seed: int) -> float:
    """Return the area under the ROC curve of a classifier between two samples.

    A network of one layer, trained and evaluated on different halves. Below ½ is chance.

    Parameters
    ----------
    x, y
        Samples, shapes (n, d) and (m, d).
    seed
        Seed of the halves and of the network.
    """
    # Seconds to import, for a map that is only loaded or fitted without diagnostics.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.neural_network import MLPClassifier

    points = torch.cat([x, y]).cpu().numpy()
    label = np.repeat([0, 1], [len(x), len(y)])
    network = MLPClassifier(
        (64,), early_stopping=len(points) >= ENOUGH, max_iter=50, random_state=seed
    )
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # short training is meant
        score = cross_val_predict(network, points, label, cv=folds, method="predict_proba")[:, 1]
    return float(roc_auc_score(label, score))


def unreached(sample: Tensor, target: Tensor) -> dict[str, float]:
    """Return the share of the target that a sample does not come near, and that of chance.

    Parameters
    ----------
    sample, target
        Points, shapes (n, d) and (m, d); as many of each are used, at least two.
    """
    size = min(len(sample), len(target))
    sample, target = sample[:size], target[:size]
    neighbours = min(NEIGHBOURS, size - 1)
    radius = torch.cdist(target, target).kthvalue(neighbours + 1, dim=1).values
    missed = torch.cdist(target, sample).amin(dim=1) > radius
    # The nearest of 2 k points around is equally likely to be of either sample, k times over.
    return {"unreached": float(missed.float().mean()), "unreached_by_chance": 0.5**neighbours}


def displacement(problem: Problem, transport_map: TransportMap) -> dict[str, float]:
    """Return quantiles of |T(x) − x| on held-out source points, in the features' units."""
    x = _source(problem)
    length = (transport_map.move(x) - x).norm(dim=1)
    return {f"q{int(100 * q)}": float(torch.quantile(length, q)) for q in (0.05, 0.5, 0.95)}


def _source(problem: Problem) -> Tensor:
    """Return the held-out source points in the features' units."""
    coordinates, u = problem.coordinates, problem.held_out.source
    return coordinates.decode_source(u, coordinates.target_mean.expand(len(u), -1))


def _inverse(transport_map: TransportMap, x: Tensor, y: Tensor) -> dict[str, float]:
    """Return what needs the inverse map, in the map's own coordinates: one potential has one."""
    coordinates = transport_map.coordinates
    if not transport_map.is_gradient or coordinates.rank == 0:
        return {}
    (potential,) = transport_map.potentials
    u, v = coordinates.encode_source(x), coordinates.encode_target(y)
    value, moved = potential.value_and_gradient(u)
    back, ahead = conjugate(potential, moved), conjugate(potential, v)
    spread = (u - u.mean(0)).square().sum(1).mean().clamp_min(1e-12)
    # φ* of v and of ∇φ(u), the latter by Fenchel's equality; both up to what conditions alone give.
    wanted = ahead.value + potential.level(v)
    reached = (u * moved).sum(1) - value + potential.level(u)
    variance = wanted.var() / len(v) + reached.var() / len(u)
    return {
        "cycle_error": float((back.points - u).square().sum(1).mean() / spread),
        "cycle_converged": float(back.converged.float().mean()),
        "dual_gap": float(wanted.mean() - reached.mean()),
        "dual_gap_error": float(variance.sqrt()),
    }
