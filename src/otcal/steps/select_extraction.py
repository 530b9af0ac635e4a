"""Take the best start of the mixture fit, and report how far the starts agree."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from otcal.config.mixture import SelectSpec
from otcal.mixture.flows import Components
from otcal.mixture.selection import COMMON, REPORTED, best, summarise
from otcal.runtime import cli
from otcal.runtime.errors import InputError
from otcal.runtime.files import read_json, write_json
from otcal.runtime.provenance import record
from otcal.runtime.weights import description_path

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--starts", type=Path, nargs="+", required=True, help="directories of extract_components"
    )
    parser.add_argument("--extraction", type=Path, required=True, help="JSON to write")
    parser.add_argument("--flows", type=Path, required=True, help="flows.safetensors (+ .json)")
    options = parser.parse_args(argv)
    spec = cli.load_spec(options.spec, SelectSpec)
    files = [directory / "composition.json" for directory in options.starts]
    fits = [_read(path) for path in files]
    for path, fit in zip(files, fits, strict=True):
        different = [key for key in COMMON if fit[key] != fits[0][key]]
        if different:
            raise InputError(
                path,
                different[0],
                f"is another one than in {files[0]}",
                "Give starts of one and the same fit",
            )
    winner = best(fits)
    flows = options.starts[winner] / "flows.safetensors"
    origin = record("select_extraction", spec.model_dump(), [*files, flows])
    result = summarise([directory.name for directory in options.starts], fits)
    components = Components.load(flows)
    # The two are written one after the other: an interrupted repetition leaves one of each fit.
    notes = read_json(description_path(flows))["notes"]
    if notes.get("provenance") != fits[winner].get("provenance"):
        raise InputError(
            files[winner],
            "provenance",
            f"is not that of {flows.name} beside it",
            "Run extract_components of this start again",
        )
    components.save(options.flows, {"provenance": origin})
    write_json(options.extraction, {**result, "provenance": origin})
    for entry in result["starts"]:
        end = "converged" if entry["converged"] else "NOT CONVERGED"
        log.info(
            "%s: objective %.2f, %s after %d iterations",
            entry["name"],
            entry["objective"],
            end,
            entry["iterations"],
        )
    log.info("taken: %s; kappa %.3f", result["chosen"], result["kappa"])


def _read(path: Path) -> dict[str, Any]:
    content = read_json(path)
    keys = (*COMMON, *REPORTED, "start")
    absent = [key for key in keys if not isinstance(content, dict) or key not in content]
    if absent:
        raise InputError(path, absent[0], "is missing", "Make it with extract_components")
    return dict(content)


if __name__ == "__main__":
    cli.run(main)
