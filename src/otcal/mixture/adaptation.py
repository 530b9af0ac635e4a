"""The part of the M-step that moves the flows towards the data (KY 23).

[KY] = Kim, Yang (arXiv:2605.01363). A generalised M-step: some gradient steps up
Σ γ_ik log q_k(x_i), not its maximum, which a flexible density only reaches by following single
events. Three things keep the flows from that: they start from simulation, the densities that the
fit sees have averaged weights (Polyak, Juditsky, SIAM J. Control Optim. 30 (1992) 838), and the
rate falls as soon as events that no flow is fitted to gain nothing more.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from otcal.config.mixture import DensityStep
from otcal.mixture.flows import Components
from otcal.runtime import checkpoint
from otcal.runtime.optimisers import Adam
from otcal.runtime.seeds import numpy_generator

Array = NDArray[np.float64]


class AdaptedFlows:
    """Flows as components of a mixture fit; implements `otcal.mixture.em.Model`.

    Parameters
    ----------
    components
        Where to start; left as they are.
    spec
        Size and number of the steps.
    seed
        Seed of the batches.
    """

    def __init__(self, components: Components, spec: DensityStep, seed: int) -> None:
        self.components = components.copy()
        self.spec, self.seed = spec, seed
        self.updates = 0
        # The optimiser moves its own weights; those of `components` are their running mean.
        self.moving = components.copy().flows
        self.optimiser = Adam(self.moving.parameters(), lr=spec.learning_rate)

    def log_prob(self, z: Array) -> Array:
        """Return log q_k(z), shape (N, K)."""
        return self.components.log_prob(z)

    def update(self, z: Array, gamma: Array) -> None:
        """Take the configured passes over events z, shape (N, D), weighted by γ, shape (N, K)."""
        x = self.components.normalise(z)
        weights = torch.from_numpy(gamma).float()
        order = numpy_generator(self.seed, "batches", self.updates)
        for _ in range(self.spec.epochs):
            shuffled = torch.from_numpy(order.permutation(len(x)))
            for rows in shuffled.split(self.spec.batch):
                self._step(x[rows], weights[rows])
        self.updates += 1

    def anneal(self) -> None:
        """Lower the rate of the gradient steps."""
        for group in self.optimiser.param_groups:
            group["lr"] *= self.spec.reduction

    def state(self) -> checkpoint.Tree:
        """Return what `restore` needs."""
        return {
            "updates": self.updates,
            "averaged": dict(self.components.flows.state_dict()),
            "moving": dict(self.moving.state_dict()),
            "optimiser": self.optimiser.state_dict(),
        }

    def restore(self, state: checkpoint.Tree) -> None:
        """Put back what `state` returned."""
        self.updates = state["updates"]
        self.components.flows.load_state_dict(state["averaged"])
        self.moving.load_state_dict(state["moving"])
        self.optimiser.load_state_dict(state["optimiser"])

    def _step(self, x: Tensor, weights: Tensor) -> None:
        loss = torch.zeros(())
        for k, flow in enumerate(self.moving):
            loss = loss - (weights[:, k] * flow().log_prob(x)).sum() / len(x)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        with torch.no_grad():
            pairs = zip(self.components.flows.parameters(), self.moving.parameters(), strict=True)
            for mean, weight in pairs:
                mean.lerp_(weight, 1.0 - self.spec.averaging)
