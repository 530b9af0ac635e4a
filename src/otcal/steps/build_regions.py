"""Build the control regions and the validation region from scores of pseudo-data."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from otcal.config.regions import RegionsSpec
from otcal.mixture.regions import build
from otcal.runtime import cli
from otcal.runtime.provenance import record
from otcal.samples import tables
from otcal.samples.scores import score_schema

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--scores", type=Path, required=True, help="scores of data (Parquet)")
    parser.add_argument(
        "--output", type=Path, required=True, help="directory; one <region>.parquet each"
    )
    options = parser.parse_args(argv)
    spec = cli.load_spec(options.spec, RegionsSpec)
    regions = build(options.scores, spec)
    origin = record("build_regions", spec.model_dump(mode="json"), [options.scores], spec.seed)
    for name, table in regions.items():
        path = options.output / f"{name}.parquet"
        tables.write_table(path, table, score_schema(spec.flavours), origin)
        counts = np.bincount(tables.to_numpy(table["label"]), minlength=len(spec.flavours))
        made = ", ".join(f"{n} {flavour}" for flavour, n in zip(spec.flavours, counts, strict=True))
        log.info("%s: %s", name, made)


if __name__ == "__main__":
    cli.run(main)
