"""The neural dual solver of OTT-JAX (Amos, arXiv:2210.12153), within a budget of CPU time."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from ott.neural.methods.neuraldual import W2NeuralDual
from ott.neural.networks.icnn import ICNN
from ott.neural.networks.layers.conjugate import DEFAULT_CONJUGATE_SOLVER, FenchelConjugateLBFGS
from ott.neural.networks.potentials import PotentialMLP

from accuracy.clock import Clock, Fit, Points

_GAUSSIAN_POINTS = 10_000  # from which an input-convex network takes its initial map


def neural_dual(
    source: Points,
    target: Points,
    clock: Clock,
    seed: int,
    *,
    hidden: Sequence[int],
    convex: bool = False,
    activation: str = "leaky_relu",
    learning_rate: float = 1e-3,
    momenta: tuple[float, float] = (0.5, 0.5),
    batch: int = 2048,
    conjugate_steps: int | None = None,
) -> Fit:
    """Fit a potential and, to start its conjugation from, a network for the inverse map.

    The defaults are those of the library and its tutorial. Networks, losses, conjugation and the
    gradient step are the library's. Its loop is not: it needs the number of steps in advance,
    whereas here the cosine of the learning rate follows the clock, so that none of the budget goes
    into a trial.

    Parameters
    ----------
    source, target, clock, seed
        See `accuracy.clock.Solver`.
    hidden
        Units of each layer, of both networks.
    convex
        Make the potential an input-convex network that starts from the Gaussian map, with softplus
        units whose initial weights are small: from the library's own, its start is off by 10⁴ %.
    activation
        Name of the perceptrons' activation in `flax.linen`.
    learning_rate
        Its highest value; a cosine takes it to 1 % of this.
    momenta
        Adam's β₁ and β₂ for the potential.
    batch
        Points per step and side.
    conjugate_steps
        Steps of L-BFGS to a tolerance of 0.1; None for the library's 20 steps to 1e-5.
    """
    d = source.shape[1]
    network = PotentialMLP(hidden, act_fn=getattr(nn, activation))
    if convex:
        samples = tuple(jnp.asarray(points[:_GAUSSIAN_POINTS]) for points in (source, target))
        network = ICNN(
            d,
            hidden,
            init_fn=nn.initializers.normal(0.01),
            act_fn=nn.softplus,
            pos_weights=True,
            gaussian_map_samples=samples,
        )
    conjugation = DEFAULT_CONJUGATE_SOLVER
    if conjugate_steps is not None:
        conjugation = FenchelConjugateLBFGS(gtol=0.1, max_iter=conjugate_steps)
    solver = W2NeuralDual(
        d,
        network,
        PotentialMLP(hidden, is_potential=False, act_fn=getattr(nn, activation)),
        _adam(*momenta),
        _adam(0.9, 0.999),
        back_and_forth=False,
        rng=jax.random.key(seed),
        conjugate_solver=conjugation,
    )
    rng = np.random.default_rng(seed)
    states, steps = (solver.state_f, solver.state_g), 0
    while steps == 0 or clock.left > 0:
        progress = min(1.0, clock.spent / clock.budget)
        rate = learning_rate * (0.01 + 0.99 * 0.5 * (1.0 + np.cos(np.pi * progress)))
        for state in states:
            state.opt_state.hyperparams["learning_rate"] = jnp.asarray(rate, jnp.float32)
        points = {
            "source": source[rng.integers(len(source), size=batch)],
            "target": target[rng.integers(len(target), size=batch)],
        }
        *states, loss, _, _, _ = solver.train_step_parallel(*states, points)
        loss.block_until_ready()
        steps += 1
    potential = states[0].potential_value_fn(states[0].params)
    gradient = jax.jit(jax.vmap(jax.grad(potential)))
    return Fit(lambda x: np.array(gradient(x)), steps)


def _adam(first: float, second: float) -> optax.GradientTransformation:
    """Return Adam with a learning rate that can be set from outside."""
    adam = optax.inject_hyperparams(optax.adam, static_args=("b1", "b2"))
    return adam(learning_rate=0.0, b1=first, b2=second)
