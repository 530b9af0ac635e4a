"""Put a study's numbers under documented keys in one JSON file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from otcal.closure import simplex_summary, summary
from otcal.config.closure import SummarySpec
from otcal.runtime import cli
from otcal.runtime.errors import InputError
from otcal.runtime.files import write_json


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    readers = {
        "auc": (summary.from_auc, "CSV of collect_discriminators"),
        "reweighting": (summary.from_reweighting, "JSON of reweight"),
        "distances": (summary.from_distances, "CSV of reweight"),
        "validation": (summary.from_validation, "CSV of validate_simulation: feature, ks"),
        "tagger": (summary.from_tagger, "JSON of evaluate_tagger"),
        "map": (summary.from_map, "JSON of fit_map"),
        "extraction": (simplex_summary.from_extraction, "JSON of select_extraction"),
        "feedback": (simplex_summary.from_feedback, "JSON of propagate_uncertainty"),
        "closure": (simplex_summary.from_closure, "CSV of measure_closure"),
        "flavour-tagger": (simplex_summary.from_tagger, "JSON of evaluate_tagger"),
    }
    for name, (_, text) in readers.items():
        parser.add_argument(f"--{name}", type=Path, help=text)
    parser.add_argument("--output", type=Path, required=True, help="JSON to write")
    options = parser.parse_args(argv)
    spec = cli.load_spec(options.spec, SummarySpec)

    numbers: summary.Numbers = {}
    for name, (read, _) in readers.items():
        path = getattr(options, name.replace("-", "_"))
        if path is not None:
            numbers |= read(path)
    strangers = [key for key in numbers if not key.startswith(f"{spec.study}.")]
    if strangers or not numbers:
        raise InputError(
            "--spec",
            "study",
            f"no number belongs to {spec.study}" if not numbers else f"{strangers[0]} does not",
            "Pass the files of this study",
        )
    write_json(options.output, dict(sorted(numbers.items())))


if __name__ == "__main__":
    cli.run(main)
