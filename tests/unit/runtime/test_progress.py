"""Progress in a log: plain lines with rate and remaining time, not too many."""

from __future__ import annotations

import re

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
