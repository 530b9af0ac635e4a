"""Training in several processes, on the CPU: the same bits as in one, and an end when one ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from otcal.runtime.distributed import Team, team
from otcal.runtime.errors import InputError
from support import trainees

pytestmark = pytest.mark.heavy

LIMIT_S = 600
"""Of a command, so that one that hangs fails instead of blocking the tests."""


def run(
    output: Path, event: str = "none", processes: int = 2, timeout: float = 240, threads: int = 1
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
def alone(tmp_path_factory) -> tuple[bytes, list[dict[str, float]]]:
    """Weights and learning curve of one process, which ends early."""
    trainee, result = trainees.train()
    assert result.history[-1]["step"] < trainee.steps
    path = tmp_path_factory.mktemp("alone") / "weights.safetensors"
    save_file(result.best_weights, path)
    return path.read_bytes(), result.history


def assert_equal(output: Path, alone: tuple[bytes, list[dict[str, float]]], processes: int) -> None:
    for rank in range(processes):
        assert json.loads(Path(f"{output}.{rank}.json").read_text()) == alone[1]
        assert Path(f"{output}.{rank}.safetensors").read_bytes() == alone[0]


def test_processes_leave_the_bits_of_one(tmp_path, alone) -> None:
    """Gradients are added in the order of the micro-batches: seven of them, for three."""
    done = run(tmp_path / "out", processes=3, threads=6)
    assert done.returncode == 0, done.stderr
    assert_equal(tmp_path / "out", alone, 3)


def test_a_training_that_lost_a_process_continues_with_another_number(tmp_path, alone) -> None:
    done = run(tmp_path / "out", event="die")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("otcal: error: of 2 processes ended: ")
    assert "process 1 by SIGKILL" in last
    checkpoint = tmp_path / "checkpoint.safetensors"
    assert int(load_file(checkpoint)["/trainee/optimizer/state/0/step"]) == 5
    done = run(tmp_path / "out", processes=3)
    assert done.returncode == 0, done.stderr
    assert_equal(tmp_path / "out", alone, 3)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGUSR2"])
def test_a_signal_to_the_launcher_lets_all_processes_keep_their_state(
    tmp_path, alone, name: str
) -> None:
    done = run(tmp_path / "out", event=name)
    assert done.returncode == 128 + signal.Signals[name]
    assert f"stopped by {name}; the same command continues from" in done.stderr
    checkpoint = tmp_path / "checkpoint.safetensors"
    assert int(load_file(checkpoint)["/trainee/optimizer/state/0/step"]) >= 6
    done = run(tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert_equal(tmp_path / "out", alone, 2)


def test_a_process_that_hangs_ends_the_training(tmp_path) -> None:
    done = run(tmp_path / "out", event="hang", timeout=30)
    assert done.returncode == 1
    assert "process 0 with status 1" in done.stderr.strip().splitlines()[-1]
    assert "Timed out" in done.stderr


def test_processes_that_the_leader_ends_leave_their_group_first(tmp_path) -> None:
    """Threads of a group that is left to the interpreter's end abort the process now and then."""
    done = run(tmp_path / "out", event="refuse", processes=3)
    assert done.returncode == 2, done.stderr
    for rank in range(3):
        assert json.loads((tmp_path / f"out.{rank}.json").read_text()) is True


def test_processes_without_work_are_named(caplog) -> None:
    trainees.trainee(Team(0, 8))
    assert "8 processes share the 7 micro-batches of a batch" in caplog.text


def test_a_node_with_too_few_gpus_is_named(monkeypatch) -> None:
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, "0")
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, "4")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match=r"gpus: 4 processes .* 2 can be used"), team("cuda"):
        pass
