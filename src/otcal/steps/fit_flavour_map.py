"""Fit the map of one flavour: from simulated jets to the extracted density, or to the true one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from otcal.config.simplex_closure import FlavourMapSpec
from otcal.runtime import cli, device
from otcal.runtime.errors import InputError
from otcal.runtime.files import atomic_path, write_json
from otcal.runtime.provenance import record
from otcal.transport.api import fit_map
from otcal.transport.flavour_samples import (
    Sample,
    extracted,
    labelled,
    samples_of_fit,
    simulated,
)
from otcal.transport.semidual import SemidualOptions

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--source", type=Path, required=True, help="scores of simulated jets")
    parser.add_argument(
        "--target",
        type=Path,
        required=True,
        help="samples of the extracted density; with target truth, scores of data jets with labels",
    )
    parser.add_argument(
        "--exclude",
        type=Path,
        nargs="*",
        help="with target truth: scores of data jets not to be used, such as the validation's",
    )
    parser.add_argument("--output", type=Path, required=True, help="map.safetensors (+ .json)")
    parser.add_argument("--learning-curve", type=Path, required=True, help="CSV")
    parser.add_argument("--diagnostics", type=Path, required=True, help="JSON")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or mps")
    parser.add_argument("--checkpoint", type=Path, help="state of an unfinished fit")
    options = parser.parse_args(argv)
    spec = cli.load_spec(options.spec, FlavourMapSpec)
    device.limit_threads(options.threads)
    train, held = (
        Sample.of(
            simulated(options.source, spec.flavour, spec.splits, split, spec.ranges),
            spec.conditions,
        )
        for split in ("train", "validation")
    )
    if spec.target == "truth":
        if options.exclude is None:
            raise InputError(
                "--exclude",
                "files",
                "are missing: data jets that test the map must not fit it",
                "Name the validation region, or give --exclude without files",
            )
        jets = labelled(options.target, spec.flavour, options.exclude, spec.ranges)
        target = Sample.of(jets, spec.conditions)
    else:
        target = extracted(options.target, conditions=spec.conditions)
    fitted = fit_map(
        **samples_of_fit((train, held), target.hold_out(spec.seed), spec.space),
        steps=spec.steps,
        seed=spec.seed,
        select=spec.select,
        options=SemidualOptions(
            hidden=spec.hidden,
            pieces=0,  # in two dimensions, units alone do as well
            learning_rate=spec.learning_rate,
            batch=spec.batch,
            noise=spec.noise,
            tolerance=spec.tolerance,
        ),
        device_name=options.device,
        checkpoint_path=options.checkpoint,
        evaluations=spec.evaluations,
    )
    inputs = [options.source, options.target, *(options.exclude or [])]
    notes = {
        "flavour": spec.flavour,
        "space": spec.space,
        "target": spec.target,
        "conditions": list(spec.conditions),
        "provenance": record("fit_flavour_map", spec.model_dump(mode="json"), inputs, spec.seed),
    }
    fitted.save(options.output, notes)
    write_json(options.diagnostics, fitted.diagnostics)
    with atomic_path(options.learning_curve) as temporary:
        pd.DataFrame(fitted.learning_curve).to_csv(temporary, index=False)
    if options.checkpoint is not None:
        options.checkpoint.unlink(missing_ok=True)
    log.info("map: %s (%s)", fitted.diagnostics["winner"], fitted.diagnostics["reason"])


if __name__ == "__main__":
    cli.run(main)
