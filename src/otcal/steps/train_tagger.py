"""Train the tagger on the train split of the training jets; keep the best validation loss.

A checkpoint is written every minute, and when a signal asks to stop. A run that was stopped
continues from it, and ends with the same weights as one that was not.

Several processes, each with a GPU of its own, train together and leave the same weights as one:
with --processes on this node, on several nodes when torchrun starts this command.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch

from otcal.config.tagger import TrainSpec
from otcal.runtime import cli, distributed, provenance, training
from otcal.runtime.distributed import Team
from otcal.runtime.errors import InputError
from otcal.runtime.files import atomic_path, read_json
from otcal.runtime.fingerprint import fingerprint
from otcal.runtime.seeds import derive
from otcal.tagger.batches import workers
from otcal.tagger.dataset import iterate_split, load, require_all_classes
from otcal.tagger.preprocessing import Preprocessing
from otcal.tagger.saved import build, save_tagger
from otcal.tagger.training import TaggerTrainee


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument(
        "--jets", nargs="+", action=cli.NumberedFiles, required=True, help="training jets"
    )
    parser.add_argument("--preprocessing", type=Path, required=True, help="fitted preprocessing")
    parser.add_argument(
        "--output", type=Path, required=True, help="weights (.safetensors); .json goes beside it"
    )
    parser.add_argument("--history", type=Path, required=True, help="learning curve (.csv)")
    parser.add_argument("--checkpoint", type=Path, help="where a stopped run continues from")
    parser.add_argument(
        "--processes",
        type=int,
        default=1,
        help="processes on this node that train together, one per GPU (default, also for 0: 1)",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=distributed.TIMEOUT_S,
        help="seconds that a process waits for the others before all stop (default: %(default)g)",
    )
    args = parser.parse_args(argv)
    if args.processes > 1 and not distributed.started():
        given = sys.argv[1:] if argv is None else argv
        distributed.launch(["-m", "otcal.steps.train_tagger", *given], args.processes)
        return
    spec = cli.load_spec(args.spec, TrainSpec)
    with distributed.team(args.device, args.timeout) as (team, where):
        _train(args, spec, team, where)


def _train(args: Namespace, spec: TrainSpec, team: Team, where: torch.device) -> None:
    classes = spec.classes
    preprocessing = Preprocessing.from_json(read_json(args.preprocessing), args.preprocessing)
    inputs = [*args.jets, args.preprocessing]
    record = team.from_leader(
        lambda: provenance.record("train_tagger", spec.model_dump(), inputs, spec.seed)
    )

    args.output.parent.mkdir(parents=True, exist_ok=True)
    scratch = args.output.parent if spec.training.storage == "disk" else None
    samples = {}
    for split in ("train", "validation"):
        pieces = iterate_split(args.jets, preprocessing, classes, spec.splits.fractions(), split)
        samples[split] = load(pieces, scratch, team)
        require_all_classes(samples[split].labels, classes, split)

    torch.manual_seed(derive(spec.seed, "weights"))
    network = build(spec.architecture, preprocessing, classes).to(where)
    with workers(args.threads, where, team.neighbours) as each:
        trainee = TaggerTrainee(
            network,
            **samples,
            settings=spec.training,
            seed=spec.seed,
            device=where,
            each=each,
            team=team,
        )
        try:
            result = training.fit(
                trainee,
                steps=trainee.steps,
                evaluate_every=max(1, trainee.steps // spec.training.evaluations),
                monitor="validation_loss",
                label="tagger",
                patience=spec.training.patience,
                checkpoint_path=args.checkpoint,
                identity={
                    "code": fingerprint("otcal.steps.train_tagger"),
                    "spec": record["spec"],
                    "inputs": record["inputs"],
                },
                team=team,
            )
        except FloatingPointError as error:
            raise InputError(
                "config.yaml",
                "tagger.training.learning_rate",
                f"{spec.training.learning_rate:g} diverges ({error})",
                "Choose a smaller one",
            ) from None
    if not team.leads:
        return
    save_tagger(args.output, result.best_weights, spec.architecture, preprocessing, classes, record)
    with atomic_path(args.history) as temporary:
        pd.DataFrame(result.history).astype({"step": int}).to_csv(temporary, index=False)
    if args.checkpoint is not None:
        args.checkpoint.unlink(missing_ok=True)


if __name__ == "__main__":
    cli.run(main)
