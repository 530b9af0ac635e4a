"""Fit the maps of one flavour to all variations of its density, each from the nominal map.

A map whose file is there with the same identity (settings, samples, nominal map, code) is kept, and
the running fit has a checkpoint: an interrupted run continues.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from otcal.config.simplex_closure import VariationMapSpec
from otcal.runtime import cli, device
from otcal.runtime.errors import InputError
from otcal.runtime.files import read_json, sha256, write_json
from otcal.runtime.fingerprint import fingerprint
from otcal.runtime.progress import progress
from otcal.runtime.provenance import record
from otcal.runtime.weights import description_path
from otcal.transport.api import FittedMap, Method, fit_map
from otcal.transport.conditional import ConditionalPotential
from otcal.transport.convex import ConvexPotential
from otcal.transport.flavour_samples import (
    Sample,
    extracted,
    samples_of_fit,
    simulated,
    variations,
)
from otcal.transport.semidual import SemidualOptions
from otcal.transport.simplex_maps import SimplexMap

log = logging.getLogger(__name__)

EVALUATIONS = 1
"""Held-out evaluations of a fit: its steps are few, and nothing is chosen by them."""


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--source", type=Path, required=True, help="scores of simulated jets")
    parser.add_argument("--target", type=Path, required=True, help="samples of all variations")
    parser.add_argument("--initial", type=Path, required=True, help="nominal map (safetensors)")
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="list of the maps (JSON); they are written beside it, named after their variations",
    )
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or mps")
    parser.add_argument("--checkpoint", type=Path, help="state of the unfinished fit")
    options = parser.parse_args(argv)
    spec = cli.load_spec(options.spec, VariationMapSpec)
    device.limit_threads(options.threads)
    fit = _Fit(options, spec)
    names = variations(options.target)
    entries = []
    with progress(len(names), f"maps of {spec.flavour}", "maps") as bar:
        for name in names:
            entries.append(fit.make(name, options.output.parent / f"{name}.safetensors"))
            bar.advance(note=name)
    inputs = [options.source, options.target, options.initial]
    provenance = record("vary_flavour_maps", spec.model_dump(mode="json"), inputs, spec.seed)
    content = {"flavour": spec.flavour, "maps": entries, "provenance": provenance}
    write_json(options.output, content)


class _Fit:
    """What the fits of one flavour share."""

    def __init__(self, options: argparse.Namespace, spec: VariationMapSpec) -> None:
        self.target, self.spec, self.place = options.target, spec, options.device
        self.checkpoint = options.checkpoint
        self.nominal = SimplexMap.load(options.initial, spec.flavour)
        train, held = (
            Sample.of(simulated(options.source, spec.flavour, spec.splits, split), self.conditions)
            for split in ("train", "validation")
        )
        self.source = train, held
        self.common = {
            "spec": spec.model_dump(mode="json"),
            "source": _digest(train) + _digest(held),
            "initial": sha256(options.initial),
            "code": fingerprint("otcal.steps.vary_flavour_maps"),
        }
        self.fitted: dict[str, FittedMap] = {}

    @property
    def conditions(self) -> tuple[str, ...]:
        """Conditions of the nominal map, and so of its variations."""
        return self.nominal.conditions

    def make(self, name: str, path: Path) -> dict[str, Any]:
        """Fit the map of one variation, or keep it; return its entry of the list."""
        sample = extracted(self.target, name, self.conditions)
        text = json.dumps({**self.common, "target": _digest(sample)}, sort_keys=True)
        identity = hashlib.sha256(text.encode()).hexdigest()
        if not _is_there(path, identity):
            # Variations that leave this flavour alone have one sample, and one map.
            if identity not in self.fitted:
                self.fitted[identity] = self._fit(name, sample)
            notes = {
                "flavour": self.spec.flavour,
                "space": self.nominal.space,
                "conditions": list(self.conditions),
                "variation": name,
                "identity": identity,
            }
            self.fitted[identity].save(path, notes)
            if self.checkpoint is not None:
                self.checkpoint.unlink(missing_ok=True)
        notes = read_json(description_path(path))["notes"]
        return {
            "variation": name,
            "file": path.name,
            "sha256": sha256(path),
            "displacement": notes["diagnostics"]["displacement"],
        }

    def _fit(self, name: str, sample: Sample) -> FittedMap:
        spec = self.spec
        networks = ConvexPotential | ConditionalPotential
        warm = isinstance(self.nominal.map.potentials[0], networks)
        method: Method = "convex" if warm else "gaussian"
        fitted = fit_map(
            **samples_of_fit(self.source, sample.hold_out(spec.seed), self.nominal.space),
            method=method,
            steps=spec.steps,
            seed=spec.seed,
            options=SemidualOptions(
                learning_rate=spec.learning_rate,
                batch=spec.batch,
                noise=spec.noise,
                tolerance=spec.tolerance,
            ),
            device_name=self.place,
            checkpoint_path=self.checkpoint,
            initial=self.nominal.map if warm else None,
            evaluations=EVALUATIONS,
            diagnostics=False,
        )
        if fitted.diagnostics["winner"] != method:
            raise InputError(
                self.target, name, fitted.diagnostics["reason"], "Lower variation_learning_rate"
            )
        return fitted


def _is_there(path: Path, identity: str) -> bool:
    """Return whether a whole map with this identity is at `path`."""
    try:
        description = read_json(description_path(path))
        whole = sha256(path) == description["weights_sha256"]
        return bool(whole and description["notes"].get("identity") == identity)
    except (InputError, OSError, KeyError, TypeError, AttributeError):
        return False


def _digest(sample: Sample) -> str:
    digest = hashlib.sha256()
    for array in (sample.p, sample.conditions):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    cli.run(main)
