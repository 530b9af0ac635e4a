"""Fit discriminators of one layer, training and model, and score jets that no fit has seen.

The layers are in temporary files beside the output while it runs, so that they may exceed the
memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from otcal.closure import discriminators
from otcal.closure.discriminators import EVALUATIONS, Fitted, unseen
from otcal.closure.jets import FOLDS, SAMPLES, Sample, check_folds, halves, read_sample
from otcal.closure.metrics import auc
from otcal.closure.scores import Scores, write_scores
from otcal.config.closure import DiscriminatorSpec
from otcal.runtime import cli, device, provenance
from otcal.runtime.errors import InputError
from otcal.runtime.files import write_json
from otcal.samples.latents import LAYERS


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--layer", required=True, choices=tuple(LAYERS))
    parser.add_argument("--training", required=True, choices=tuple(EVALUATIONS))
    parser.add_argument("--source", type=Path, help="latents (training nominal)")
    parser.add_argument("--target", type=Path, required=True, help="latents")
    parser.add_argument("--calibrated", type=Path, help="latents (nominal and retrained)")
    parser.add_argument("--output", type=Path, required=True, help="JSON: AUC and fits")
    parser.add_argument("--scores", type=Path, required=True, help="Parquet: scores per jet")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        help="finished and unfinished fits are kept beside this file (default: beside the output)",
    )
    options = parser.parse_args(argv)
    spec = cli.load_spec(options.spec, DiscriminatorSpec)
    device.limit_threads(options.threads)

    paths = {"target": options.target}
    for name in EVALUATIONS[options.training].values():
        if name != "target_half":
            paths[name] = getattr(options, name)
            if paths[name] is None:
                raise InputError(
                    f"--{name}",
                    options.training,
                    "this training needs a file of it",
                    f"Add --{name} FILE",
                )
    scratch = options.output.parent
    scratch.mkdir(parents=True, exist_ok=True)
    samples = {
        name: read_sample(path, [options.layer], spec.jets, scratch) for name, path in paths.items()
    }
    if options.training == "floor":
        samples["target_half"], samples["target"] = halves(samples["target"])
        for half in samples.values():
            check_folds(options.target, half, "jets of half the target")

    settings = spec.model_dump(mode="json")
    task = {"layer": options.layer, "training": options.training, "model": spec.model.kind}
    origin = provenance.record(
        "train_discriminator", {**task, **settings}, paths.values(), spec.seed
    )
    unfinished = options.checkpoint or options.output
    fitted = discriminators.fit_all(
        discriminators.prepare(samples, options.layer, options.training),
        spec,
        device.resolve(options.device),
        " ".join(task.values()),
        unfinished,
        {**task, "settings": settings, "inputs": origin["inputs"]},
    )
    scores = _collect(samples, fitted)
    write_scores(options.scores, scores, origin)
    summary = _summary(samples, fitted, scores, options.training)
    write_json(options.output, {**task, **summary, "provenance": origin})
    discriminators.forget(unfinished, spec.fits)


def _collect(samples: dict[str, Sample], fitted: list[Fitted]) -> Scores:
    kept = {name: unseen(sample.bare()) for name, sample in samples.items()}
    number = [np.full(len(s.fold), SAMPLES.index(name), np.int8) for name, s in kept.items()]
    return Scores(
        fold=np.concatenate([sample.fold for sample in kept.values()]),
        sample=np.concatenate(number),
        jet_id=np.concatenate([sample.jet_id for sample in kept.values()]),
        score=np.stack([np.concatenate([one.scores[name] for name in kept]) for one in fitted]),
    )


def _summary(
    samples: dict[str, Sample], fitted: list[Fitted], scores: Scores, training: str
) -> dict[str, Any]:
    jets = {
        name: {fold: int((sample.fold == i).sum()) for i, fold in enumerate(FOLDS)}
        for name, sample in samples.items()
    }
    evaluations = {}
    for evaluation, other in EVALUATIONS[training].items():
        area = auc(scores.of(other), scores.of("target"))
        evaluations[evaluation] = {
            "other": other,
            "auc": area.mean,
            "std": area.std,
            "stat": area.stat,
            "per_fit": area.per_fit.tolist(),
        }
    return {
        "jets": jets,
        "evaluations": evaluations,
        "fits": [one.summary for one in fitted],
    }


if __name__ == "__main__":
    cli.run(main)
