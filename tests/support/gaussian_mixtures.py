"""Regions mixed from Gaussians: densities in closed form, compositions fitted to rounding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from otcal.mixture.composition import compositions, logits

Array = NDArray[np.float64]

TABLE_1 = np.array([[0.90, 0.04, 0.06], [0.0500, 0.8886, 0.0614], [0.0505, 0.0887, 0.8608]])
"""Fractions of b, c and light in the b-, c- and light-enriched region (KY Table 1)."""


@dataclass(frozen=True)
class Gaussians:
    """Components N(mean_k, width_k²) in two dimensions: means (K, 2), widths (K,)."""

    means: Array
    widths: Array
    conditions: tuple[str, ...] = ()

    def log_prob(self, x: Array) -> Array:
        squares = ((x[:, None] - self.means) ** 2).sum(axis=-1) / self.widths**2
        return -0.5 * squares - np.log(2.0 * np.pi * self.widths**2)

    def sample(self, flavour: int, number: int, seed: int) -> Array:
        noise = np.random.default_rng([seed, flavour]).normal(size=(number, 2))
        return self.means[flavour] + self.widths[flavour] * noise


def ring(flavours: int, separation: float) -> Gaussians:
    """Return components on a circle, neighbours about `separation` apart, of unequal widths."""
    angle = 2.0 * np.pi * np.arange(flavours) / flavours
    radius = separation / (2.0 * np.sin(np.pi / flavours))
    means = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return Gaussians(means, 1.0 + 0.15 * np.arange(flavours))


def enriched_compositions(flavours: int, purity: float, seed: int = 0) -> Array:
    """Return a region per flavour: `purity` of it, the rest shared unevenly."""
    shares = np.random.default_rng(seed).uniform(0.3, 1.0, (flavours, flavours))
    np.fill_diagonal(shares, 0.0)
    shares *= (1.0 - purity) / shares.sum(axis=1, keepdims=True)
    return shares + purity * np.eye(flavours)


def draw_regions(components: Gaussians, pi: Array, events: int, seed: int) -> list[Array]:
    """Draw the events of each region, arrays (N, 2)."""
    generator = np.random.default_rng(seed)
    regions = []
    for row in pi:
        label = generator.choice(len(row), events, p=row / row.sum())
        noise = generator.normal(size=(events, 2)) * components.widths[label, None]
        regions.append(components.means[label] + noise)
    return regions


def fit_compositions(log_q: list[Array], start: Array) -> Array:
    """Return the maximum of the likelihood for fixed densities, by EM and then Newton."""
    return np.stack([_fit(rows, row) for rows, row in zip(log_q, start, strict=True)])


def _fit(log_q: Array, pi: Array) -> Array:
    q = np.exp(log_q - log_q.max(axis=1, keepdims=True))
    for _ in range(300):
        pi = (pi * q / (q @ pi)[:, None]).mean(axis=0)
    a = logits(pi)
    for _ in range(20):
        pi = compositions(a)
        gamma = pi * q / (q @ pi)[:, None]
        gradient = (gamma - pi).mean(axis=0)[:-1]
        free = gamma[:, :-1]
        second = free.T @ free / len(q) - np.outer(pi[:-1], pi[:-1])
        a = a + np.linalg.solve(second + np.diag((pi - gamma.mean(axis=0))[:-1]), gradient)
    return compositions(a)
