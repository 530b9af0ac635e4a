"""Compare generated jets of the ten classes with the distributions of JetClass."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from otcal.config.simulation import ValidationSpec
from otcal.figures import style
from otcal.figures.validation import draw
from otcal.runtime import cli, provenance
from otcal.runtime.files import atomic_path
from otcal.simulation.validation import FEATURES, distance, load, references

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--jets", nargs="+", action=cli.NumberedFiles, required=True, help="generated jets"
    )
    parser.add_argument("--summary", type=Path, required=True, help="table of distances (CSV)")
    parser.add_argument("--quantiles", type=Path, required=True, help="table of quantiles (CSV)")
    parser.add_argument("--figure", type=Path, required=True, help="figure, without suffix")
    arguments = parser.parse_args(argv)
    spec = cli.load_spec(arguments.spec, ValidationSpec)

    samples, expected = load(arguments.jets, spec.max_jets), references()
    distances = {name: distance(samples[name], expected[name]) for name in FEATURES}
    summary = pd.DataFrame(
        {
            "feature": FEATURES,
            "ks": list(distances.values()),
            "goal": spec.goal,
            "values": [len(samples[name].values) for name in FEATURES],
        }
    )
    quantiles = pd.concat(
        pd.DataFrame(
            {
                "feature": name,
                "probability": expected[name].probabilities,
                "jetclass": expected[name].values,
                "generated": samples[name].quantile(expected[name].probabilities),
            }
        )
        for name in FEATURES
    )
    record = provenance.record("validate_simulation", spec.model_dump(mode="json"), arguments.jets)
    for path, table in ((arguments.summary, summary), (arguments.quantiles, quantiles)):
        with atomic_path(path) as temporary:
            table.to_csv(temporary, index=False, float_format="%.6g")
        provenance.write_sidecar(path, record)
    style.save(draw(samples, expected), arguments.figure)
    for name, value in distances.items():
        verdict = "" if value <= spec.goal else f", above the goal of {spec.goal:g}"
        logger.info("%-16s KS %.3f%s", name, value, verdict)


if __name__ == "__main__":
    cli.run(main)
