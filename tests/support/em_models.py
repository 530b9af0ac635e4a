"""Component densities with an exact M-step, for tests of the mixture fit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from otcal.mixture.events import Events
from otcal.runtime.checkpoint import Tree

Array = NDArray[np.float64]

PI = np.array([[0.90, 0.04, 0.06], [0.05, 0.8886, 0.0614], [0.0505, 0.0887, 0.8608]])
"""Fractions of Kim, Yang (arXiv:2605.01363), Table 1."""
ENRICHED = [0, 1, 2]
FLAVOURS = ("b", "c", "light")
REGIONS = ("r_b", "r_c", "r_light")
MEANS = np.array([[2.5, 1.5], [-1.0, 1.0], [0.0, -2.0]])
COVARIANCES = np.array([[[1.5, 0.4], [0.4, 1.0]], [[1.2, 0.0], [0.0, 1.2]], [[1, -0.3], [-0.3, 1]]])


class Gaussians:
    """Gaussians with weighted means and covariances, or fixed ones."""

    def __init__(self, means: Array = MEANS, covariances: Array = COVARIANCES, fixed: bool = False):
        self.means, self.covariances, self.fixed = means.copy(), covariances.copy(), fixed
        self.annealed = 0

    def log_prob(self, z: Array) -> Array:
        columns = []
        for mean, covariance in zip(self.means, self.covariances, strict=True):
            shift = z - mean
            distance = np.einsum("ni,ij,nj->n", shift, np.linalg.inv(covariance), shift)
            columns.append(-0.5 * distance - 0.5 * np.linalg.slogdet(2 * np.pi * covariance)[1])
        return np.stack(columns, axis=1)

    def update(self, z: Array, gamma: Array) -> None:
        if self.fixed:
            return
        for k, weight in enumerate(gamma.T):
            self.means[k] = weight @ z / weight.sum()
            shift = z - self.means[k]
            self.covariances[k] = (weight[:, None] * shift).T @ shift / weight.sum()

    def anneal(self) -> None:
        self.annealed += 1

    def state(self) -> Tree:
        return {"means": self.means.tolist(), "covariances": self.covariances.tolist()}

    def restore(self, state: Tree) -> None:
        self.means = np.array(state["means"])
        self.covariances = np.array(state["covariances"])


class Histograms:
    """Densities with a free value in each of B cells; z is the number of the cell, shape (N, 1)."""

    def __init__(self, cells: Array) -> None:
        self.cells = cells.copy()

    def log_prob(self, z: Array) -> Array:
        return np.log(self.cells.T[z[:, 0].astype(int)])

    def update(self, z: Array, gamma: Array) -> None:
        for k, weight in enumerate(gamma.T):
            self.cells[k] = np.bincount(z[:, 0].astype(int), weight, self.cells.shape[1])
            # An empty cell of a component would never be filled again.
            self.cells[k] = (
                np.maximum(self.cells[k], 1e-12) / np.maximum(self.cells[k], 1e-12).sum()
            )

    def anneal(self) -> None:
        pass

    def state(self) -> Tree:
        return self.cells.tolist()

    def restore(self, state: Tree) -> None:
        self.cells = np.array(state)


def events_of(z: list[Array], held_out: float = 0.0, seed: int = 0) -> Events:
    """Return the events of regions, arrays (N_r, D)."""
    n = sum(len(rows) for rows in z)
    return Events(
        REGIONS[: len(z)],
        np.concatenate(z),
        np.repeat(np.arange(len(z)), [len(rows) for rows in z]),
        np.arange(n),
        np.random.default_rng(seed).random(n) < held_out,
    )


def gaussian_events(n: int, seed: int, pi: Array = PI, held_out: float = 0.0) -> Events:
    """Return n events per region of the Gaussians, with exact numbers of each flavour."""
    rng = np.random.default_rng(seed)
    regions = []
    for row in pi:
        counts = np.round(row * n).astype(int)
        pieces = [
            rng.multivariate_normal(MEANS[k], COVARIANCES[k], m) for k, m in enumerate(counts)
        ]
        regions.append(np.concatenate(pieces))
    return events_of(regions, held_out)
