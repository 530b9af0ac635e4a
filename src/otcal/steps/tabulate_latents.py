"""Count latents, outputs and discriminants into the tables that figures are drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from otcal.config.tabulation import LatentTablesSpec
from otcal.figures.count_latents import count
from otcal.figures.tables import write_marginals, write_pairs
from otcal.runtime import cli
from otcal.runtime.provenance import record

SAMPLES = ("source", "target", "calibrated")


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    for sample in SAMPLES:
        parser.add_argument(f"--{sample}", type=Path, required=True, help=f"latents, {sample}")
    parser.add_argument(
        "--weights", type=Path, required=True, help="weights of the reweighting baseline (Parquet)"
    )
    for name, content in (
        ("pca", "principal components of z128"),
        ("pca-pairs", "pairs of principal components"),
        ("logits", "outputs z'10"),
        ("logits-pairs", "pairs of outputs"),
        ("discriminants", "physics discriminants"),
    ):
        parser.add_argument(
            f"--{name}", type=Path, required=True, help=f"table to write: {content}"
        )
    arguments = parser.parse_args(argv)
    spec = cli.load_spec(arguments.spec, LatentTablesSpec)
    files = {sample: getattr(arguments, sample) for sample in SAMPLES}
    result = count(files, arguments.weights, spec)
    provenance = record(
        "tabulate_latents", spec.model_dump(mode="json"), [*files.values(), arguments.weights]
    )
    write_marginals(arguments.pca, result.components, provenance)
    write_pairs(arguments.pca_pairs, result.component_pairs, provenance)
    write_marginals(arguments.logits, result.outputs, provenance)
    write_pairs(arguments.logits_pairs, result.output_pairs, provenance)
    write_marginals(arguments.discriminants, result.discriminants, provenance)


if __name__ == "__main__":
    cli.run(main)
