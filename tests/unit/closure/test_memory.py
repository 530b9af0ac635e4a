"""The discriminators' jets do not have to fit into memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from streaming_memory import make_latents
from support import limited

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")

JETS = 300_000
LAYER_MB = JETS * 128 * 4 >> 20
"""One layer of a file, of which samples, folds and pairs would be seven in memory.

Buffers of the libraries vary by some 60 MB from run to run.
"""


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> list[Path]:
    root = tmp_path_factory.mktemp("memory")
    result = [root / "small.parquet", root / "large.parquet"]
    for path, jets in zip(result, (20_000, JETS), strict=True):
        make_latents(path, jets, 1)
    return result


def run(paths: list[Path], scratch: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, limited.__file__, *map(str, paths), str(LAYER_MB), scratch],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_layer_may_be_larger_than_the_memory(paths, tmp_path) -> None:
    """Three files, their folds and pairs are used in the memory of one layer of one file."""
    done = run(paths, str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0.9 * JETS  # half of both samples are the training fold
    assert not list(tmp_path.iterdir())


def test_the_limit_is_one(paths) -> None:
    """In memory the same jets do not fit, so that the test above means something."""
    done = run(paths, "-")
    assert done.returncode != 0
    assert "alloc" in done.stderr or "MemoryError" in done.stderr
