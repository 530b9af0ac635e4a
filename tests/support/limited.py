"""Prepare a discriminator's jets under a limit on memory: `limited.py SMALL LARGE MB SCRATCH`.

All is done once with SMALL, so that libraries have their threads and buffers, then with LARGE and
MB more than the process has by then. Mapped files do not count. SCRATCH is a directory or `-`.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch

from otcal.closure import networks
from otcal.closure.discriminators import prepare
from otcal.closure.jets import read_sample
from otcal.closure.networks import Discriminator
from otcal.config.closure import JetSelection, MlpSpec
from otcal.runtime import scratch as files

FRACTIONS = {"train": 0.0, "validation": 0.0, "test": 1.0}


def use(path: Path, scratch: Path | None) -> int:
    """Do what a fit does with all of its jets; return their number."""
    selection = JetSelection(fractions=FRACTIONS)
    names = ("source", "target", "calibrated")
    samples = {name: read_sample(path, ["z128"], selection, scratch) for name in names}
    task = prepare(samples, "z128", "nominal")
    model = Discriminator(128, MlpSpec(width=4, hidden_layers=0))
    model.standardise(torch.from_numpy(task.train.x))
    for inputs in task.inputs.values():
        model.predict(inputs)
    return len(task.train.x)


def data_mb() -> int:
    """Return the size of the process' own memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmData"))


def main() -> None:
    small, large, limit, scratch = sys.argv[1:]
    # Small pieces, so that a small file is many of them.
    networks.PIECE = networks._PREDICT = 1024
    files.slices.__defaults__ = (1024,)
    torch.set_num_threads(1)
    place = None if scratch == "-" else Path(scratch)
    use(Path(small), place)
    most = (data_mb() + int(limit)) << 20
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    print(use(Path(large), place))


if __name__ == "__main__":
    main()
