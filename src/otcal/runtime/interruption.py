"""Signals that ask a step to stop: Slurm's before its time limit, or at a preemption."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""SIGTERM, and those that `sbatch --signal` can be told to send."""

log = logging.getLogger(__name__)
_allowed = False


@contextmanager
def graceful() -> Iterator[None]:
    """Let `deferred` take over signals inside this block; for a command line's main function.

    Without it `deferred` does nothing: a library does not change its user's signal handlers.
    """
    global _allowed
    _allowed = True
    try:
        yield
    finally:
        _allowed = False


@contextmanager
def deferred(kept: Path | None) -> Iterator[Callable[[], bool]]:
    """Hold back `SIGNALS` until the block ends; yield a function that says whether one has come.

    The block should then end soon and leave its state in `kept`. Further signals change nothing;
    the handlers of before are back when the block ends.

    Parameters
    ----------
    kept
        File from which the same command continues, for the message; None when there is none.

    Raises
    ------
    SystemExit
        At the end of a block in which a signal has come: status 128 + its number, as for a process
        that dies of it.
    """
    received: list[int] = []
    mine = []
    if _allowed and threading.current_thread() is threading.main_thread():
        mine = [number for number in SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
    for number in mine:
        signal.signal(number, lambda number, _: received.append(number))
    try:
        yield lambda: bool(received)
    finally:
        for number in mine:
            signal.signal(number, signal.SIG_DFL)
        if received:
            name = signal.Signals(received[0]).name
            rest = f"the same command continues from {kept}" if kept else "nothing is kept of it"
            log.warning("stopped by %s; %s", name, rest)
            raise SystemExit(128 + received[0])
