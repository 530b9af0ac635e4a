"""Samples of an extracted density and of its variations, alike wherever they can be.

Kim, Yang (arXiv:2605.01363), [KY] Eq. (34): a shift δπ of the region enriched in f changes the
density to

    q_f' = q_f + Σ_h δπ_h (q_f − q_h),  clipped at zero.

Where δπ_h is negative it adds the share |δπ_h| of q_h; where it is positive it takes q_h out of
q_f. So points are drawn from g = (1 − s) q_f + Σ_{δπ_h<0} |δπ_h| q_h with s = Σ_{δπ_h<0} |δπ_h|,
and kept with probability q_f'/g over its bound 1 + Σ_{δπ_h>0} δπ_h / (1 − s).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from otcal.runtime.seeds import derive, numpy_generator

Array = NDArray[np.float64]

NOMINAL = "nominal"


@dataclass(frozen=True)
class Target:
    """Samples of a density.

    Attributes
    ----------
    z
        Points, shape (N, D).
    replaced
        Share of the points that are not those of the nominal sample.
    clipped
        Integral of the negative part of q_f' that the clipping removed, estimated.
    """

    z: Array
    replaced: float
    clipped: float


class Pools:
    """Common random numbers: one pool of points per component, and two uniforms per point.

    Parameters
    ----------
    sample
        Function of (flavour, number, seed) that draws from a component, shape (number, D).
    log_prob
        Function of points (N, D) to the log-densities of all components, shape (N, K).
    size
        Points per pool.
    seed
        Seed of everything.
    """

    def __init__(
        self,
        sample: Callable[[int, int, int], Array],
        log_prob: Callable[[Array], Array],
        size: int,
        seed: int,
    ) -> None:
        self.size = size
        self._sample = sample
        self._log_prob = log_prob
        self._seed = seed
        self._points: dict[int, tuple[Array, Array]] = {}

    def points(self, flavour: int) -> tuple[Array, Array]:
        """Return the pool of a component, (N, D), and log-densities there, (N, K)."""
        if flavour not in self._points:
            z = self._sample(flavour, self.size, derive(self._seed, "pool", flavour))
            self._points[flavour] = (z, self._log_prob(z))
        return self._points[flavour]

    def uniforms(self, flavour: int) -> Array:
        """Return the numbers that choose and keep points for a target, shape (2, N)."""
        return numpy_generator(self._seed, "choice", flavour).random((2, self.size))


def pool_size(points: int, flavour: int, shifts: Iterable[Array]) -> int:
    """Return how many points a pool needs so that every variation of f finds `points` in it."""
    bound = max((_bound(_others(shift, flavour)) for shift in shifts), default=1.0)
    expected = points * bound
    # Seven standard deviations of the number that is kept out of `expected`.
    return int(np.ceil(expected + 7.0 * np.sqrt(expected * (1.0 - 1.0 / bound)) + 1.0))


def draw_targets(
    pools: Pools, flavour: int, shifts: Mapping[str, Array], points: int
) -> dict[str, Target]:
    """Draw the nominal sample of a component and one of each variation.

    A variation keeps the nominal point wherever the same random numbers allow it; the others come
    from the pools' spare points. Every sample is exactly distributed as its clipped density.

    Parameters
    ----------
    pools
        Common random numbers, at least `pool_size` points each.
    flavour
        f.
    shifts
        δπ of the region enriched in f for each variation, shape (K,), sum zero.
    points
        Points per sample.
    """
    result = {NOMINAL: Target(pools.points(flavour)[0][:points], 0.0, 0.0)}
    for name, shift in shifts.items():
        result[name] = _draw(pools, flavour, np.asarray(shift, dtype=np.float64), points)
    return result


def _draw(pools: Pools, flavour: int, shift: Array, points: int) -> Target:
    choose, keep = pools.uniforms(flavour)
    origin = _origins(choose, shift, flavour)
    z, log_q = (part.copy() for part in pools.points(flavour))
    for other in np.unique(origin[origin != flavour]):
        there, log_there = pools.points(int(other))
        taken = origin == other
        z[taken], log_q[taken] = there[taken], log_there[taken]
    ratio = _ratio(log_q, shift, flavour)
    accepted = keep * _bound(_others(shift, flavour)) < ratio
    spare = np.flatnonzero(accepted[points:]) + points
    rejected = np.flatnonzero(~accepted[:points])
    if len(spare) < len(rejected):
        raise ValueError(f"a pool of {len(z)} points is too small for {points} of this variation")
    index = np.arange(points)
    index[rejected] = spare[: len(rejected)]
    replaced = (origin[index] != flavour) | (index != np.arange(points))
    return Target(z[index], float(replaced.mean()), _clipped(pools, flavour, shift))


def _clipped(pools: Pools, flavour: int, shift: Array) -> float:
    """Estimate ∫ max(0, −q_f') with points of what is taken out, where alone it can be negative.

    Each component's points are weighted by −q_f' over Σ_{δπ_h>0} δπ_h q_h, which is at most 1.
    The points of q_f itself, which may have none there, would miss most of it.
    """
    taken = np.maximum(_others(shift, flavour), 0.0)
    result = 0.0
    for h in np.flatnonzero(taken):
        q = _relative(pools.points(int(h))[1])
        weight = np.maximum(-_varied(q, shift, flavour), 0.0) / (q @ taken)
        result += float(taken[h] * weight.mean())
    return result


def _others(shift: Array, flavour: int) -> Array:
    """Return δπ_h, h ≠ f, with zero for f: its own shift is minus their sum."""
    return np.where(np.arange(len(shift)) == flavour, 0.0, shift)


def _origins(uniform: Array, shift: Array, flavour: int) -> NDArray[np.int64]:
    """Return the component that each slot is drawn from: mostly f, else one with δπ_h < 0."""
    shares = np.maximum(-_others(shift, flavour), 0.0)
    which = np.searchsorted(np.cumsum(shares), uniform, side="right")
    return np.where(which < len(shift), which, flavour)


def _bound(others: Array) -> float:
    """Return the largest q_f'/g."""
    added, taken = np.maximum(-others, 0.0).sum(), np.maximum(others, 0.0).sum()
    if added >= 1.0:
        raise ValueError(f"a shift of {added:.3g} leaves nothing of the density itself")
    return float(1.0 + taken / (1.0 - added))


def _ratio(log_q: Array, shift: Array, flavour: int) -> Array:
    """Return q_f'/g before the clipping, shape (N,)."""
    added = np.maximum(-_others(shift, flavour), 0.0)
    q = _relative(log_q)
    proposal = (1.0 - added.sum()) * q[:, flavour] + q @ added
    return np.asarray(_varied(q, shift, flavour) / np.maximum(proposal, 1e-300))


def _varied(q: Array, shift: Array, flavour: int) -> Array:
    """Return q_f' before the clipping (KY 34), shape (N,)."""
    others = _others(shift, flavour)
    return np.asarray((1.0 + others.sum()) * q[:, flavour] - q @ others)


def _relative(log_q: Array) -> Array:
    """Return densities over the largest of them at each point, shape (N, K)."""
    return np.asarray(np.exp(log_q - log_q.max(axis=1, keepdims=True)))
