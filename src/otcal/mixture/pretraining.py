"""Supervised training of the component flows on simulated jets.

Kim, Yang (arXiv:2605.01363), section VII step (ii): where the fit starts, and what ties each
component to its flavour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from otcal.config.mixture import FlowSpec, Pretraining
from otcal.mixture.flows import CHUNK, Architecture, Components, normalisation
from otcal.runtime import checkpoint, training
from otcal.runtime.errors import InputError
from otcal.runtime.optimisers import Adam
from otcal.runtime.seeds import derive, numpy_generator

Array = NDArray[np.float64]


def pretrain(
    train: Sequence[Array],
    validation: Sequence[Array],
    flavours: Sequence[str],
    flow: FlowSpec,
    spec: Pretraining,
    seed: int,
    checkpoint_path: Path | None = None,
    identity: Mapping[str, Any] | None = None,
    conditions: Sequence[str] = (),
) -> tuple[Components, training.Result]:
    """Fit one flow per flavour to labelled jets.

    Parameters
    ----------
    train, validation
        Points of each flavour, arrays (N_f, D), see `otcal.mixture.points`.
    flavours
        Their names.
    flow, spec
        Size of the flows, and their training.
    seed
        Seed of weights and batches.
    checkpoint_path, identity
        See `otcal.runtime.training.fit`.
    conditions
        Names of the conditions among the coordinates.

    Returns
    -------
    tuple
        Components of the best held-out likelihood, and the history.

    Raises
    ------
    InputError
        When the fit diverges.
    """
    mean, scale = normalisation(np.concatenate(train))
    size = Architecture(len(mean), flow.transforms, flow.hidden, flow.bins)
    components = Components(
        flavours, mean, scale, size, seed=derive(seed, "flows"), conditions=conditions
    )
    trainee = _Trainee(components, train, validation, spec, seed)
    try:
        result = training.fit(
            trainee,
            steps=spec.steps,
            evaluate_every=spec.evaluate_every,
            monitor="validation_loss",
            label="pretraining",
            patience=spec.patience,
            checkpoint_path=checkpoint_path,
            identity=identity,
        )
    except FloatingPointError as error:
        raise InputError(
            "mixture.pretraining", "learning_rate", f"diverges ({error})", "Choose a smaller one"
        ) from None
    components.flows.load_state_dict(result.best_weights)
    return components, result


class _Trainee:
    """All flows at once: they share nothing but the steps."""

    def __init__(
        self,
        components: Components,
        train: Sequence[Array],
        validation: Sequence[Array],
        spec: Pretraining,
        seed: int,
    ) -> None:
        self.components, self.spec, self.seed = components, spec, seed
        self.train = [components.normalise(z) for z in train]
        self.validation = [components.normalise(z) for z in validation]
        self.optimiser = Adam(components.flows.parameters(), lr=spec.learning_rate)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimiser, spec.steps)

    def step(self, number: int) -> Mapping[str, float]:
        losses = []
        for flavour, flow, x in zip(
            self.components.flavours, self.components.flows, self.train, strict=True
        ):
            rows = numpy_generator(self.seed, "batch", flavour, number).integers(
                0, len(x), min(self.spec.batch, len(x))
            )
            losses.append(-flow().log_prob(x[torch.from_numpy(rows)]).mean())
        loss = torch.stack(losses).mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.schedule.step()
        return {"loss": float(loss.detach())}

    def evaluate(self) -> Mapping[str, float]:
        losses = {
            f"validation_loss_{flavour}": _mean_loss(flow, x)
            for flavour, flow, x in zip(
                self.components.flavours, self.components.flows, self.validation, strict=True
            )
        }
        return {"validation_loss": float(np.mean(list(losses.values()))), **losses}

    def state(self) -> checkpoint.Tree:
        return {
            "flows": dict(self.components.flows.state_dict()),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def restore(self, state: checkpoint.Tree) -> None:
        self.components.flows.load_state_dict(state["flows"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])

    def weights(self) -> dict[str, Tensor]:
        return dict(self.components.flows.state_dict())


def _mean_loss(flow: torch.nn.Module, x: Tensor) -> float:
    with torch.no_grad():
        total = sum(float(flow().log_prob(piece).double().sum()) for piece in x.split(CHUNK))
    return -total / len(x)
