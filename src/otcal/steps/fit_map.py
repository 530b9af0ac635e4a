"""Fit the transport map from source to target latents, and say how good it is on held-out jets.

The jets are in temporary files beside the output while it runs, so that they may exceed the memory;
with conditions they are in memory as well.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otcal.config.transport import MapSpec
from otcal.runtime import cli, device
from otcal.runtime.errors import InputError
from otcal.runtime.files import atomic_path, write_json
from otcal.runtime.provenance import record
from otcal.runtime.scratch import select
from otcal.samples.latents import labels_of, read_latents
from otcal.transport.api import FittedMap, fit_map
from otcal.transport.minimax import MinimaxOptions
from otcal.transport.network_fit import Options
from otcal.transport.problem import FEWEST
from otcal.transport.semidual import SemidualOptions

log = logging.getLogger(__name__)

Array = NDArray[np.float32]
Jets = dict[str, Array]


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--source", type=Path, required=True, help="latents to be moved (Parquet)")
    parser.add_argument("--target", type=Path, required=True, help="latents to be matched")
    parser.add_argument("--output", type=Path, required=True, help="map.safetensors (+ .json)")
    parser.add_argument("--learning-curve", type=Path, required=True, help="CSV")
    parser.add_argument("--diagnostics", type=Path, required=True, help="JSON")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--checkpoint", type=Path, help="state of an unfinished fit")
    arguments = parser.parse_args(argv)
    spec = cli.load_spec(arguments.spec, MapSpec)
    device.limit_threads(arguments.threads)
    scratch = arguments.output.parent
    scratch.mkdir(parents=True, exist_ok=True)
    source, target = (
        {split: _jets(path, spec, split, scratch) for split in ("train", "validation")}
        for path in (arguments.source, arguments.target)
    )
    widths = [jets["train"][spec.layer].shape[1] for jets in (source, target)]
    if widths[0] != widths[1]:
        raise InputError(
            arguments.target,
            spec.layer,
            f"has {widths[1]} numbers for each jet, that of {arguments.source} has {widths[0]}",
            "Give latents of one tagger",
        )
    train, validation = ((source[s], target[s]) for s in ("train", "validation"))
    fitted = fit_map(
        *(jets[spec.layer] for jets in train),
        validation=(validation[0][spec.layer], validation[1][spec.layer]),
        conditions=_conditions(train, spec),
        validation_conditions=_conditions(validation, spec),
        method=spec.method,
        steps=spec.steps,
        budget_s=spec.budget_s,
        seed=spec.seed,
        standardise=spec.standardise,
        precondition=spec.precondition,
        select=spec.select,
        options=_options(spec),
        device_name=arguments.device,
        checkpoint_path=arguments.checkpoint,
        scratch=scratch,
    )
    inputs = [arguments.source, arguments.target]
    provenance = record("fit_map", spec.model_dump(mode="json"), inputs, spec.seed)
    notes = {"layer": spec.layer, "conditions": list(spec.conditions), "provenance": provenance}
    fitted.save(arguments.output, notes)
    write_json(arguments.diagnostics, fitted.diagnostics)
    _write_curve(arguments.learning_curve, fitted)
    if arguments.checkpoint is not None:
        arguments.checkpoint.unlink(missing_ok=True)
    log.info("map: %s (%s)", fitted.diagnostics["winner"], fitted.diagnostics["reason"])


def _jets(path: Path, spec: MapSpec, split: str, scratch: Path) -> Jets:
    labels = labels_of(path, spec.classes)
    columns = list(dict.fromkeys([spec.layer, *spec.conditions, *spec.ranges]))
    jets = read_latents(path, columns, spec.splits.fractions(), split, labels, scratch)
    for name, (low, high) in spec.ranges.items():
        keep = (jets[name] >= low) & (jets[name] < high)
        jets = {column: select(values, keep, scratch) for column, values in jets.items()}
    if len(jets[spec.layer]) < FEWEST:
        raise InputError(
            path,
            "label",
            f"has {len(jets[spec.layer])} {split} jets of {', '.join(spec.classes)}"
            + "".join(f" with {a} <= {name} < {b}" for name, (a, b) in spec.ranges.items()),
            f"A map needs at least {FEWEST}: simulate more jets or correct classes and splits",
        )
    return jets


def _conditions(sides: tuple[Jets, Jets], spec: MapSpec) -> tuple[Array, Array] | None:
    """Return the conditions of source and target, shapes (n, k) and (m, k); None without any."""
    if not spec.conditions:
        return None
    source, target = (np.stack([jets[name] for name in spec.conditions], axis=1) for jets in sides)
    return source, target


def _options(spec: MapSpec) -> Options | None:
    settings: dict[str, Any]
    if spec.method == "convex":
        settings = spec.convex.model_dump()
        return SemidualOptions(**settings)
    if spec.method == "minimax":
        settings = spec.minimax.model_dump()
        return MinimaxOptions(**settings)
    return None


def _write_curve(path: Path, fitted: FittedMap) -> None:
    names = list(dict.fromkeys(name for row in fitted.learning_curve for name in row))
    with atomic_path(path) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, names, restval="")
        writer.writeheader()
        writer.writerows(fitted.learning_curve)


if __name__ == "__main__":
    cli.run(main)
