"""The head of the tagger: the part that is run again on calibrated latents."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from otcal.runtime.errors import InputError
from otcal.runtime.files import read_json, sha256
from otcal.runtime.weights import description_path

FORMAT = "otcal.tagger"
"""What the description beside a tagger's weights says that it is."""

_METADATA = "otcal.format"

_AGAIN = "Train the tagger again"


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


_FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "classes": (
        lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
        "a list of names",
    ),
    "head": (
        lambda value: isinstance(value, list) and len(value) >= 2 and all(map(_whole, value)),
        "a list of two or more widths",
    ),
    "architecture": (lambda value: isinstance(value, dict), "a block of settings"),
    "preprocessing": (lambda value: isinstance(value, dict), "a block of transforms"),
    "weights_sha256": (lambda value: isinstance(value, str), "a checksum"),
}
"""What a description must have: how it is checked, and in words."""


class Head(nn.Module):
    """Linear layers with GELU between them (MTG Fig. 2b; Algren et al., arXiv:2507.08867).

    The three layers of interest are outputs of linear layers *before* the GELU, which have full
    support, so that a map can move them anywhere:

    - `z128`, the output of the first linear layer;
    - `zp128` (z'128), the output of the last hidden linear layer;
    - `z10` (z'10), the logits.

    Parameters
    ----------
    inputs
        Width of the jet representation that the encoder makes.
    hidden
        Widths of the hidden layers, at least two.
    outputs
        Number of classes.
    """

    def __init__(self, inputs: int, hidden: Sequence[int], outputs: int) -> None:
        super().__init__()
        widths = [inputs, *hidden, outputs]
        self.widths = (hidden[0], hidden[-1], outputs)
        pairs = pairwise(widths)
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairs)

    def to_z128(self, jets: Tensor) -> Tensor:
        """Return the calibrated layer, (N, hidden[0]), of jet representations (N, inputs)."""
        z128: Tensor = self.layers[0](jets)
        return z128

    def from_z128(self, z128: Tensor) -> tuple[Tensor, Tensor]:
        """Return (zp128, z10), (N, hidden[-1]) and (N, outputs), of `z128` (N, hidden[0])."""
        zp128 = z128
        for layer in self.layers[1:-1]:
            zp128 = layer(nn.functional.gelu(zp128))
        return zp128, self.layers[-1](nn.functional.gelu(zp128))

    def forward(self, jets: Tensor) -> Tensor:
        """Return the logits (N, outputs) of jet representations (N, inputs)."""
        return self.from_z128(self.to_z128(jets))[1]


def load_head(path: str | Path) -> Head:
    """Read the head of a tagger file, in float32 on the CPU, for inference.

    Parameters
    ----------
    path
        Weights of a tagger (safetensors), with their description (.json) beside them.

    Raises
    ------
    InputError
        When one of the files is missing, is something else, or they do not belong together.
    """
    description = read_description(path)
    width = description["architecture"].get("d_model")
    if not _whole(width):
        raise InputError(
            description_path(path),
            "architecture.d_model",
            f"is {json.dumps(width)}, not a positive whole number",
            _AGAIN,
        )
    head = Head(width, description["head"], len(description["classes"]))
    put_weights(head, read_weights(path, "head."), path)
    return head.eval().requires_grad_(False)


def read_description(path: str | Path) -> dict[str, Any]:
    """Read the JSON beside a tagger's weights and check that it is one (`InputError`)."""
    where = description_path(path)
    description = read_json(where)
    found = description.get("format") if isinstance(description, dict) else None
    if found != FORMAT:
        raise InputError(
            where, "format", f"is {json.dumps(found)}, not '{FORMAT}'", "Give a tagger's file"
        )
    for name, (fits, wanted) in _FIELDS.items():
        if name not in description:
            raise InputError(where, name, "is missing", _AGAIN)
        if not fits(description[name]):
            given = json.dumps(description[name])
            shown = given if len(given) <= 60 else f"{given[:60]}…"
            raise InputError(where, name, f"is {shown}, not {wanted}", _AGAIN)
    if Path(path).exists() and sha256(path) != description["weights_sha256"]:
        raise InputError(
            path,
            "file",
            f"is not the file that {where.name} describes",
            "Weights and description are of different trainings: use the pair of one",
        )
    return dict(description)


def read_weights(path: str | Path, prefix: str = "") -> dict[str, Tensor]:
    """Read the tensors of a tagger whose names begin with `prefix`, without it.

    Raises
    ------
    InputError
        When the file is missing, damaged, or not a tagger's.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            found = (stream.metadata() or {}).get(_METADATA)
            names = [name for name in stream.keys() if name.startswith(prefix)]  # noqa: SIM118
            weights = {name.removeprefix(prefix): stream.get_tensor(name) for name in names}
    except FileNotFoundError:
        raise InputError(path, "file", "does not exist", "Check the path") from None
    except (SafetensorError, OSError) as error:
        raise InputError(
            path, "file", f"is not a safetensors file ({error})", "Train the tagger again"
        ) from None
    if found != FORMAT:
        raise InputError(
            path, "format", f"is {json.dumps(found)}, not '{FORMAT}'", "Give a tagger's file"
        )
    return weights


def weights_metadata() -> dict[str, str]:
    """Return what a tagger's weights carry to be recognised by `read_weights`."""
    return {_METADATA: FORMAT}


def put_weights(module: nn.Module, weights: dict[str, Tensor], path: str | Path) -> None:
    """Load `weights` into `module`; one that misses, is extra or has another shape is refused.

    Raises
    ------
    InputError
        Names the file and the first tensor that does not fit.
    """
    wanted = module.state_dict()
    for name in sorted(wanted.keys() | weights.keys()):
        there = tuple(weights[name].shape) if name in weights else None
        expected = tuple(wanted[name].shape) if name in wanted else None
        if there != expected:
            raise InputError(
                path,
                name,
                f"has shape {there or '(none)'}, the architecture has {expected or '(none)'}",
                "Weights and description are of different taggers: use the pair of one training",
            )
    module.load_state_dict(weights)
