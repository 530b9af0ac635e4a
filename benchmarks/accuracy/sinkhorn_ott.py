"""Blocks of Sinkhorn iterations by OTT-JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from ott.geometry.pointcloud import PointCloud
from ott.problems.linear.linear_problem import LinearProblem
from ott.solvers.linear.sinkhorn import Sinkhorn

from accuracy.clock import Clock, Fit, Points
from accuracy.entropic import BLOCK, Iterate, Potentials, entropic

_SOLVER = Sinkhorn(
    threshold=0.0, min_iterations=BLOCK, max_iterations=BLOCK, inner_iterations=BLOCK
)


_LARGEST = 16384  # points: matrices of this many rows and columns fit into memory


def entropic_map(source: Points, target: Points, clock: Clock, seed: int) -> Fit:
    """Fit as `accuracy.entropic` does."""
    return entropic(source, target, clock, seed, prepare, _LARGEST)


def prepare(x: Points, y: Points) -> Iterate:
    """Return the iterations between two samples, in single precision and in logarithms."""
    x, y = jnp.asarray(x), jnp.asarray(y)

    def iterate(epsilon: float, start: Potentials) -> Potentials:
        f, g = _block(x, y, epsilon, *(jnp.asarray(z, jnp.float32) for z in start))
        return np.array(f), np.array(g)

    return iterate


@jax.jit
def _block(
    x: jax.Array, y: jax.Array, epsilon: float, f: jax.Array, g: jax.Array
) -> tuple[jax.Array, jax.Array]:
    found = _SOLVER(LinearProblem(PointCloud(x, y, epsilon=epsilon)), init=(f, g))
    return found.f, found.g
