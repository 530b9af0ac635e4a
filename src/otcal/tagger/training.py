"""Train the tagger: what the common loop asks of it."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from otcal.config.tagger import Training
from otcal.runtime.checkpoint import Tree
from otcal.runtime.device import autocast
from otcal.runtime.distributed import ALONE, Team
from otcal.runtime.optimisers import AdamW
from otcal.runtime.seeds import derive, numpy_generator
from otcal.tagger.batches import Map, padded, similar_lengths
from otcal.tagger.constituents import Jets
from otcal.tagger.inference import latents
from otcal.tagger.network import Tagger

log = logging.getLogger(__name__)

Task = tuple[int, int, NDArray[np.int64]]
"""Step, number of the micro-batch in it, and its jets."""

Part = tuple[float, tuple[Tensor, ...]]
"""What a micro-batch adds to the loss of its batch and to the gradients."""


class TaggerTrainee:
    """Cross-entropy and AdamW for `otcal.runtime.training.fit` (arXiv:2507.08867, Table 1).

    A batch is a random sample of jets, cut into micro-batches of similar length whose gradients
    add up. Batches and dropout follow from the seed and the step number. The sum is taken in a
    fixed order: on the CPU the result does not depend on the number of threads, and on devices of
    one kind not on the number of processes. These deal the micro-batches among themselves; all of
    them add the same gradients and move their own, equal copy of the network.

    Parameters
    ----------
    network
        On `device`.
    train, validation
        Preprocessed jets.
    settings
        Of the training.
    seed
        Of batches and dropout.
    device
        Where it is computed.
    each
        Maps over micro-batches, see `otcal.tagger.batches.workers`.
    team
        Processes that train together, each with the same arguments.
    """

    def __init__(
        self,
        network: Tagger,
        train: Jets,
        validation: Jets,
        settings: Training,
        *,
        seed: int,
        device: torch.device,
        each: Map,
        team: Team = ALONE,
    ) -> None:
        self.network, self.settings = network, settings
        self.train, self.validation = train, validation
        self.seed, self.device, self.each, self.team = seed, device, each, team
        self.batch = min(settings.batch_size, len(train))
        self.steps_per_epoch = len(train) // self.batch
        self.steps = max(1, round(settings.epochs * self.steps_per_epoch))
        self.parameters = list(network.parameters())
        self.optimizer = AdamW(
            self.parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        # float16 has too small a range for gradients; the scaler does nothing otherwise.
        self.scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == "float16")
        parts = math.ceil(self.batch / settings.micro_batch)
        if parts < team.size and team.leads:
            log.warning(
                "%d processes share the %d micro-batches of a batch: the rest idles; a smaller "
                "tagger.training.micro_batch makes more",
                team.size,
                parts,
            )
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, dtype=np.int64))

    def step(self, number: int) -> Mapping[str, float]:
        """Do one step; return the batch's loss per jet and the learning rate."""
        rate = learning_rate(number, self.steps, self.settings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        groups = similar_lengths(self._jets(number), self.train.lengths, self.settings.micro_batch)
        loss = 0.0
        total: list[Tensor] = []
        tasks = [(number, index, group) for index, group in enumerate(groups)]
        for part, gradients in self._parts(tasks):
            loss += part
            if total:
                torch._foreach_add_(total, gradients)
            else:
                total = list(gradients)
        for parameter, gradient in zip(self.parameters, total, strict=True):
            parameter.grad = gradient
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return {"train_loss": loss, "learning_rate": rate}

    def evaluate(self) -> Mapping[str, float]:
        """Return loss per jet and accuracy on the validation jets, equal in all processes."""
        self.network.eval()
        *_, logits = latents(
            self.network,
            self.validation,
            micro_batch=self.settings.micro_batch,
            precision=self.settings.precision,
            device=self.device,
            each=self.each,
            share=slice(self.team.rank, None, self.team.size),
        )
        logits = self.team.sum(logits)  # every jet has one process: exact
        return self.team.from_leader(lambda: self._figures(logits))

    def _figures(self, logits: NDArray[np.float32]) -> dict[str, float]:
        labels = torch.from_numpy(self.validation.labels.astype(np.int64))
        loss = cross_entropy(torch.from_numpy(logits).double(), labels)
        accuracy = np.mean(logits.argmax(axis=1) == self.validation.labels)
        return {"validation_loss": float(loss), "validation_accuracy": float(accuracy)}

    def state(self) -> Tree:
        """Return weights, optimiser and gradient scale."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def restore(self, state: Tree) -> None:
        """Put back what `state` returned."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])

    def weights(self) -> dict[str, Tensor]:
        """Return the network's weights."""
        return dict(self.network.state_dict())

    def _jets(self, number: int) -> NDArray[np.int64]:
        """Return the jets of a step: a slice of the epoch's random order."""
        epoch, place = divmod(number, self.steps_per_epoch)
        if self._order[0] != epoch:
            generator = numpy_generator(self.seed, "order", epoch)
            self._order = (epoch, generator.permutation(len(self.train)))
        return self._order[1][place * self.batch : (place + 1) * self.batch]

    def _parts(self, tasks: Sequence[Task]) -> Iterator[Part]:
        """Yield loss and gradients of all micro-batches of a step, in their order."""
        team = self.team
        if team.size == 1:
            yield from self.each(self._gradients, tasks)
            return
        own = iter(self.each(self._gradients, tasks[team.rank :: team.size]))
        sizes = [parameter.numel() for parameter in self.parameters]
        for first in range(0, len(tasks), team.size):
            row = torch.zeros(2 + sum(sizes), device=self.device)
            row[0] = tasks[0][0]
            if first + team.rank < len(tasks):
                row[1], gradients = next(own)
                torch.cat([gradient.reshape(-1) for gradient in gradients], out=row[2:])
            rows = team.gather(row)
            steps = rows[:, 0].int().tolist()
            if len(set(steps)) > 1:
                raise RuntimeError(f"the processes are at different steps: {steps}")
            for row in rows[: len(tasks) - first]:
                pieces = zip(row[2:].split(sizes), self.parameters, strict=True)
                yield float(row[1]), tuple(piece.view_as(like).clone() for piece, like in pieces)

    def _gradients(self, task: Task) -> Part:
        """Return the part of the batch's loss from one micro-batch, and its gradients."""
        number, index, group = task
        generator = torch.Generator(self.device)
        generator.manual_seed(derive(self.seed, "dropout", number, index))
        labels = torch.from_numpy(self.train.labels[group].astype(np.int64)).to(self.device)
        with autocast(self.device, self.settings.precision):
            logits = self.network(*padded(self.train, group, self.device), generator)
        loss = cross_entropy(logits.float(), labels, reduction="sum") / self.batch
        gradients = torch.autograd.grad(self.scaler.scale(loss), self.parameters)
        return loss.item(), gradients


def learning_rate(step: int, steps: int, settings: Training) -> float:
    """Return the rate of `step` (from 0) out of `steps`.

    Linear warm-up, then constant or half a cosine down to zero.
    """
    warmup = settings.warmup_steps
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    if settings.schedule == "constant":
        return settings.learning_rate
    done = (step - warmup) / max(1, steps - warmup)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
