"""Measure the tagger on the test split of the training jets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from otcal.config.tagger import EvaluateSpec
from otcal.runtime import cli, device, provenance
from otcal.runtime.files import atomic_path, write_json
from otcal.tagger import evaluation
from otcal.tagger.batches import workers
from otcal.tagger.dataset import iterate_split, require_all_classes
from otcal.tagger.inference import latents
from otcal.tagger.saved import load_tagger


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument(
        "--jets", nargs="+", action=cli.NumberedFiles, required=True, help="training jets"
    )
    parser.add_argument("--tagger", type=Path, required=True, help="weights (.safetensors)")
    parser.add_argument("--roc", type=Path, required=True, help="ROC curves (.csv)")
    parser.add_argument("--metrics", type=Path, required=True, help="AUCs and accuracy (.json)")
    parser.add_argument("--confusion", type=Path, required=True, help="confusion matrix (.csv)")
    args = parser.parse_args(argv)
    spec = cli.load_spec(args.spec, EvaluateSpec)
    where = device.resolve(args.device)
    tagger = load_tagger(args.tagger)
    classes, backgrounds = tagger.classes, spec.backgrounds
    evaluation.require_backgrounds(backgrounds, classes, args.tagger)
    network = tagger.network.to(where)

    fractions = spec.splits.fractions()
    labels, outputs = [], []
    with workers(args.threads, where) as each:
        for piece in iterate_split(args.jets, tagger.preprocessing, classes, fractions, "test"):
            *_, logits = latents(
                network, piece, **spec.inference.model_dump(), device=where, each=each
            )
            labels.append(piece.labels)
            outputs.append(logits)
    truth, logits = np.concatenate(labels), np.concatenate(outputs)
    require_all_classes(truth, classes, "test")

    write_json(args.metrics, evaluation.metrics(logits, truth, classes, backgrounds))
    record = provenance.record("evaluate_tagger", spec.model_dump(), [*args.jets, args.tagger])
    provenance.write_sidecar(args.metrics, record)
    with atomic_path(args.roc) as temporary:
        evaluation.curves(logits, truth, classes, backgrounds).to_csv(
            temporary, index=False, float_format="%.6g"
        )
    with atomic_path(args.confusion) as temporary:
        evaluation.confusion(logits, truth, classes).to_csv(temporary, index=False)


if __name__ == "__main__":
    cli.run(main)
