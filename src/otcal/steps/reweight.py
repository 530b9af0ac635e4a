"""Reweight the source to the target with D_L's density ratio, beside the transported source.

The layers are in temporary files beside the output while it runs, so that they may exceed the
memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from otcal.closure.comparison import distance_table
from otcal.closure.jets import Sample, read_sample
from otcal.closure.metrics import auc
from otcal.closure.reweighting import reweight
from otcal.closure.scores import Scores, read_scores
from otcal.config.closure import ReweightSpec
from otcal.runtime import cli, device, provenance
from otcal.runtime.errors import InputError
from otcal.runtime.files import write_json, write_text
from otcal.samples import tables
from otcal.samples.latents import LAYERS, kind_of, labels_of

WEIGHT_SCHEMA = pa.schema([pa.field("jet_id", pa.int64()), pa.field("weight", pa.float64())])
"""Weights, of mean 1, of the source jets that no map and no discriminator has seen."""


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    for name in ("source", "target", "calibrated"):
        parser.add_argument(f"--{name}", type=Path, required=True, help="latents")
    parser.add_argument(
        "--scores",
        type=Path,
        nargs=len(LAYERS),
        required=True,
        help=f"scores of the nominal D_L in {', '.join(LAYERS)}",
    )
    parser.add_argument("--output", type=Path, required=True, help="JSON: dilution and closure")
    parser.add_argument("--weights", type=Path, required=True, help="Parquet: weight per jet")
    parser.add_argument("--distances", type=Path, required=True, help="CSV: distances to target")
    options = parser.parse_args(argv)
    spec = cli.load_spec(options.spec, ReweightSpec)
    device.limit_threads(options.threads)

    scratch = options.output.parent
    scratch.mkdir(parents=True, exist_ok=True)
    paths = {name: getattr(options, name) for name in ("source", "target", "calibrated")}
    classes = kind_of(options.target).classes
    for entry in spec.discriminants:
        labels_of(options.target, (*entry.signal, *entry.background))
    samples = {
        name: read_sample(path, list(LAYERS), spec.jets, scratch).only("test")
        for name, path in paths.items()
    }
    scores = {}
    for layer, path in zip(LAYERS, options.scores, strict=True):
        scores[layer] = read_scores(path)
        _check_origin(path, layer, scores[layer], samples)
    weights, summary = reweight(scores["z128"])
    closure = {}
    for layer, one in scores.items():
        area = auc(one.of("source"), one.of("target"), weights)
        closure[layer] = {"auc": area.mean, "std": area.std, "stat": area.stat}

    origin = provenance.record(
        "reweight",
        spec.model_dump(mode="json"),
        [*paths.values(), *options.scores],
        spec.seed,
    )
    table = pa.table({"jet_id": samples["source"].jet_id, "weight": weights})
    tables.write_table(options.weights, table, WEIGHT_SCHEMA, origin)
    distances = distance_table(
        samples, weights, spec.discriminants, spec.distances, spec.seed, classes
    )
    write_text(options.distances, distances.to_csv(index=False))
    provenance.write_sidecar(options.distances, origin)
    write_json(options.output, {**summary, "auc": closure, "provenance": origin})


def _check_origin(path: Path, layer: str, scores: Scores, samples: dict[str, Sample]) -> None:
    remedy = "Pass what train_discriminator made of these latents with these closure.folds"
    spec = tables.read_provenance(path).get("spec", {})
    found = [spec.get("layer"), spec.get("training"), spec.get("model", {}).get("kind")]
    if found != [layer, "nominal", "mlp"]:
        words = " ".join(map(str, found))
        raise InputError(path, "scores", f"are of {words}, not {layer} nominal mlp", remedy)
    for name, sample in samples.items():
        if not np.array_equal(scores.ids(name), sample.jet_id):
            raise InputError(
                path,
                "jet_id",
                f"its {name} jets are not the evaluation jets of the latents",
                remedy,
            )


if __name__ == "__main__":
    cli.run(main)
