"""Signals that ask to stop: what a step does with them, and that nobody else's handlers change."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from otcal.runtime.interruption import SIGNALS, WARNINGS, deferred, graceful


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in SIGNALS]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_block_and_then_the_process(
    number: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    before, done = handlers(), []

    def fit() -> None:
        with deferred(Path("c.safetensors")) as asked_to_stop:
            assert not asked_to_stop()
            signal.raise_signal(number)
            assert asked_to_stop()
            done.append("kept")

    with graceful(), pytest.raises(SystemExit) as ended:
        fit()
    assert done == ["kept"]
    assert ended.value.code == 128 + number
    assert caplog.messages == [
        f"stopped by {number.name}; the same command continues from c.safetensors"
    ]
    assert handlers() == before


def test_further_signals_change_nothing(caplog: pytest.LogCaptureFixture) -> None:
    done = []

    def fit() -> None:
        with deferred(None):
            for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGTERM):
                signal.raise_signal(number)
            done.append("kept")

    with graceful(), pytest.raises(SystemExit) as ended:
        fit()
    assert done == ["kept"]
    assert ended.value.code == 128 + signal.SIGUSR1
    assert caplog.messages == ["stopped by SIGUSR1; nothing is kept of it"]


def test_a_block_that_nobody_interrupts_ends_as_ever() -> None:
    before = handlers()
    with graceful():
        with deferred(None) as asked_to_stop:
            assert handlers() != before
        assert not asked_to_stop()
        assert handlers() == before


def test_a_failure_puts_the_handlers_back() -> None:
    before = handlers()
    with graceful(), pytest.raises(KeyError), deferred(None):
        raise KeyError
    assert handlers() == before


def test_a_library_call_leaves_the_handlers_alone() -> None:
    before = handlers()
    with deferred(None):
        assert handlers() == before


def test_somebodys_own_handler_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    received = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: received.append(number))
    try:
        with graceful(), deferred(None) as asked_to_stop:
            signal.raise_signal(signal.SIGUSR1)
            assert not asked_to_stop()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert received == [signal.SIGUSR1]


def test_another_thread_leaves_the_handlers_alone() -> None:
    before, seen = handlers(), []

    def fit() -> None:
        with deferred(None):
            seen.append(handlers())

    with graceful():
        thread = threading.Thread(target=fit)
        thread.start()
        thread.join()
    assert seen == [before]


def test_a_command_says_so_and_dies_with_the_signals_status() -> None:
    script = (
        "import signal\n"
        "from pathlib import Path\n"
        "from otcal.runtime import cli, interruption\n"
        "def main(argv):\n"
        "    with interruption.deferred(Path('c')):\n"
        "        signal.raise_signal(signal.SIGTERM)\n"
        "        print('kept')\n"
        "    print('never')\n"
        "cli.run(main)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 128 + signal.SIGTERM
    assert done.stdout == "kept\n"
    assert done.stderr == "stopped by SIGTERM; the same command continues from c\n"


def test_outside_a_fit_a_signal_ends_the_command_at_once() -> None:
    script = (
        "import signal\n"
        "from otcal.runtime import cli\n"
        "def main(argv):\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
        "    print('never')\n"
        "cli.run(main)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == -signal.SIGTERM
    assert done.stdout == ""


FIT = """
import sys, time
from pathlib import Path
from otcal.runtime import cli, interruption
begins, told, fits = map(Path, sys.argv[1:])
def main(argv):
    begins.touch()
    while not told.exists():
        time.sleep(0.01)
    with interruption.deferred(Path("c")) as asked_to_stop:
        fits.touch()
        while not asked_to_stop():
            time.sleep(0.01)
cli.run(main)
"""
JOB = """
import subprocess, sys
from otcal.runtime.interruption import relay
relay()
deaf = "trap '' USR1 USR2; echo ready; exec "
pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
other = subprocess.Popen(["sh", "-c", deaf + "cat"], **pipes)
other.stdout.readline()
fit = subprocess.Popen(["sh", "-c", deaf + '"$@"', "sh", *sys.argv[1:]], **pipes)
print(fit.wait(), flush=True)
print(other.communicate(b"lives")[0].decode())
"""


@pytest.mark.parametrize("number", WARNINGS)
def test_a_jobs_snakemake_hands_a_warning_to_its_fits_and_ends_nothing_else(
    tmp_path: Path, number: signal.Signals
) -> None:
    begins, told, fits = (tmp_path / name for name in ("begins", "told", "fits"))
    command = [sys.executable, "-c", JOB, sys.executable, "-c", FIT, begins, told, fits]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as job:
        for moment, answer in ((begins, told), (fits, None)):
            while not moment.exists() and job.poll() is None:
                time.sleep(0.01)
            job.send_signal(number)
            if answer:
                answer.touch()
        assert job.communicate() == (
            f"{128 + number}\nlives\n",
            f"stopped by {number.name}; the same command continues from c\n",
        )
