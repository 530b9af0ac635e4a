"""A small training in several processes, as a script:
`python trainees.py OUTPUT CHECKPOINT EVENT PROCESSES TIMEOUT THREADS`.

It trains on random numbers in the shape of jets and writes the weights. EVENT says what
happens to process 1 in step 5: `none`, `die`, `hang`, or the name of a signal to its launcher; with
`refuse` process 0 ends all before the training, and each writes whether it has left the group.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from otcal.config.tagger import Training
from otcal.runtime import interruption
from otcal.runtime.distributed import ALONE, Team, launch, started, team
from otcal.runtime.training import Result, fit
from otcal.tagger.batches import workers
from otcal.tagger.constituents import Jets, offsets_of
from otcal.tagger.network import Tagger
from otcal.tagger.training import TaggerTrainee

CPU = torch.device("cpu")
SETTINGS = Training(
    epochs=4,
    batch_size=50,
    micro_batch=8,
    learning_rate=3e-2,
    warmup_steps=2,
    precision="float32",
    patience=1,
)


def jets(count: int, seed: int) -> Jets:
    """Return random jets whose labels hang on their first feature."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 20, count)
    features = rng.normal(size=(count, 5)).astype(np.float32)
    return Jets(
        values=rng.normal(size=(int(lengths.sum()), 7)).astype(np.float32),
        kinds=rng.integers(0, 8, int(lengths.sum())).astype(np.uint8),
        offsets=offsets_of(lengths),
        features=features,
        labels=np.digitize(features[:, 0], [-0.5, 0.5]).astype(np.int8),
        ids=np.arange(count),
    )


class Disturbed(TaggerTrainee):
    """Suffers `event` in step 5."""

    event = "none"

    def step(self, number: int) -> Mapping[str, float]:
        if number == 5 and self.team.rank == 1:
            if self.event == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.event == "hang":
                time.sleep(3600)
            if self.event.startswith("SIG"):
                os.kill(os.getppid(), signal.Signals[self.event])
        return super().step(number)


def trainee(group: Team = ALONE) -> Disturbed:
    """Return what the processes of `group` train."""
    torch.manual_seed(5)
    network = Tagger(
        constituent_features=7,
        jet_features=5,
        classes=3,
        d_model=16,
        blocks=1,
        heads=2,
        expansion=2,
        dropout=0.1,
        head=[16, 16, 16],
    )
    samples = jets(300, 1), jets(100, 2)
    return Disturbed(network, *samples, SETTINGS, seed=7, device=CPU, each=map, team=group)


def train(
    group: Team = ALONE, checkpoint: Path | None = None, event: str = "none", threads: int = 1
) -> tuple[Disturbed, Result]:
    """Train in the processes of `group`."""
    one = trainee(group)
    with workers(threads, CPU, group.neighbours) as each:
        one.each, one.event = each, event
        result = fit(
            one,
            steps=one.steps,
            evaluate_every=3,
            monitor="validation_loss",
            label="trainee",
            patience=SETTINGS.patience,
            checkpoint_path=checkpoint,
            checkpoint_every_s=0.0,
            team=group,
        )
    return one, result


def main() -> None:
    output, checkpoint, event, processes, timeout, threads = sys.argv[1:]
    if not started():
        launch([__file__, *sys.argv[1:]], int(processes))
        return
    with interruption.graceful(), team("cpu", float(timeout)) as (group, _):
        if event == "refuse":
            try:
                group.from_leader(lambda: sys.exit(2))
            finally:
                left = not torch.distributed.is_initialized()
                Path(f"{output}.{group.rank}.json").write_text(json.dumps(left), encoding="utf-8")
        _, result = train(group, Path(checkpoint), event, int(threads))
        # Every process writes what it has come to.
        path = f"{output}.{group.rank}"
        save_file(result.best_weights, f"{path}.safetensors")
        Path(f"{path}.json").write_text(json.dumps(result.history), encoding="utf-8")


if __name__ == "__main__":
    main()
