"""Several processes that compute one fit together, one per GPU: start them, and let them meet.

`launch` starts processes on this node by torch's own launcher. By hand the same launcher
(``torchrun``) starts them on several nodes; `team` reads the environment that it sets.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed

from otcal.runtime import device, interruption
from otcal.runtime.errors import InputError

Value = TypeVar("Value")

_PLACE = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")

_FORWARDED = (*interruption.SIGNALS, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)

STOPPING_S = 90
"""How long stopped processes may take for their step and a checkpoint, before they are killed."""

TIMEOUT_S = 3600.0
"""How long a process waits for the others: longer than the slowest of them takes to read."""


@dataclass(frozen=True)
class Team:
    """Processes that meet in the methods below: all of them call each in the same order.

    Attributes
    ----------
    rank
        Number of this process, from 0.
    size
        Number of processes; alone, no method does anything.
    place
        Number of this process among those of its node.
    neighbours
        Number of processes on its node.
    """

    rank: int = 0
    size: int = 1
    place: int = 0
    neighbours: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes files."""
        return self.rank == 0

    def wait(self) -> None:
        """Return when all processes have come here."""
        self.sum(np.zeros(1, dtype=np.float32))

    def from_leader(self, make: Callable[[], Value]) -> Value:
        """Return in all processes what `make` returns in the one that leads; it alone calls it.

        A user's mistake that it finds ends all of them; the leader says which.
        """
        if self.size == 1:
            return make()
        box: list[Any] = [None, False]
        try:
            if self.leads:
                box = [make(), True]
        finally:
            distributed.broadcast_object_list(box)
            if not box[1]:
                # All are here, and all leave: a group that is still there when the interpreter
                # ends can abort the process, whose status then isn't that of a user's mistake.
                self.wait()
                distributed.destroy_process_group()
        value, made = box
        if not made:
            sys.exit(2)
        return cast(Value, value)

    def gather(self, row: Tensor) -> Tensor:
        """Return the rows (D,) of all processes in the order of their ranks, (size, D)."""
        if self.size == 1:
            return row[None]
        rows = row.new_empty(self.size * len(row))
        distributed.all_gather_single(rows, row)
        return rows.view(self.size, len(row))

    def sum(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the sum over all processes of arrays of one shape."""
        if self.size == 1:
            return values
        total = torch.from_numpy(values.copy())
        distributed.all_reduce(total)
        return total.numpy()

    def any(self, mine: bool) -> bool:
        """Return whether the answer of any process is yes."""
        return bool(self.sum(np.array([mine], dtype=np.float32))[0] > 0)


ALONE = Team()
"""The only process of a fit."""


def started() -> bool:
    """Say whether a launcher started this process as one of several."""
    return all(name in os.environ for name in _PLACE) and int(os.environ["WORLD_SIZE"]) > 1


@contextmanager
def team(name: str, timeout_s: float = TIMEOUT_S) -> Iterator[tuple[Team, torch.device]]:
    """Yield the processes that a launcher started together, and the device of this one.

    Parameters
    ----------
    name
        Device as `otcal.runtime.device.resolve` takes it; of several GPUs of a node every process
        has its own.
    timeout_s
        After so many seconds of waiting for another process this one fails.

    Raises
    ------
    InputError
        When there are fewer GPUs than processes on this node, or devices that cannot meet.
    """
    if not started():
        yield ALONE, device.resolve(name)
        return
    rank, size, place, neighbours = (int(os.environ[key]) for key in _PLACE)
    where = _own(device.resolve(name), place, neighbours)
    # Objects and arrays of the host meet through gloo, whatever the device.
    backend = "cpu:gloo,cuda:nccl" if where.type == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=timedelta(seconds=timeout_s))
    yield Team(rank, size, place, neighbours), where
    # Not after an error of one: it would wait for the others, which wait for this process.
    distributed.destroy_process_group()


def launch(command: Sequence[str], processes: int) -> None:
    """Run a Python command in several processes of this node; return when all have succeeded.

    When one fails, the others are stopped. Termination signals reach all of them.

    Parameters
    ----------
    command
        Arguments of the interpreter, such as ``["-m", "otcal.steps.train_tagger", ...]``.
    processes
        Their number.

    Raises
    ------
    SystemExit
        When a process fails: with status 2 when it was a user's mistake, which it has named itself,
        else with a line that says which processes ended how.
    """
    # Only who starts processes needs the launcher.
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # The launcher replaces these for good.
    handlers = {number: signal.getsignal(number) for number in _FORWARDED}
    # One per process, as torchrun sets it, but without its warning.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        with tempfile.TemporaryDirectory() as logs:  # which it would else leave behind
            config = LaunchConfig(
                min_nodes=1,
                max_nodes=1,
                nproc_per_node=processes,
                run_id=uuid.uuid4().hex,
                rdzv_backend="c10d",
                rdzv_endpoint="localhost:0",
                max_restarts=0,
                shutdown_timeout=STOPPING_S,
                logs_specs=DefaultLogsSpecs(log_dir=logs),
                signals_to_handle=",".join(number.name for number in _FORWARDED),
            )
            elastic_launch(config, sys.executable)(*command)
    except ChildFailedError as error:
        if any(failure.exitcode == 2 for failure in error.failures.values()):
            sys.exit(2)
        ends = ", ".join(
            f"process {rank} by {failure.signal_name()}"
            if failure.exitcode < 0
            else f"process {rank} with status {failure.exitcode}"
            for rank, failure in sorted(error.failures.items())
        )
        sys.exit(f"otcal: error: of {processes} processes ended: {ends}; the others were stopped")
    except SignalException as stopped:
        sys.exit(128 + stopped.sigval)
    finally:
        for number, handler in handlers.items():
            if handler is not None:  # one of C code, which Python cannot put back
                signal.signal(number, handler)


def _own(where: torch.device, place: int, neighbours: int) -> torch.device:
    """Return the device of one of the processes of this node."""
    if where.type == "cpu":
        return where
    there = torch.cuda.device_count() if where.type == "cuda" else 0
    if there < neighbours:
        raise InputError(
            "config",
            "tagger.gpus",
            f"{neighbours} processes on this node need a GPU each, {there} can be used together",
            "Choose fewer, or ask the batch system for more",
        )
    own = torch.device("cuda", place)
    torch.cuda.set_device(own)
    return own
