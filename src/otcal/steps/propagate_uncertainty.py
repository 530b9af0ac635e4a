"""Propagate the uncertainty of the fitted compositions through the EM feedback."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from otcal.config.uncertainty import PropagateSpec
from otcal.mixture.events import read_events
from otcal.mixture.flows import Components
from otcal.mixture.uncertainty import Uncertainty, propagate, variation_record
from otcal.runtime import cli, device
from otcal.runtime.errors import InputError
from otcal.runtime.files import read_json, write_json
from otcal.runtime.provenance import record

log = logging.getLogger(__name__)

NAMES = ("regions", "enriched", "flavours", "pi", "nominal", "truth")
"""Keys of the extraction that the results repeat."""


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--extraction", type=Path, required=True, help="the fit (JSON)")
    parser.add_argument("--flows", type=Path, required=True, help="its components (safetensors)")
    parser.add_argument(
        "--regions", type=Path, nargs="+", required=True, help="fitted jets: <region>.parquet"
    )
    parser.add_argument("--feedback", type=Path, required=True, help="JSON: matrices, channels")
    parser.add_argument("--variations", type=Path, required=True, help="JSON: eigenvariations")
    options = parser.parse_args(argv)
    spec = cli.load_spec(options.spec, PropagateSpec)
    device.limit_threads(options.threads)
    fit = _read_fit(options.extraction)
    components = Components.load(options.flows)
    names = components.conditions
    events, _ = read_events(options.regions, fit["regions"], fit["flavours"], 0.0, 0, names)
    density = components.log_prob(events.z)
    try:
        found = propagate(
            [density[events.region == r] for r in range(len(events.regions))],
            np.array(fit["pi"]),
            [fit["flavours"].index(name) for name in fit["enriched"]],
            np.array(fit["prior"]["covariance"]),
            None if fit["truth"] is None else np.array(fit["truth"]),
            **spec.model_dump(),
        )
    except ValueError as error:
        raise InputError(
            options.extraction, "pi", str(error), "Fit longer, or choose regions that differ more"
        ) from None
    inputs = [options.extraction, options.flows, *options.regions]
    origin = {
        **{name: fit[name] for name in NAMES},
        "provenance": record("propagate_uncertainty", spec.model_dump(mode="json"), inputs),
    }
    write_json(options.feedback, {**origin, **found.summary()})
    entries = [variation_record(one) for one in found.variations]
    write_json(options.variations, {**origin, "variations": entries})
    _report(found)


def _read_fit(path: Path) -> dict[str, Any]:
    fit: dict[str, Any] = read_json(path)
    absent = [name for name in (*NAMES, "prior") if name not in fit]
    if absent:
        raise InputError(path, absent[0], "is missing", "Pass the extraction.json of the fit")
    return fit


def _report(found: Uncertainty) -> None:
    channels = found.recipes[found.recipe]
    log.info("feedback: spectral radius %.6f", found.response.spectral_radius)
    for value, ratio, reason in zip(
        channels.singular_values, channels.variance_ratio, channels.reasons, strict=True
    ):
        log.info(
            "channel: amplification %.3g, variance over prior's %.3g%s",
            value,
            ratio,
            f": prior ({reason})" if reason else "",
        )
    for one in found.variations:
        if one.scale < 1.0:
            log.warning("%s: shortened to %.3g to keep fractions positive", one.name, one.scale)


if __name__ == "__main__":
    cli.run(main)
