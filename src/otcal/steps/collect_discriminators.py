"""Gather the discriminators of all layers and trainings into tables of AUC, ROC and scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from otcal.closure.tables import auc_table, read_outcomes, roc_table, score_table
from otcal.config.closure import CollectSpec
from otcal.runtime import cli, provenance
from otcal.runtime.errors import InputError
from otcal.runtime.files import write_text


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--results", type=Path, nargs="+", required=True, help="JSON per task")
    parser.add_argument(
        "--scores", type=Path, nargs="+", required=True, help="Parquet per task, same stems"
    )
    parser.add_argument("--auc", type=Path, required=True, help="CSV to write")
    parser.add_argument("--roc", type=Path, required=True, help="CSV to write")
    parser.add_argument(
        "--histograms", type=Path, required=True, help="CSV to write: D_L scores in z128"
    )
    options = parser.parse_args(argv)
    spec = cli.load_spec(options.spec, CollectSpec)

    outcomes = read_outcomes(options.results, options.scores)
    shown = [o for o in outcomes if (o.layer, o.training, o.model) == ("z128", "nominal", "mlp")]
    if not shown:
        raise InputError(
            "--results",
            "z128 nominal mlp",
            "is not among them, and its scores are to be drawn",
            "Add its result",
        )
    tables = {
        options.auc: auc_table(outcomes),
        options.roc: roc_table(outcomes, spec.roc_points),
        options.histograms: score_table(shown[0].scores, spec.score_bins),
    }
    origin = provenance.record(
        "collect_discriminators",
        spec.model_dump(mode="json"),
        [*options.results, *options.scores],
    )
    for path, table in tables.items():
        write_text(path, table.to_csv(index=False))
        provenance.write_sidecar(path, origin)


if __name__ == "__main__":
    cli.run(main)
