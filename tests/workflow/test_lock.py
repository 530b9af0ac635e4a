"""Two workflows in one directory, and one whose whole job gets a signal: nothing half is left."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import psutil
import pyarrow.parquet as pq
import pytest

from support.checkout import SMOKE, Checkout

SHARD = "results/smoke/latent/jets/training/QCD/0.parquet"
WAIT_S = 600.0


@pytest.fixture
def running(checkout: Checkout) -> Iterator[subprocess.Popen[bytes]]:
    """A workflow that simulates one shard, in a process group of its own."""
    command = ["snakemake", "--cores", "1", SHARD, "--configfile", SMOKE]
    process = subprocess.Popen(
        command,
        cwd=checkout.path,
        env=checkout.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert process.poll() is None, "the workflow ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_whole(checkout: Checkout) -> bool:
    folder = (checkout.path / SHARD).parent
    names = [path.name for path in folder.iterdir()]
    return names == ["0.parquet"] and pq.read_metadata(checkout.path / SHARD).num_rows == 120


def test_a_second_workflow_refuses_and_the_first_one_ends(
    checkout: Checkout, running: subprocess.Popen[bytes]
) -> None:
    locks = checkout.path / ".snakemake/locks"
    wait_for(lambda: locks.is_dir() and any(locks.iterdir()), running)
    os.killpg(running.pid, signal.SIGSTOP)  # however slow the second one is
    assert any(locks.iterdir()), "ended before it could be stopped"
    second = checkout.snakemake(SHARD)
    assert second.returncode != 0
    said = second.stdout + second.stderr
    assert "LockException" in said
    assert "Directory cannot be locked" in said
    assert not (checkout.path / SHARD).exists()

    os.killpg(running.pid, signal.SIGCONT)
    assert running.wait(WAIT_S) == 0
    assert is_whole(checkout)
    # The lock went with its owner, and the file is known to be whole.
    assert checkout.planned(SHARD) == {}


def test_a_second_workflow_refuses_though_it_makes_other_files(
    checkout: Checkout, running: subprocess.Popen[bytes]
) -> None:
    claimed = checkout.path / ".snakemake/otcal.lock"
    wait_for(lambda: claimed.exists() and claimed.read_text().endswith("\n"), running)
    os.killpg(running.pid, signal.SIGSTOP)
    other = SHARD.replace("latent", "simplex").replace("QCD", "ttbar")
    second = checkout.snakemake(other)
    assert second.returncode != 0
    assert f"otcal.lock: lock: is held by process {running.pid} on " in second.stderr
    assert not (checkout.path / other).exists()
    assert checkout.planned(other)  # plans are free

    os.killpg(running.pid, signal.SIGCONT)
    assert running.wait(WAIT_S) == 0
    assert is_whole(checkout)
    assert checkout.snakemake("--touch", SHARD).returncode == 0  # the lock went with its owner


def test_a_signal_to_the_whole_job_reaches_the_step_and_the_next_run_ends_it(
    checkout: Checkout, running: subprocess.Popen[bytes]
) -> None:
    workflow = psutil.Process(running.pid)

    def begun() -> bool:
        # No shell in between: it would die first, and leave a step that still writes its state.
        for child in workflow.children():
            with suppress(psutil.Error):  # one that has just ended
                if child.cmdline()[1:3] == ["-m", "otcal.steps.simulate"]:
                    return True
        return False

    wait_for(begun, running)
    os.killpg(running.pid, signal.SIGTERM)
    assert running.wait(WAIT_S) != 0
    assert not (checkout.path / SHARD).exists()
    done = checkout.snakemake(SHARD)
    assert done.returncode == 0, done.stderr[-3000:]
    assert is_whole(checkout)
