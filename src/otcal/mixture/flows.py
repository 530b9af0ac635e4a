"""Densities of the flavours: one neural spline flow each, with a common normalisation.

Rational-quadratic splines (Durkan et al., arXiv:1906.04032) from zuko. A spline acts on [−5, 5] and
is the identity outside, where the density is therefore that of the normal base: finite anywhere,
and the same for all flavours, so that a jet far from all others says nothing about its flavour.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zuko
from numpy.typing import NDArray
from torch import Tensor, nn

from otcal.runtime.seeds import numpy_generator
from otcal.runtime.weights import fitting_together, load_described, save_described

Array = NDArray[np.float64]

FORMAT = "otcal.mixture.flows/2"
_AGAIN = "Fit the flows again"
CHUNK = 8192
"""Events handled at a time: bounds the memory."""
REACH = 4.0
"""Normalised distance from the mean within which all but `TAIL` of the jets lie, each side; the
splines reach to 5."""
TAIL = 1e-3


@dataclass(frozen=True)
class Architecture:
    """Size of every flow; see `otcal.config.mixture.FlowSpec`."""

    features: int
    transforms: int = 2
    hidden: tuple[int, ...] = (32, 32)
    bins: int = 8

    def build(self) -> nn.Module:
        """Return a flow with random weights (of torch's present random state)."""
        return zuko.flows.NSF(
            self.features,
            transforms=self.transforms,
            hidden_features=self.hidden,
            bins=self.bins,
        )


class Components:
    """Densities q_f(z) of K flavours, or joint ones with conditions, q_f(z, c).

    Parameters
    ----------
    flavours
        Their names.
    mean, scale
        Common normalisation x = (z − mean) / scale, shapes (D,).
    architecture
        Size of the flows.
    flows
        K flows of x; None makes new ones from `seed`.
    seed
        Seed of new flows.
    conditions
        Names of the last C of the D coordinates, see `otcal.mixture.points`.
    """

    def __init__(
        self,
        flavours: Sequence[str],
        mean: Array,
        scale: Array,
        architecture: Architecture,
        flows: nn.ModuleList | None = None,
        seed: int = 0,
        conditions: Sequence[str] = (),
    ) -> None:
        self.flavours = tuple(flavours)
        self.conditions = tuple(conditions)
        self.mean = np.asarray(mean, dtype=np.float64)
        self.scale = np.asarray(scale, dtype=np.float64)
        self.architecture = architecture
        if flows is None:
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                flows = nn.ModuleList(architecture.build() for _ in self.flavours)
        self.flows = flows

    def normalise(self, z: NDArray[Any]) -> Tensor:
        """Return x of points z, shape (N, D), in single precision."""
        return torch.from_numpy(((z - self.mean) / self.scale).astype(np.float32))

    def log_prob(self, z: NDArray[Any]) -> Array:
        """Return log q_f of all flavours, shape (N, K), at points z, shape (N, D)."""
        z = np.asarray(z, dtype=np.float64)
        result = np.empty((len(z), len(self.flavours)))
        with torch.no_grad():
            for start in range(0, len(z), CHUNK):
                x = self.normalise(z[start : start + CHUNK])
                for k, flow in enumerate(self.flows):
                    result[start : start + CHUNK, k] = flow().log_prob(x).numpy()
        return np.asarray(result - np.log(self.scale).sum())

    def sample(self, flavour_index: int, n: int, seed: int) -> Array:
        """Draw n points of a flavour, shape (n, D); a seed gives the same ones anywhere."""
        base = numpy_generator(seed, "sample", self.flavours[flavour_index])
        noise = torch.from_numpy(base.standard_normal((n, len(self.mean))).astype(np.float32))
        backwards = self.flows[flavour_index]().transform.inv
        with torch.no_grad():
            x = torch.cat([backwards(piece) for piece in noise.split(CHUNK)])
        return np.asarray(x.double().numpy() * self.scale + self.mean)

    def copy(self) -> Components:
        """Return components with weights of their own."""
        return Components(
            self.flavours,
            self.mean,
            self.scale,
            self.architecture,
            copy.deepcopy(self.flows),
            conditions=self.conditions,
        )

    def save(self, path: str | Path, notes: dict[str, Any] | None = None) -> None:
        """Write weights to `path` (.safetensors) and the description beside it (.json).

        Parameters
        ----------
        path
            Name of the weights file.
        notes
            JSON-ready content for the description, such as provenance.
        """
        description = {
            "format": FORMAT,
            "flavours": list(self.flavours),
            "conditions": list(self.conditions),
            "mean": self.mean.tolist(),
            "scale": self.scale.tolist(),
            "architecture": asdict(self.architecture),
            "notes": notes or {},
        }
        save_described(path, self.flows.state_dict(), description)

    @staticmethod
    def load(path: str | Path) -> Components:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            When a file is missing, damaged, of another format, or the two don't belong together.
        """
        description, tensors = load_described(path, FORMAT, _AGAIN)
        with fitting_together(path, _AGAIN):
            size = description["architecture"]
            result = Components(
                description["flavours"],
                np.array(description["mean"]),
                np.array(description["scale"]),
                Architecture(**{**size, "hidden": tuple(size["hidden"])}),
                conditions=description["conditions"],
            )
            result.flows.load_state_dict(tensors)
        return result


def normalisation(z: NDArray[Any]) -> tuple[Array, Array]:
    """Return mean and scale, shapes (D,), that put the points z, shape (N, D), into the splines.

    The scale is the standard deviation, or more where a long tail would else reach beyond
    `REACH`: outside their box the splines cannot follow.
    """
    z = np.asarray(z, dtype=np.float64)
    mean = z.mean(axis=0)
    tails = np.abs(np.quantile(z, [TAIL, 1.0 - TAIL], axis=0) - mean).max(axis=0)
    return mean, np.maximum(z.std(axis=0), tails / REACH)
