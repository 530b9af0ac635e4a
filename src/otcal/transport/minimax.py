"""The papers' solver: two networks, an alternating saddle-point search.

[MTG] (Algren et al., arXiv:2507.08867), equation (10) and Table 2, after Makkuva et al.
(arXiv:1908.10962):

    sup_f inf_g  E[ f(∇g(z)) − ⟨z, ∇g(z)⟩ ] − E[ f(y) ].

With more than one block the networks are compositions of gradients of convex functions, and **such
a composition is in general not the gradient of a convex function**: the map isn't guaranteed to be
a Brenier map. `otcal.transport.semidual` is the default for that reason (and is faster by orders of
magnitude); this solver is kept to compare with the paper, whose coordinates are those of
`otcal.transport.coordinates.standardise` (``fit_map(..., precondition=False)``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from otcal.runtime.checkpoint import Tree
from otcal.runtime.optimisers import AdamW
from otcal.runtime.seeds import derive
from otcal.transport.heldout import HeldOut
from otcal.transport.nicnn import NestedConvexNetwork


@dataclass(frozen=True)
class MinimaxOptions:
    """Settings of the solver; the defaults are those of [MTG] Table 2.

    Attributes
    ----------
    blocks
        Blocks of each nICNN; 1 gives a plain input-convex network, hence a Brenier map.
    hidden
        Units of each layer of a block.
    learning_rate, final_learning_rate
        Ends of the cosine.
    batch
        Points per step and side.
    map_steps, critic_steps
        Steps of g and then of f in one round.
    clip
        Largest gradient norm.
    """

    blocks: int = 4
    hidden: tuple[int, ...] = (2048, 2048)
    learning_rate: float = 5e-4
    final_learning_rate: float = 1e-7
    batch: int = 1024
    map_steps: int = 10
    critic_steps: int = 4
    clip: float = 10.0


class MinimaxFit:
    """Trainee of `otcal.runtime.training.fit`; one step is one gradient step of g or of f.

    Parameters
    ----------
    source, target
        Training points u and v, shapes (n, r) and (m, r), float32.
    held_out
        Validation samples.
    options
        Settings.
    steps
        Length of the learning-rate schedule.
    seed
        Seed of the networks and of the batches.
    """

    def __init__(
        self,
        source: Tensor,
        target: Tensor,
        held_out: HeldOut,
        options: MinimaxOptions,
        steps: int,
        seed: int,
    ) -> None:
        self.source, self.target, self.held_out = source, target, held_out
        self.options, self.steps, self.seed = options, steps, seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(seed, "networks"))
            networks = [
                NestedConvexNetwork(source.shape[1], options.blocks, options.hidden)
                for _ in range(2)
            ]
        self.map, self.critic = (network.to(source.device) for network in networks)
        self.optimisers = [
            AdamW(network.parameters(), options.learning_rate, betas=(0.9, 0.99), weight_decay=0.0)
            for network in (self.map, self.critic)
        ]

    def step(self, number: int) -> Mapping[str, float]:
        """Do step `number` of the alternation; return the loss of the network it moved."""
        options = self.options
        position = number % (options.map_steps + options.critic_steps)
        which = 0 if position < options.map_steps else 1
        network, optimiser = (self.map, self.critic)[which], self.optimisers[which]
        low = options.final_learning_rate
        cosine = 0.5 * (1.0 + math.cos(math.pi * number / self.steps))
        for group in optimiser.param_groups:
            group["lr"] = low + (options.learning_rate - low) * cosine
        u = self._batch(self.source, "source", number)
        loss = self._map_loss(u) if which == 0 else self._critic_loss(u, number)
        optimiser.zero_grad(set_to_none=True)
        # The other network only passes the gradient on; it keeps none.
        parameters = list(network.parameters())
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        clip_grad_norm_(parameters, options.clip)
        optimiser.step()
        return {("map_loss", "critic_loss")[which]: float(loss.detach())}

    @torch.no_grad()
    def evaluate(self) -> Mapping[str, float]:
        """Return the held-out figures of the map."""
        return self.held_out.figures(self.map.transport(self.held_out.source))

    def weights(self) -> dict[str, Tensor]:
        """Return the map's weights."""
        return self.map.state_dict()

    def state(self) -> Tree:
        """Return everything that decides the rest of the fit."""
        return {
            "networks": [network.state_dict() for network in (self.map, self.critic)],
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
        }

    def restore(self, state: Tree) -> None:
        """Put back what `state` returned."""
        for network, saved in zip((self.map, self.critic), state["networks"], strict=True):
            network.load_state_dict(saved)
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)

    def _map_loss(self, u: Tensor) -> Tensor:
        moved = self.map.transport(u)
        return (self.critic(moved) - (moved * u).sum(1)).mean()

    def _critic_loss(self, u: Tensor, number: int) -> Tensor:
        v = self._batch(self.target, "target", number)
        with torch.no_grad():
            moved = self.map.transport(u)
        return self.critic(v).mean() - self.critic(moved).mean()

    def _batch(self, points: Tensor, side: str, number: int) -> Tensor:
        generator = torch.Generator().manual_seed(derive(self.seed, side, number))
        rows = torch.randint(len(points), (self.options.batch,), generator=generator)
        return points[rows.to(points.device)]
