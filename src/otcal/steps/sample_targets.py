"""Draw samples of a flavour's extracted density and of each of its variations."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from otcal.config.uncertainty import TargetSpec
from otcal.mixture.feedback import enriched_regions
from otcal.mixture.flows import Components
from otcal.mixture.points import split
from otcal.mixture.targets import Pools, draw_targets, pool_size
from otcal.runtime import cli, device
from otcal.runtime.errors import InputError
from otcal.runtime.files import read_json
from otcal.runtime.provenance import record
from otcal.samples.targets import TargetSample, write_targets

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--flavour", required=True, help="name of the flavour")
    parser.add_argument("--flows", type=Path, required=True, help="components (safetensors)")
    parser.add_argument("--variations", type=Path, required=True, help="shifts of the fit (JSON)")
    parser.add_argument("--output", type=Path, required=True, help="targets (Parquet)")
    options = parser.parse_args(argv)
    spec = cli.load_spec(options.spec, TargetSpec)
    device.limit_threads(options.threads)
    content = read_json(options.variations)
    if options.flavour not in content["flavours"]:
        names = ", ".join(content["flavours"])
        raise InputError("--flavour", options.flavour, "is not a flavour", f"There are: {names}")
    flavour = content["flavours"].index(options.flavour)
    enriched = [content["flavours"].index(name) for name in content["enriched"]]
    region = enriched_regions(np.array(content["pi"]), enriched)[flavour]
    shifts = {one["name"]: np.array(one["delta_pi"][region]) for one in content["variations"]}

    components = Components.load(options.flows)
    size = pool_size(spec.points, flavour, shifts.values())
    pools = Pools(components.sample, components.log_prob, size, spec.seed)
    targets = draw_targets(pools, flavour, shifts, spec.points)
    origin = record(
        "sample_targets",
        {**spec.model_dump(mode="json"), "flavour": options.flavour},
        [options.flows, options.variations],
        spec.seed,
    )
    origin["targets"] = {
        name: {"replaced": one.replaced, "clipped": one.clipped} for name, one in targets.items()
    }
    given = components.conditions
    samples = {name: TargetSample(*split(one.z, given)) for name, one in targets.items()}
    write_targets(options.output, samples, origin, given)
    for name, one in targets.items():
        log.info("%s: %.4f of the points moved, %.4f clipped", name, one.replaced, one.clipped)


if __name__ == "__main__":
    cli.run(main)
