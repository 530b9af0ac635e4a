"""Steps in processes of their own that die at a chosen call of the project's functions.

Progress is counted in events of Python's profiler, not in seconds: a seed chooses the same moments
on any machine, however busy it is.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from ctypes import c_long
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

STEPS = (
    "train_tagger",
    "fit_map",
    "pretrain_flows",
    "extract_components",
    "fit_flavour_map",
    "vary_flavour_maps",
    "train_discriminator",
)
MOST = 10_000
HASHES = "otcal.runtime.fingerprint"


@dataclass(frozen=True)
class Run:
    """How a step went.

    Attributes
    ----------
    status
        Exit status; minus the signal's number for a process that died of one.
    events
        Calls and returns of the project's functions, and their calls of others.
    saves
        Numbers of events at which a checkpoint began to be written.
    log
        What it wrote to standard error.
    """

    status: int
    events: int
    saves: list[int]
    log: str


def run(
    step: str,
    arguments: Sequence[str],
    log: Path,
    dies_at: int = -1,
    number: signal.Signals = signal.SIGKILL,
) -> Run:
    """Run a step's command line, checkpoints after every step of its fits; `dies_at` an event."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([f"otcal.steps.{name}" for name in STEPS])
    # Shared, so that it is known of a killed process as well: events, saves, event of each save.
    counts = context.RawArray(c_long, 2 + MOST)
    process = context.Process(
        target=_run, args=(step, list(arguments), log, dies_at, number, counts)
    )
    process.start()
    process.join()
    assert process.exitcode is not None
    saves = list(counts[2 : 2 + counts[1]])
    return Run(process.exitcode, counts[0], saves, log.read_text())


def _run(
    step: str, arguments: list[str], log: Path, dies_at: int, number: int, counts: Any
) -> None:
    with log.open("w") as stream:
        os.dup2(stream.fileno(), 2)
    os.environ["OTCAL_CHECKPOINT_EVERY_S"] = "0"
    module = importlib.import_module(f"otcal.steps.{step}")
    from otcal.runtime import checkpoint, cli

    saving = checkpoint.save.__code__

    def count(frame: FrameType, event: str, _: object) -> None:
        name = frame.f_globals.get("__name__", "")
        # A hash of code takes fewer calls once it is kept.
        if event == "c_return" or not name.startswith("otcal.") or name == HASHES:
            return
        counts[0] += 1
        if event == "call" and frame.f_code is saving:
            counts[2 + counts[1]] = counts[0]
            counts[1] += 1
        if counts[0] == dies_at:
            os.kill(os.getpid(), number)

    sys.argv = [step, *arguments]
    sys.setprofile(count)
    try:
        cli.run(module.main)
    finally:
        sys.setprofile(None)
