"""A disk that is full during a run: nothing half-written counts, and the same command goes on."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from support.checkout import SMOKE, Checkout, copy_project

pytestmark = pytest.mark.heavy

SHARDS = ("ttbar", "ttbar_charm")
PREPROCESSING = "results/smoke/simplex/tagger/preprocessing.json"
PRESETS = (SMOKE, "tests/slurm/tiny.yaml")
SPACE = 150 << 10
"""Bytes that there are: the shards have 85 and 238 kB."""


def mount(place: Path, options: str) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[Checkout]:
    """A project whose results are on a disk with little room."""
    project = copy_project(tmp_path / "otcal")
    place = project.path / "results"
    if not mount(place, f"size={SPACE}"):
        pytest.skip("mounting a small disk needs root")
    try:
        yield project
    finally:
        subprocess.run(["umount", str(place)], check=True)


def made(project: Checkout) -> dict[str, bytes]:
    """Return the bytes of the files that the run makes, as far as they are there."""
    shards = (f"results/smoke/simplex/jets/training/{name}/0.parquet" for name in SHARDS)
    paths = {name: project.path / name for name in (*shards, PREPROCESSING)}
    return {name: path.read_bytes() for name, path in paths.items() if path.exists()}


def test_a_run_on_a_full_disk_goes_on_when_there_is_room(crowded: Checkout, tmp_path: Path) -> None:
    failed = crowded.snakemake(PREPROCESSING, presets=PRESETS)
    assert failed.returncode != 0
    assert "cannot be written (No space left on device). Free space" in failed.stderr
    before = made(crowded)
    assert len(before) < 3
    files = [path for path in (crowded.path / "results").rglob("*") if path.is_file()]
    for shard in (path for path in files if path.suffix == ".parquet"):
        assert pq.read_table(shard).num_rows in (200, 600)
    assert not list((crowded.path / "results").rglob(".*.part"))

    assert mount(crowded.path / "results", "remount,size=64m")
    done = crowded.snakemake(PREPROCESSING, presets=PRESETS)
    assert done.returncode == 0, done.stderr[-3000:]
    after = made(crowded)
    assert before.items() <= after.items()
    whole = copy_project(tmp_path / "other")
    assert whole.snakemake(PREPROCESSING, presets=PRESETS).returncode == 0
    assert after == made(whole)
