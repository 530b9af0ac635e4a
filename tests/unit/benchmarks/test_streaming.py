"""What the benchmark of memory says of processes that are known."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest

from streaming_memory import growth, measure

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

HOLD_MB = 200


def test_memory_of_a_process_is_seen(tmp_path: Path) -> None:
    """Filled memory is anonymous; the pages of a mapped file are not."""
    size = HOLD_MB << 20
    (tmp_path / "file").write_bytes(bytes(size))
    idle = "import mmap, time; time.sleep(1)"
    filled = f"x = bytearray(b'1') * {size}; {idle}"
    mapped = (
        f"import mmap; f = open({str(tmp_path / 'file')!r}, 'rb');"
        f"m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ); sum(m[::4096]); {idle}"
    )
    peaks = [
        measure([sys.executable, "-c", code], tmp_path / "log") for code in (idle, filled, mapped)
    ]
    nothing, anonymous, shared = peaks
    assert anonymous.anonymous_mb - nothing.anonymous_mb == pytest.approx(HOLD_MB, abs=10)
    assert shared.anonymous_mb - nothing.anonymous_mb == pytest.approx(0, abs=10)
    assert shared.rss_mb - nothing.rss_mb == pytest.approx(HOLD_MB, abs=10)


def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no such thing"):
        measure([sys.executable, "-c", "raise SystemExit('no such thing')"], tmp_path / "log")


def test_growth_is_the_slope_between_the_sizes() -> None:
    table = pd.DataFrame(
        {"step": "a", "jets": [1 << 20, 3 << 20], "anonymous_mb": [100.0, 300.0]},
    )
    (row,) = growth(table).to_dict("records")
    assert row["bytes_per_jet"] == pytest.approx(100.0)
    assert row["mb_at_10_million"] == pytest.approx(100.0 * 1e7 / (1 << 20))
