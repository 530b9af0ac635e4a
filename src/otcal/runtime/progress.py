"""Progress for people at a terminal and for people who read a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

LOG_INTERVAL_S = 15.0


class Progress:
    """Counts work done; a bar on a terminal, a plain line now and then elsewhere.

    Both show the rate and the remaining time.
    """

    def __init__(
        self, total: float, label: str, unit: str, done: float = 0, shown: bool = True
    ) -> None:
        self.total, self.label, self.unit = total, label, unit
        self.done = self.first = done
        self.start = self.last = time.monotonic()
        self.note = ""
        self.shown = shown
        self.bar: tqdm | None = None
        if shown and sys.stderr.isatty():
            self.bar = tqdm(total=total, desc=label, unit=unit, initial=done, unit_scale=True)

    def advance(self, amount: float = 1, note: str = "", total: float | None = None) -> None:
        """Add `amount`; `note` is shown behind the numbers, `total` replaces what is expected."""
        self.done += amount
        self.note = note or self.note
        self.total = self.total if total is None else total
        if self.bar is not None:
            self.bar.total = self.total
            if note:
                self.bar.set_postfix_str(note, refresh=False)
            self.bar.update(amount)
        elif time.monotonic() - self.last > LOG_INTERVAL_S:
            self._line()

    def close(self) -> None:
        """Finish the bar, or write the last line."""
        if self.bar is not None:
            self.bar.close()
        else:
            self._line()

    def _line(self) -> None:
        self.last = time.monotonic()
        if not self.shown:
            return
        elapsed = max(self.last - self.start, 1e-9)
        rate = (self.done - self.first) / elapsed
        left = f"{(self.total - self.done) / rate:.0f} s left" if rate > 0 else "rate unknown"
        text = (
            f"{self.label}: {self.done:g}/{self.total:g} {self.unit}, "
            f"{rate:.3g} {self.unit}/s, {elapsed:.0f} s elapsed, {left}"
        )
        print(f"{text}; {self.note}" if self.note else text, file=sys.stderr, flush=True)


@contextmanager
def progress(
    total: float, label: str, unit: str, done: float = 0, shown: bool = True
) -> Iterator[Progress]:
    """Yield a `Progress` that closes with the block; one that is not `shown` is silent."""
    bar = Progress(total, label, unit, done, shown)
    try:
        yield bar
    finally:
        bar.close()
