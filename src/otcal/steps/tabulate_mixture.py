"""Tabulate the mixture fit for its figures: regions, components with bands, convergence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from otcal.config.simplex_tabulation import MixtureTables
from otcal.figures import cells, count_mixture
from otcal.figures.extraction import Extraction
from otcal.figures.simplex_tables import COMPONENTS, CONVERGENCE, MIXTURE, write
from otcal.mixture.flows import Components
from otcal.runtime import cli, device
from otcal.runtime.errors import InputError
from otcal.runtime.provenance import record
from otcal.samples.scores import read_scores
from otcal.simplex import ilr


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    for name, text in (
        ("regions", "scores of the fitted regions' jets (Parquet), in the order of the extraction"),
        ("histories", "history.csv of each start; its directory names the start"),
    ):
        parser.add_argument(f"--{name}", type=Path, nargs="+", required=True, help=text)
    for name, text in (
        ("pretrained", "component flows before the fit (safetensors)"),
        ("flows", "component flows after the fit (safetensors)"),
        ("extraction", "compositions (JSON)"),
        ("variations", "shifts of the compositions (JSON)"),
        ("scores-table", "table to write: distributions of the regions"),
        ("components-table", "table to write: extracted and true components"),
        ("convergence-table", "table to write: iterations of all starts"),
    ):
        parser.add_argument(f"--{name}", type=Path, required=True, help=text)
    options = parser.parse_args(argv)
    spec = cli.load_spec(options.spec, MixtureTables)
    device.limit_threads(options.threads)
    extraction = Extraction.read(options.extraction)
    if len(options.regions) != len(extraction.regions):
        raise InputError(
            "--regions",
            "files",
            f"there are {len(options.regions)}",
            f"Give those of {', '.join(extraction.regions)}, in this order",
        )
    scores = [read_scores(path, extraction.flavours) for path in options.regions]
    jets = [ilr(sample.p) for sample in scores]
    axes = [cells.Axis.spanning(column, spec) for column in np.concatenate(jets).T]
    masses = {
        "before": _masses(options.pretrained, axes),
        "after": _masses(options.flows, axes),
    }
    compositions = {"before": extraction.start, "after": extraction.pi}
    provenance = record(
        "tabulate_mixture",
        spec.model_dump(mode="json"),
        [
            *options.regions,
            options.pretrained,
            options.flows,
            options.extraction,
            options.variations,
            *options.histories,
        ],
    )
    write(
        options.scores_table,
        count_mixture.count_scores(jets, masses, compositions, extraction, axes),
        MIXTURE,
        provenance,
    )
    variations = count_mixture.read_variations(options.variations, extraction)
    labels = [sample.labels for sample in scores]
    write(
        options.components_table,
        count_mixture.count_components(jets, labels, masses["after"], variations, extraction, axes),
        COMPONENTS,
        provenance,
    )
    histories = {path.parent.name: path for path in options.histories}
    write(
        options.convergence_table,
        count_mixture.merge_histories(histories, extraction),
        CONVERGENCE,
        provenance,
    )


def _masses(path: Path, axes: Sequence[cells.Axis]) -> NDArray[np.float64]:
    components = Components.load(path)
    return (
        cells.drawn(components, axes) if components.conditions else cells.masses(components, axes)
    )


if __name__ == "__main__":
    cli.run(main)
