"""Progress: a bar on a terminal, not too many plain lines in a log; rate and time left in both."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from otcal.runtime import progress as module
from otcal.runtime.progress import progress


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    result = Clock()
    monkeypatch.setattr(module, "time", result)
    monkeypatch.setattr("sys.stderr.isatty", lambda: False, raising=False)
    return result


def test_lines_have_rate_elapsed_and_remaining_time(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress(400, "simulate", "jets") as bar:
        clock.now += 20
        bar.advance(100, note="loss 0.5")
        clock.now += 60
        bar.advance(300)
    assert capsys.readouterr().err.splitlines() == [
        "simulate: 100/400 jets, 5 jets/s, 20 s elapsed, 60 s left; loss 0.5",
        "simulate: 400/400 jets, 5 jets/s, 80 s elapsed, 0 s left; loss 0.5",
        "simulate: 400/400 jets, 5 jets/s, 80 s elapsed, 0 s left; loss 0.5",
    ]


def test_the_total_may_change(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress(400, "fit", "steps") as bar:
        clock.now += 20
        bar.advance(100, total=200)
    assert capsys.readouterr().err.splitlines()[-1] == (
        "fit: 100/200 steps, 5 steps/s, 20 s elapsed, 20 s left"
    )


def test_a_line_every_fifteen_seconds_and_one_at_the_end(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress(1000, "fit", "steps") as bar:
        for _ in range(1000):
            clock.now += 0.1
            bar.advance()
    lines = capsys.readouterr().err.splitlines()
    assert 6 <= len(lines) <= 8  # 100 s
    assert lines[-1].startswith("fit: 1000/1000 steps, 10 steps/s, 100 s elapsed")
    assert not any(re.search(r"[\r\x1b█]", line) for line in lines)


def test_the_rate_counts_only_this_run(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress(100, "fit", "steps", done=90) as bar:
        clock.now += 10
        bar.advance(5)
    assert capsys.readouterr().err == ("fit: 95/100 steps, 0.5 steps/s, 10 s elapsed, 10 s left\n")


def test_nothing_done_has_no_rate(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress(10, "fit", "steps"):
        clock.now += 5
    assert "rate unknown" in capsys.readouterr().err


def test_the_last_line_is_written_when_the_work_fails(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        with progress(10, "fit", "steps") as bar:
            clock.now += 1
            bar.advance(3)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    assert capsys.readouterr().err.startswith("fit: 3/10 steps, 3 steps/s")


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Make standard error a terminal of 100 columns; what it shows is read from the descriptor."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    with os.fdopen(theirs, "w", encoding="utf-8") as stream, monkeypatch.context() as patch:
        patch.setattr("sys.stderr", stream)
        yield ours
    os.close(ours)


def test_a_terminal_shows_a_bar_with_rate_and_remaining_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with terminal(monkeypatch) as screen:
        with progress(400, "fit", "steps") as bar:
            time.sleep(0.2)
            bar.advance(8, note="loss 0.5")
            time.sleep(0.2)
            bar.advance(392)
        time.sleep(0.2)  # the system hands the text on in its own time
        shown = os.read(screen, 100_000).decode()
    line = re.search(
        r"\rfit: +2%\|[█▏▎▍▌▋▊▉ ]+\| 8\.00/400 "
        r"\[00:\d\d<(\d\d):(\d\d), +([\d.]+)steps/s, loss 0\.5\]",
        shown,
    )
    assert line is not None, shown
    left, rate = 60 * int(line[1]) + int(line[2]), float(line[3])
    assert left == pytest.approx(392 / rate, abs=1 + 0.02 * left)
    assert "fit: 100%" in shown
    assert "400/400" in shown
    assert "elapsed" not in shown  # a word of the plain lines


def test_a_file_gets_plain_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOG_INTERVAL_S", 0.0)
    with (tmp_path / "log").open("w") as stream:
        monkeypatch.setattr("sys.stderr", stream)
        with progress(4, "fit", "steps") as bar:
            bar.advance(1)
            bar.advance(3, note="loss 0.5")
    lines = (tmp_path / "log").read_text().split("\n")
    assert len(lines) == 4  # two, the last one again, and the end of the file
    assert re.fullmatch(r"fit: 1/4 steps, \S+ steps/s, 0 s elapsed, 0 s left", lines[0])
    assert re.fullmatch(r"fit: 4/4 steps, \S+ steps/s, 0 s elapsed, 0 s left; loss 0\.5", lines[1])
    assert lines[3] == ""
