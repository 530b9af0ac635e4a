"""Signals that ask a step to stop: Slurm's before its time limit, or at a preemption.

Slurm sends them to the Snakemake inside a job, which knows nothing of them. `relay` has it pass
them on; steps are started deaf to them (``trap ''`` in front of their command), so that they reach
a fit, which keeps its state (`deferred`), and end nothing else before its time.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

WARNINGS = (signal.SIGUSR1, signal.SIGUSR2)
"""Those that `sbatch --signal` can be told to send some time before the end."""

SIGNALS = (signal.SIGTERM, *WARNINGS)
"""What a fit takes as a wish that it stops."""

log = logging.getLogger(__name__)
_allowed = False


def relay() -> None:
    """From now on pass `WARNINGS` on to all that this process has started, and live on.

    For the Snakemake of a job; in the main thread only.
    """
    import psutil  # a dependency of Snakemake, not of the steps

    def pass_on(number: int, _: object) -> None:
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
                process.send_signal(number)

    for number in WARNINGS:
        signal.signal(number, pass_on)


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
    what happened to signals before is what happens again when the block ends. Another's handlers
    stay.

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
    before = {}
    if _allowed and threading.current_thread() is threading.main_thread():
        handlers = {number: signal.getsignal(number) for number in SIGNALS}
        before = {n: h for n, h in handlers.items() if h in (signal.SIG_DFL, signal.SIG_IGN)}
    for number in before:
        signal.signal(number, lambda number, _: received.append(number))
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if received:
            name = signal.Signals(received[0]).name
            rest = f"the same command continues from {kept}" if kept else "nothing is kept of it"
            log.warning("stopped by %s; %s", name, rest)
            raise SystemExit(128 + received[0])
