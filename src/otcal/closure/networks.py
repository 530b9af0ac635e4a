"""The discriminator D_L and its fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from otcal.config.closure import MlpSpec
from otcal.runtime import checkpoint
from otcal.runtime.optimisers import AdamW
from otcal.runtime.scratch import join
from otcal.runtime.seeds import derive

_PREDICT = 16_384
_MOMENTS = 2_048  # half a dozen copies of so many jets in double precision are 13 MB


class Discriminator(nn.Module):
    """D_L: a multilayer perceptron with SiLU and LayerNorm ([MTG] Table 3).

    ``[linear d→w, SiLU, LayerNorm]``, then `hidden_layers` times ``[linear w→w, LayerNorm, SiLU]``,
    then ``linear w→1``; 1.1 million parameters at d = 128, w = 512 and four hidden layers. All
    linear layers but the first come after a dropout, for samples smaller than the paper's. The
    input is standardised inside, with mean and covariance of the training jets: along its principal
    axes (`spec.whiten`), which shows the network the narrow directions that a linear layer solved
    to its optimum would find, or feature by feature as in the paper.

    Parameters
    ----------
    inputs
        Dimension d of the layer.
    spec
        Width and depth.
    """

    mean: Tensor
    axes: Tensor

    def __init__(self, inputs: int, spec: MlpSpec) -> None:
        super().__init__()
        w = spec.width
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("axes", torch.eye(inputs))
        self.whiten = spec.whiten
        blocks: list[nn.Module] = [nn.Linear(inputs, w), nn.SiLU(), nn.LayerNorm(w)]
        for _ in range(spec.hidden_layers):
            blocks += [nn.Dropout(spec.dropout), nn.Linear(w, w), nn.LayerNorm(w), nn.SiLU()]
        self.layers = nn.Sequential(*blocks, nn.Dropout(spec.dropout), nn.Linear(w, 1))

    def standardise(self, x: Tensor) -> None:
        """Take mean and axes of the inputs from jets of shape (N, d)."""
        mean, variance = _moments(x, lambda piece: piece)
        # A feature that is constant to rounding carries no information.
        constant = variance.sqrt() <= 1e-6 * mean.abs()
        scale = torch.where(constant, torch.ones_like(mean), variance.sqrt())
        axes = torch.diag(1.0 / scale)
        if self.whiten:
            _, covariance = _moments(x, lambda piece: (piece - mean) / scale, full=True)
            spread, directions = torch.linalg.eigh(covariance)
            # Neither do directions narrower than the rounding of single precision.
            known = spread > 1e-10 * spread[-1]
            widths = torch.where(known, spread, torch.ones_like(spread)).sqrt()
            axes = axes @ (directions * (known / widths))
        self.mean.copy_(mean)
        self.axes.copy_(axes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (N,), of jets of shape (N, d)."""
        logits: Tensor = self.layers((x - self.mean) @ self.axes)
        return logits.squeeze(-1)

    @torch.no_grad()
    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits, shape (N,), of jets of shape (N, d), on the model's device."""
        self.eval()
        pieces = [self(torch.from_numpy(part).to(self.mean.device)) for part in _pieces(x)]
        return torch.cat(pieces).float().cpu().numpy()


@dataclass(frozen=True)
class Pair:
    """Jets of both samples, labelled: 1 for target, 0 for the other."""

    x: NDArray[np.float32]
    """Shape (N, d)."""
    y: NDArray[np.float32]
    """Shape (N,)."""

    @classmethod
    def of(
        cls,
        other: NDArray[np.float32],
        target: NDArray[np.float32],
        scratch: Path | None = None,
    ) -> Pair:
        """Join two samples, shapes (n, d) and (m, d); in a file of `scratch`, unless None."""
        labels = np.repeat(np.array([0, 1], dtype=np.float32), [len(other), len(target)])
        return cls(join([other, target], scratch), labels)

    @property
    def weights(self) -> NDArray[np.float32]:
        """Weights, shape (N,), of mean 1 that give both samples the same total.

        With them the optimal logit is ln p(target)/p(other), whatever the sample sizes.
        """
        target = self.y.mean()
        return np.where(self.y > 0, 0.5 / target, 0.5 / (1.0 - target)).astype(np.float32)


class DiscriminatorFit:
    """A fit of D_L by binary cross-entropy, for `otcal.runtime.training.fit`.

    AdamW with a cosine schedule ([MTG] Table 3). Batches hang on the seed and the step number only;
    initialisation and dropout draw from torch's generator, which the caller seeds.

    Parameters
    ----------
    train, validation
        Labelled jets.
    spec
        Network and schedule.
    seed
        Seed of the batches.
    device
        Where to compute.
    """

    def __init__(
        self, train: Pair, validation: Pair, spec: MlpSpec, seed: int, device: torch.device
    ) -> None:
        self.spec, self.seed = spec, seed
        self.train = [torch.from_numpy(a).to(device) for a in (train.x, train.y, train.weights)]
        self.held_out = [
            torch.from_numpy(a).to(device) for a in (validation.x, validation.y, validation.weights)
        ]
        self.model = Discriminator(train.x.shape[1], spec)
        self.model.standardise(torch.from_numpy(train.x))
        self.model.to(device)
        self.optimiser = AdamW(
            self.model.parameters(), lr=spec.learning_rate, weight_decay=spec.weight_decay
        )
        self.batch = min(spec.batch, len(train.y))
        self.steps_per_epoch = len(train.y) // self.batch
        self.steps = spec.epochs * self.steps_per_epoch
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)

    def step(self, number: int) -> Mapping[str, float]:
        """Do one step of AdamW on the batch of this step number."""
        epoch, position = divmod(number, self.steps_per_epoch)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(derive(self.seed, "epoch", epoch))
            self._epoch = epoch
            self._order = torch.randperm(len(self.train[1]), generator=generator)
        chosen = self._order[position * self.batch : (position + 1) * self.batch]
        x, y, weights = (tensor[chosen.to(tensor.device)] for tensor in self.train)
        for group in self.optimiser.param_groups:
            group["lr"] = self._learning_rate(number)
        self.model.train()
        self.optimiser.zero_grad(set_to_none=True)
        loss = nn.functional.binary_cross_entropy_with_logits(self.model(x), y, weights)
        loss.backward()
        self.optimiser.step()
        return {"loss": loss.item()}

    @torch.no_grad()
    def evaluate(self) -> Mapping[str, float]:
        """Return the cross-entropy of the held-out jets."""
        x, y, weights = self.held_out
        self.model.eval()
        logits = torch.cat([self.model(part) for part in x.split(_PREDICT)])
        loss = nn.functional.binary_cross_entropy_with_logits(logits, y, weights)
        return {"validation_loss": float(loss)}

    def state(self) -> checkpoint.Tree:
        """Return model and optimiser."""
        return {"model": self.weights(), "optimiser": self.optimiser.state_dict()}

    def restore(self, state: checkpoint.Tree) -> None:
        """Put back what `state` returned."""
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])

    def weights(self) -> dict[str, Tensor]:
        """Return the model's parameters and its standardisation."""
        return dict(self.model.state_dict())

    def _learning_rate(self, number: int) -> float:
        first, last = self.spec.learning_rate, self.spec.final_learning_rate
        return last + 0.5 * (first - last) * (1.0 + math.cos(math.pi * number / self.steps))


def _moments(
    x: Tensor, transform: Callable[[Tensor], Tensor], full: bool = False
) -> tuple[Tensor, Tensor]:
    """Return mean and variances of transformed jets, or their covariance matrix if `full`.

    Jets are taken to double precision in pieces of equal size, whose moments are combined as they
    come (Chan, Golub, LeVeque, Am. Stat. 37 (1983) 242).
    """
    count, mean, spread = 0, torch.empty(0), torch.empty(0)
    for piece in x.tensor_split(math.ceil(len(x) / _MOMENTS)):
        rows = transform(piece.double())
        within, centre = torch.var_mean(rows, dim=0)
        if full:
            within = torch.cov(rows.T).view(len(centre), -1)
        if count == 0:
            count, mean, spread = len(rows), centre, within
            continue
        apart, total = centre - mean, count + len(rows)
        between = torch.outer(apart, apart) if full else apart.square()
        spread = spread * ((count - 1) / (total - 1)) + within * ((len(rows) - 1) / (total - 1))
        spread += between * (count * len(rows) / total / (total - 1))
        mean, count = mean + apart * (len(rows) / total), total
    return mean, spread


def _pieces(x: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    return [x[start : start + _PREDICT] for start in range(0, len(x), _PREDICT)]
