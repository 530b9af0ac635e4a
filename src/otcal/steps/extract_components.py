"""Fit the regions' compositions and the flavours' densities to unlabelled data, from one start."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from otcal.config.mixture import ExtractSpec
from otcal.mixture import em
from otcal.mixture.adaptation import AdaptedFlows
from otcal.mixture.composition import Prior, perturbed
from otcal.mixture.events import read_events
from otcal.mixture.flows import Components
from otcal.mixture.recording import ResponsibilityRecorder, write_history
from otcal.mixture.regions import check_compositions
from otcal.runtime import cli, device
from otcal.runtime.errors import InputError
from otcal.runtime.files import write_json
from otcal.runtime.fingerprint import fingerprint
from otcal.runtime.provenance import record
from otcal.runtime.seeds import derive, numpy_generator

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--regions", type=Path, nargs="+", required=True, help="scores: <region>.parquet of each"
    )
    parser.add_argument("--pretrained", type=Path, required=True, help="flows of simulated jets")
    parser.add_argument("--start", type=int, required=True, help="number of the start")
    parser.add_argument("--output", type=Path, required=True, help="directory of this start")
    parser.add_argument("--checkpoint", type=Path, help="state of an unfinished fit")
    options = parser.parse_args(argv)
    spec = cli.load_spec(options.spec, ExtractSpec)
    device.limit_threads(options.threads)
    flavours, regions = spec.flavours, tuple(spec.regions)
    nominal = np.array([[one.nominal[name] for name in flavours] for one in spec.regions.values()])
    check_compositions(nominal, spec.kappa_limit, "mixture.regions")
    enriched = [flavours.index(one.enriched) for one in spec.regions.values()]
    components = _pretrained(options.pretrained, flavours)
    events, truth = read_events(
        options.regions,
        regions,
        flavours,
        spec.density.held_out,
        spec.seed,
        components.conditions,
    )
    prior = Prior.around(nominal, enriched, spec.prior_width)
    start = perturbed(nominal, spec.start_shift, numpy_generator(spec.seed, "start", options.start))
    inputs = [*options.regions, options.pretrained]
    origin = record("extract_components", spec.model_dump(mode="json"), inputs, spec.seed)
    origin["start"] = options.start
    model = AdaptedFlows(components, spec.density, derive(spec.seed, "start", options.start))
    unfinished = options.checkpoint or options.output / "unfinished.safetensors"
    recorder = ResponsibilityRecorder(unfinished.with_suffix(".parts"), events, len(flavours))
    fit = em.fit(
        events,
        model,
        prior,
        start,
        enriched,
        spec,
        flavours=flavours,
        recorder=recorder,
        checkpoint_path=unfinished,
        identity={
            "code": fingerprint("otcal.steps.extract_components"),
            "origin": {name: origin[name] for name in ("spec", "inputs", "start")},
        },
    )
    last = fit.history[-1]
    model.components.save(options.output / "flows.safetensors", {"provenance": origin})
    write_history(options.output / "history.csv", fit.history, regions, flavours)
    recorder.join(options.output / "responsibilities.parquet", last["iteration"], origin)
    write_json(
        options.output / "composition.json",
        {
            "regions": list(regions),
            "enriched": [one.enriched for one in spec.regions.values()],
            "flavours": list(flavours),
            "pi": fit.pi.tolist(),
            "nominal": nominal.tolist(),
            "truth": None if truth is None else truth.tolist(),
            "start": start.tolist(),
            "prior": {"mean": prior.mean.tolist(), "covariance": prior.covariance.tolist()},
            "events": events.counts.tolist(),
            "log_likelihood": last["log_likelihood"],
            "objective": last["objective"],
            "held_out": last["held_out"],
            "imbalance": last["imbalance"],
            "iterations": last["iteration"],
            "annealed": fit.annealed,
            "converged": fit.converged,
            "provenance": origin,
        },
    )
    unfinished.unlink(missing_ok=True)
    recorder.forget()
    if not fit.converged:
        log.warning("not converged after %d iterations", last["iteration"])
    log.info("objective %.2f, compositions %s", last["objective"], fit.pi.round(4).tolist())


def _pretrained(path: Path, flavours: Sequence[str]) -> Components:
    components = Components.load(path)
    if components.flavours != tuple(flavours):
        raise InputError(
            path,
            "flavours",
            f"are {', '.join(components.flavours)}",
            f"The fit is of {', '.join(flavours)}: pretrain flows of these, in this order",
        )
    return components


if __name__ == "__main__":
    cli.run(main)
