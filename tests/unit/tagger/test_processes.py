"""Training in several processes, on the CPU: the same bits as in one, and an end when one ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from safetensors.torch import load_file, save_file
from support import trainees

LIMIT_S = 300
"""Of a command, so that one that hangs fails instead of blocking the tests."""


def run(
    output: Path, event: str = "none", processes: int = 2, timeout: float = 60, threads: int = 1
) -> subprocess.CompletedProcess[str]:
    checkpoint = output.with_name("checkpoint.safetensors")
    arguments = [output, checkpoint, event, processes, timeout, threads]
    return subprocess.run(
        [sys.executable, trainees.__file__, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> tuple[bytes, str]:
    """Weights and learning curve of one process."""
    _, result = trainees.train()
    path = tmp_path_factory.mktemp("alone") / "weights.safetensors"
    save_file(result.best_weights, path)
    return path.read_bytes(), pd.DataFrame(result.history).to_csv(index=False)


def assert_equal(output: Path, alone: tuple[bytes, str], processes: int) -> None:
    for rank in range(processes):
        assert Path(f"{output}.{rank}.csv").read_text() == alone[1]
        assert Path(f"{output}.{rank}.safetensors").read_bytes() == alone[0]


@pytest.mark.parametrize(("processes", "threads"), [(2, 1), (3, 2)])
def test_processes_leave_the_bits_of_one(tmp_path, alone, processes: int, threads: int) -> None:
    """Gradients are added in the order of the micro-batches: seven of them, for two or three."""
    done = run(tmp_path / "out", processes=processes, threads=threads)
    assert done.returncode == 0, done.stderr
    assert_equal(tmp_path / "out", alone, processes)
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_the_training_ends_early_everywhere(alone) -> None:
    """What the other tests compare: early stopping is part of it."""
    trainee, result = trainees.train()
    assert result.history[-1]["step"] < trainee.steps


def test_processes_that_have_nothing_to_do_are_named(tmp_path, alone) -> None:
    done = run(tmp_path / "out", processes=8)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("8 processes share the 7 micro-batches of a batch") == 1
    assert_equal(tmp_path / "out", alone, 8)


def test_a_stopped_training_continues_with_another_number_of_processes(tmp_path, alone) -> None:
    done = run(tmp_path / "out", event="stop")
    assert done.returncode == 1
    checkpoint = tmp_path / "checkpoint.safetensors"
    assert int(load_file(checkpoint)["/trainee/optimizer/state/0/step"]) == 5
    done = run(tmp_path / "out", processes=3)
    assert done.returncode == 0, done.stderr
    assert_equal(tmp_path / "out", alone, 3)
    assert not checkpoint.exists()


def test_a_process_that_dies_ends_the_training(tmp_path) -> None:
    done = run(tmp_path / "out", event="die")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("otcal: error: of 2 processes ended: ")
    assert "process 1 by SIGKILL" in last
    assert (tmp_path / "checkpoint.safetensors").exists()


def test_a_process_that_hangs_ends_the_training(tmp_path) -> None:
    done = run(tmp_path / "out", event="hang", timeout=10)
    assert done.returncode == 1
    assert "process 0 with status 1" in done.stderr.strip().splitlines()[-1]
    assert "Timed out" in done.stderr
