"""Fit a flow to the simulated jets of each flavour: the start of the mixture fit."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from otcal.config.mixture import PretrainSpec
from otcal.mixture.points import join
from otcal.mixture.pretraining import pretrain
from otcal.mixture.regions import refuse_weights
from otcal.runtime import cli, device
from otcal.runtime.errors import InputError
from otcal.runtime.provenance import record
from otcal.samples import splits
from otcal.samples.scores import Scores, read_scores

log = logging.getLogger(__name__)

FEWEST = 100
"""Jets of a flavour below which there is no density to be learnt."""


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--scores", type=Path, required=True, help="scores of simulated jets")
    parser.add_argument("--output", type=Path, required=True, help="flows.safetensors (+ .json)")
    parser.add_argument("--checkpoint", type=Path, help="state of an unfinished fit")
    options = parser.parse_args(argv)
    spec = cli.load_spec(options.spec, PretrainSpec)
    device.limit_threads(options.threads)
    refuse_weights(options.scores)
    scores = read_scores(options.scores, spec.flavours)
    train, validation = (_jets(options.scores, scores, spec, s) for s in ("train", "validation"))
    origin = record("pretrain_flows", spec.model_dump(mode="json"), [options.scores], spec.seed)
    components, result = pretrain(
        train,
        validation,
        spec.flavours,
        spec.flow,
        spec.training,
        spec.seed,
        options.checkpoint,
        {"spec": origin["spec"], "inputs": origin["inputs"]},
        spec.conditions,
    )
    notes = {
        "jets": {"train": [len(z) for z in train], "validation": [len(z) for z in validation]},
        "best_step": result.best_step,
        "history": result.history,
        "provenance": origin,
    }
    components.save(options.output, notes)
    if options.checkpoint is not None:
        options.checkpoint.unlink(missing_ok=True)
    log.info("held-out loss %.4f after %d steps", result.best_value, result.best_step)


def _jets(path: Path, scores: Scores, spec: PretrainSpec, split: str) -> list[NDArray[np.float64]]:
    inside = splits.select(scores.ids, spec.splits.fractions(), split)
    result = []
    for label, flavour in enumerate(spec.flavours):
        jets = scores.select(inside & (scores.labels == label))
        if len(jets) < FEWEST:
            raise InputError(
                path,
                "label",
                f"has {len(jets)} {split} jets of flavour {flavour}",
                f"A density needs at least {FEWEST}: simulate more jets or correct the splits",
            )
        result.append(join(jets.p, jets.conditions(spec.conditions), spec.conditions))
    return result


if __name__ == "__main__":
    cli.run(main)
