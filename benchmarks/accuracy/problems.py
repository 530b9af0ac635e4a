"""Families of transport problems: seeded samples of two distributions and the map between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from accuracy.maps import (
    Affine,
    Array,
    LogSumExp,
    NormalScores,
    RandomConvexNetwork,
    VertexPull,
    optimal_between,
    random_rotation,
)
from otcal.runtime.seeds import numpy_generator

TRAINING = 100_000
"""Training points per side."""

TEST = 8192
"""Test points."""

_PIECE = 8192
_REFERENCE = 8192  # points by which maps are scaled

Single = NDArray[np.float32]
Sampler = Callable[[int, np.random.Generator], Array]


@dataclass(frozen=True)
class Problem:
    """Source distribution and optimal map T; the target is the image of the source under T.

    Attributes
    ----------
    family, seed
        What it was built from.
    sample
        Draws source points, (number, generator) → (number, d).
    exact
        T, (n, d) → (n, d).
    """

    family: str
    seed: int
    sample: Sampler
    exact: Callable[[Array], Array]

    def training(self, count: int = TRAINING) -> tuple[Single, Single]:
        """Return unpaired source and target points, (count, d) each."""
        return self._draw("source", count)[0], self._draw("target", count)[1]

    def test(self, count: int = TEST) -> tuple[Single, Single, Single]:
        """Return fresh x, T(x), and target points that are independent of them, (count, d) each."""
        return *self._draw("test", count), self._draw("test target", count)[1]

    def _draw(self, stream: str, count: int) -> tuple[Single, Single]:
        rng = numpy_generator(self.seed, self.family, stream)
        pieces = [self.sample(min(_PIECE, count - k), rng) for k in range(0, count, _PIECE)]
        images = [self.exact(piece).astype(np.float32) for piece in pieces]
        return np.concatenate(pieces, dtype=np.float32), np.concatenate(images)


@dataclass(frozen=True)
class GaussianMixture:
    """Components of equal shares: N(centre, I) with centres (K, d)."""

    centres: Array

    @classmethod
    def random(cls, count: int, d: int, rng: np.random.Generator) -> GaussianMixture:
        """Return centres around the origin whose mean square distance from it is 4 √d.

        Components are then told apart, yet hold no more of the variance in many dimensions than in
        few.
        """
        centres = rng.normal(size=(count, d))
        centres -= centres.mean(axis=0)
        centres *= 2.0 * d**0.25 / np.sqrt(np.square(centres).sum(axis=1).mean())
        return cls(centres)

    def __call__(self, count: int, rng: np.random.Generator) -> Array:
        """Draw points, shape (count, d)."""
        labels = rng.integers(len(self.centres), size=count)
        return self.centres[labels] + rng.normal(size=(count, self.centres.shape[1]))


def gaussians(d: int, rng: np.random.Generator) -> tuple[Sampler, Affine]:
    """Return two Gaussians with covariances of condition number 10 and means 0.3 times normal."""
    values = np.geomspace(10**-0.5, 10**0.5, d)
    factors = [random_rotation(d, rng) * np.sqrt(values) for _ in range(2)]
    means = 0.3 * rng.normal(size=(2, d))

    def sample(count: int, rng: np.random.Generator) -> Array:
        return means[0] + rng.normal(size=(count, d)) @ factors[0].T

    return sample, Affine(optimal_between(factors), *means)


def log_sum_exp(d: int, rng: np.random.Generator) -> tuple[Sampler, LogSumExp]:
    """Return a mixture of 5 Gaussians and a smooth map of 6 quadratic pieces."""
    sample = GaussianMixture.random(5, d, rng)
    return sample, LogSumExp(sample(_REFERENCE, rng), rng)


def mixture(d: int, rng: np.random.Generator) -> tuple[Sampler, RandomConvexNetwork]:
    """Return a mixture of 3 Gaussians and the gradient of a random convex network."""
    sample = GaussianMixture.random(3, d, rng)
    return sample, RandomConvexNetwork(sample(_REFERENCE, rng), rng)


def quantile(rng: np.random.Generator) -> tuple[Sampler, NormalScores]:
    """Return a mixture of 3 Gaussians of unequal widths and its map to a skewed, heavy tail."""
    shares = rng.dirichlet(np.full(3, 5.0))
    centres = np.array([-2.5, 0.0, 2.5]) + rng.uniform(-0.5, 0.5, 3)
    widths = rng.uniform(0.3, 1.0, 3)

    def sample(count: int, rng: np.random.Generator) -> Array:
        labels = rng.choice(3, size=count, p=shares)
        return rng.normal(centres[labels], widths[labels])[:, None]

    return sample, NormalScores(shares, centres, widths, rng.uniform(0.3, 0.6), 0.75)


def simplex(rng: np.random.Generator) -> tuple[Sampler, VertexPull]:
    """Return log-ratios of a b/c/light tagger's scores and their pull away from the vertices.

    Each flavour piles up on the way to its vertex, with a long tail back to the centre, and charm
    less far out than the others.
    """
    pull = VertexPull(rng.uniform(0.4, 0.6, 3), np.array([1.5, 0.5, 1.0]))
    shares = np.array([0.3, 0.2, 0.5])
    peaks = np.array([4.0, 1.8, 3.0]) + rng.uniform(-0.3, 0.3, 3)
    tails = np.array([0.9, 0.7, 0.8]) * rng.uniform(0.8, 1.2, 3)
    across = np.array([0.5, 0.7, 0.6]) * rng.uniform(0.8, 1.2, 3)
    ahead = pull.directions
    aside = ahead[:, ::-1] * np.array([-1.0, 1.0])

    def sample(count: int, rng: np.random.Generator) -> Array:
        labels = rng.choice(3, size=count, p=shares)
        along = peaks[labels] - tails[labels] * rng.gamma(2.0, size=count)
        along += 0.2 * rng.normal(size=count)
        width = across[labels] * rng.normal(size=count)
        return along[:, None] * ahead[labels] + width[:, None] * aside[labels]

    return sample, pull


FAMILIES: dict[str, Callable[[np.random.Generator], tuple[Sampler, Callable[[Array], Array]]]] = {
    **{f"gauss-{d}": partial(gaussians, d) for d in (2, 16, 64, 128)},
    **{f"lse-{d}": partial(log_sum_exp, d) for d in (2, 16, 64, 128)},
    **{f"mixture-{d}": partial(mixture, d) for d in (2, 16, 64, 128)},
    "quantile-1": quantile,
    "simplex-2": simplex,
}
"""Name → function that draws a source distribution and a map; the number is the dimension."""


def build(family: str, seed: int) -> Problem:
    """Return the problem of a family for a seed (`KeyError` for an unknown family)."""
    return Problem(family, seed, *FAMILIES[family](numpy_generator(seed, family)))
