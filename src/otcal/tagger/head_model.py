"""The layers after the latent of a tagger that is not ours: an ONNX model, run by onnxruntime.

On disk, ``head.onnx`` and beside it ``head.json``, which names outputs and classes.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from otcal.config.head import HeadConfig
from otcal.runtime.errors import InputError
from otcal.runtime.files import atomic_path, read_json, sha256, write_json
from otcal.runtime.provenance import record

FORMAT = "otcal.head"
_AGAIN = "Run read_head again"

ROUNDING = 1e-5
"""How far off float32 probabilities may be, and their sum from one."""

Array = NDArray[np.float32]


class Layers(NamedTuple):
    """What the head makes of latents."""

    zp128: Array
    """Last hidden layer, (N, any width)."""
    z10: Array
    """Logits, (N, classes)."""


class HeadModel:
    """The layers after a latent.

    Parameters
    ----------
    path
        The model.
    spec
        Names of its outputs and classes.
    threads
        CPU threads; None takes all.

    Raises
    ------
    InputError
        When it is no model that onnxruntime can run, does not take latents of a fixed width in
        single precision, lacks an output, or has another number of logits than of classes.
    """

    def __init__(self, path: str | Path, spec: HeadConfig, threads: int | None = None) -> None:
        self.path, self.spec = path, spec
        self._session = _session(path, threads)
        given = self._session.get_inputs()
        shape = given[0].shape if len(given) == 1 else []
        whole = len(shape) == 2 and isinstance(shape[1], int)
        if not whole or given[0].type != "tensor(float)":
            found = ", ".join(f"{one.name}: {one.type} {one.shape}" for one in given)
            raise InputError(
                path,
                "inputs",
                f"are {found}",
                "Needed is one of float32, shape (N, width), with a fixed width",
            )
        self.width = int(shape[1])
        there = [one.name for one in self._session.get_outputs()]
        for key, name in (("zp128", spec.zp128), ("z10", spec.z10)):
            if name not in there:
                raise InputError(
                    path,
                    name,
                    f"is no output, but latent.head.{key}",
                    f"The model has: {', '.join(there)}",
                )
        self.widths = tuple(layer.shape[1] for layer in self(np.zeros((2, self.width), np.float32)))
        if self.widths[1] != len(spec.classes):
            raise InputError(
                path,
                spec.z10,
                f"has {self.widths[1]} numbers for each jet",
                f"latent.head.classes names {len(spec.classes)}: {', '.join(spec.classes)}",
            )

    def __call__(self, z: Array) -> Layers:
        """Return both layers of latents (N, width).

        Raises
        ------
        InputError
            When the model fails, or returns something else than finite numbers, (N, any width).
        """
        name = self._session.get_inputs()[0].name
        try:
            found = self._session.run(
                [self.spec.zp128, self.spec.z10], {name: np.ascontiguousarray(z, np.float32)}
            )
        except Exception as error:  # onnxruntime's exceptions have no public base
            raise InputError(
                self.path,
                "model",
                f"cannot be run on {len(z)} jets ({_line(error)})",
                "Export it with a free first dimension",
            ) from None
        for output, values in zip((self.spec.zp128, self.spec.z10), found, strict=True):
            if values.ndim != 2 or len(values) != len(z):
                raise InputError(
                    self.path,
                    output,
                    f"has shape {values.shape} for {len(z)} jets",
                    "Needed is a row of numbers for each",
                )
            bad = ~np.isfinite(values).all(axis=1)
            if bad.any():
                raise InputError(
                    self.path,
                    output,
                    f"is NaN or infinite for {int(bad.sum())} of {len(z)} jets (first: row "
                    f"{int(np.argmax(bad))} of these)",
                    "Give the outputs of linear layers, before softmax or logarithm",
                )
        return Layers(*(np.asarray(values, dtype=np.float32) for values in found))


class LogitCheck:
    """Finds out whether the outputs `z10` of a head are probabilities instead of logits.

    Those of a softmax lie between 0 and 1 and sum to one for every jet, up to rounding; those of
    sigmoids lie there. Logits of few jets may do so by chance, those of a dataset do not.

    Parameters
    ----------
    head
        Whose outputs they are.
    """

    def __init__(self, head: HeadModel) -> None:
        self._head = head
        self._jets = 0
        self._between = self._whole = True

    def add(self, z10: Array) -> None:
        """Take note of the outputs (N, classes) of some jets."""
        self._jets += len(z10)
        total = z10.sum(axis=1, dtype=np.float64)
        self._between &= bool(((z10 >= 0) & (z10 <= 1 + ROUNDING)).all())
        self._whole &= bool((np.abs(total - 1) <= ROUNDING).all())

    def require(self) -> None:
        """Raise `InputError` when all outputs so far are probabilities."""
        if not self._jets or not self._between:
            return
        sums = "sum" if self._whole else "do not sum"
        layer = "softmax" if self._whole else "sigmoids"
        raise InputError(
            self._head.path,
            self._head.spec.z10,
            f"are probabilities: all lie between 0 and 1, and they {sums} to one for each of "
            f"{self._jets} jets",
            f"Export the model without its {layer}, or name the output of the layer before in "
            "latent.head.z10",
        )


def write_head(spec: HeadConfig, output: str | Path) -> None:
    """Check a head, and copy it, with a description beside it.

    Raises
    ------
    InputError
        As of `HeadModel`; also for a model whose weights are in other files.
    """
    model = HeadModel(spec.file, spec)
    with atomic_path(output) as temporary:
        shutil.copyfile(spec.file, temporary)
        try:
            _session(temporary, threads=1)
        except InputError:
            raise InputError(
                spec.file,
                "file",
                "has weights in other files beside it",
                "Export it again with all weights in it",
            ) from None
    content = spec.model_dump(mode="json")
    write_json(
        Path(output).with_suffix(".json"),
        {
            "format": FORMAT,
            "spec": content,
            "width": model.width,
            "widths": model.widths,
            "sha256": sha256(output),
            "provenance": record("read_head", content, [spec.file]),
        },
    )


def load_head_model(path: str | Path, threads: int | None = None) -> HeadModel:
    """Read what `write_head` wrote.

    Raises
    ------
    InputError
        As of `HeadModel`; also when model and description do not belong together.
    """
    where = Path(path).with_suffix(".json")
    content = read_json(where)
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise InputError(where, "format", f"is {found!r}, not '{FORMAT}'", _AGAIN)
    if Path(path).exists() and sha256(path) != content["sha256"]:
        raise InputError(path, "file", f"is not the one that {where.name} describes", _AGAIN)
    return HeadModel(path, HeadConfig.model_validate(content["spec"]), threads)


def _session(path: str | Path, threads: int | None) -> Any:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise InputError(
            "onnxruntime", "package", "is not installed", "Run: pip install 'otcal[bundle]'"
        ) from error
    if not Path(path).is_file():
        raise InputError(path, "file", "does not exist", "Correct latent.head.file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no public base
        raise InputError(
            path,
            "file",
            f"is no ONNX model that onnxruntime {onnxruntime.__version__} reads ({_line(error)})",
            "Export it again, with all weights in the file, or update onnxruntime",
        ) from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
