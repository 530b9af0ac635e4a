"""The solvers by name, and what each of them needs."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from typing import Any

from accuracy.clock import Solver
from accuracy.ours import preconditioned
from otcal.runtime.fingerprint import fingerprint

REVISION = 1
"""Raised by hand when problems, figures or functions that fit change: old rows then count no more.
"""


_CONVEX = tuple(f"otcal.transport.{name}" for name in ("semidual", "candidates", "problem"))
_GAUSSIAN = tuple(f"otcal.transport.{name}" for name in ("gaussian", "coordinates"))
_MINIMAX = tuple(f"otcal.transport.{name}" for name in ("minimax", "coordinates", "schedule"))


@dataclass(frozen=True)
class Entry:
    """One solver with its settings.

    Attributes
    ----------
    title
        What tables and figures call it.
    function
        Module of `accuracy` and name in it, such as ``ours.convex``.
    settings
        Keyword arguments.
    package
        Distribution whose version tells rows apart.
    code
        Modules of `otcal.transport` whose code, with all that they import of this package, tells
        rows of its solvers apart.
    imports
        Modules that must be installed.
    coordinates
        Fit in the coordinates of `accuracy.ours.preconditioned`.
    budgeted
        Whether the budget has an influence.
    """

    title: str
    function: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    package: str = "otcal"
    code: tuple[str, ...] = _CONVEX
    imports: tuple[str, ...] = ()
    coordinates: bool = False
    budgeted: bool = True

    @property
    def missing(self) -> list[str]:
        """Modules that are not installed."""
        return [name for name in self.imports if importlib.util.find_spec(name) is None]

    @property
    def version(self) -> str:
        """Of the package (of `otcal` its code, hashed), of the settings (hashed), the benchmark."""
        package = f"{self.package} {version(self.package)}"
        if self.package == "otcal":
            parts = (fingerprint(module, within="otcal.transport") for module in self.code)
            package += "".join(f"+{part[:8]}" for part in parts)
        settings = repr((self.function, sorted(self.settings.items()), self.coordinates))
        digest = hashlib.blake2b(settings.encode(), digest_size=4).hexdigest()
        return f"{package}, settings {digest}, benchmark {REVISION}"

    def load(self) -> Solver:
        """Import the solver."""
        module, name = self.function.split(".")
        function = getattr(importlib.import_module(f"accuracy.{module}"), name)
        solver = partial(function, **self.settings)
        return preconditioned(solver) if self.coordinates else solver


_OTT: dict[str, Any] = {"package": "ott-jax", "imports": ("jax", "flax", "optax", "ott")}
_POT: dict[str, Any] = {"package": "pot", "imports": ("ot",)}
_TUNED = {
    "hidden": (128, 128),
    "activation": "gelu",
    "learning_rate": 5e-3,
    "momenta": (0.9, 0.99),
    "batch": 256,
    "conjugate_steps": 5,
}
_SMALL = {"blocks": 1, "hidden": (256, 256)}

SOLVERS = {
    "linear": Entry("Gaussian map", "ours.gaussian", code=_GAUSSIAN, budgeted=False),
    "pot-linear": Entry("Gaussian map (POT)", "affine.linear", budgeted=False, **_POT),
    "otcal": Entry("otcal, default", "ours.convex"),
    "minimax": Entry(
        "minimax, Table 2 of the paper",
        "ours.minimax",
        {"blocks": 4, "hidden": (2048, 2048), "precondition": False},
        code=_MINIMAX,
    ),
    "minimax-small": Entry(
        "minimax, 2 × 256", "ours.minimax", {**_SMALL, "precondition": False}, code=_MINIMAX
    ),
    "minimax-small-preconditioned": Entry(
        "minimax, 2 × 256, our coordinates",
        "ours.minimax",
        {**_SMALL, "precondition": True},
        code=_MINIMAX,
    ),
    "ott-neural-dual": Entry(
        "OTT neural dual, documented", "neural.neural_dual", {"hidden": (64, 64, 64, 64)}, **_OTT
    ),
    "ott-neural-dual-tuned": Entry("OTT neural dual, tuned", "neural.neural_dual", _TUNED, **_OTT),
    "ott-neural-dual-cautious": Entry(
        "OTT neural dual, tuned, a tenth of the rate",
        "neural.neural_dual",
        {**_TUNED, "learning_rate": 5e-4},
        **_OTT,
    ),
    "ott-neural-dual-convex": Entry(
        "OTT neural dual, tuned, convex",
        "neural.neural_dual",
        {**_TUNED, "hidden": (64, 64), "convex": True},
        **_OTT,
    ),
    "ott-neural-dual-preconditioned": Entry(
        "OTT neural dual, tuned, our coordinates",
        "neural.neural_dual",
        _TUNED,
        coordinates=True,
        **_OTT,
    ),
    "ott-entropic": Entry("entropic map (OTT)", "sinkhorn_ott.entropic_map", **_OTT),
    "ott-entropic-preconditioned": Entry(
        "entropic map (OTT), our coordinates",
        "sinkhorn_ott.entropic_map",
        coordinates=True,
        **_OTT,
    ),
    "pot-entropic": Entry("entropic map (POT)", "sinkhorn_pot.entropic_map", **_POT),
}
