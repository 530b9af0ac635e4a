"""Cleaning up after a killed Snakemake, as far as it can be tested without Slurm."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from otcal import cluster
from otcal.runtime.errors import InputError

RUN = "otcal_5e0cbf26-6a3c-4f5d-9f0e-0f1d2c3b4a59"
ROOT = Path(__file__).resolve().parents[2]


def test_only_the_workflow_s_jobs_of_this_directory_are_picked(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    link = tmp_path / "link"
    link.symlink_to(here)
    listing = "\n".join(
        (
            f"11|ann|RUNNING|{RUN}|{here}",
            f"12|ann|PENDING|{RUN}|{link}",
            f"13|ann|RUNNING|{RUN}|{there}",
            f"14|ann|RUNNING|{RUN}|{here}/results",
            f"15|ann|RUNNING|mine_{RUN}|{here}",
            f"16|ann|RUNNING|otcal_night|{here}",
            f"17|ann|RUNNING|a|{RUN}|{here}",
            f"18|bob|RUNNING|{RUN}|{here}",
        )
    )
    found = cluster.parse_jobs(listing, here)
    assert found == [
        cluster.Job("11", "ann", "RUNNING"),
        cluster.Job("12", "ann", "PENDING"),
        cluster.Job("18", "bob", "RUNNING"),
    ]
    assert cluster.parse_jobs("", here) == []


def test_nothing_is_cancelled_where_another_user_has_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = f"11|{cluster.getpass.getuser()}|RUNNING|{RUN}|{tmp_path}\n"
    listing += f"12|somebody|RUNNING|{RUN}|{tmp_path}\n"
    calls = []

    def answer(*command: str) -> str:
        calls.append(command[0])
        return listing

    monkeypatch.setattr(cluster, "_slurm", answer)
    with pytest.raises(InputError, match="somebody has jobs of the workflow"):
        cluster.cancel(tmp_path)
    assert "scancel" not in calls


def test_without_slurm_the_error_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "otcal.cluster", "resume", "--profile", "profiles/slurm"],
        cwd=tmp_path,
        env=os.environ | {"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "otcal: error: squeue: command: not found. Run this on a node of a cluster with Slurm\n"
    )


def test_slurm_s_own_error_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "squeue").write_text("#!/bin/sh\necho 'Unable to contact controller' >&2\nexit 1\n")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(InputError, match=r"squeue: Slurm: Unable to contact controller\."):
        cluster.jobs_of(tmp_path)


@pytest.fixture
def locked(tmp_path: Path) -> Path:
    """A directory with the lock of a Snakemake on node `login2`, and logs from before and after."""
    state = tmp_path / ".snakemake"
    (state / "locks").mkdir(parents=True)
    (state / "log").mkdir()
    for minute, host in ((0, "login1"), (10, "login2"), (20, platform.node())):
        name = f"2026-01-01T12{minute:02}00.000001.snakemake.log"
        (state / "log" / name).write_text(f"SNAKEMAKE\n  Host: {host}\n  User: ann\n")
    lock = state / "locks/0.input.lock"
    lock.write_text("results/a\n")
    made = time.mktime((2026, 1, 1, 12, 10, 30, 0, 0, -1))
    os.utime(lock, (made, made))
    return tmp_path


def test_lock_of_another_node_needs_the_user_s_word(locked: Path) -> None:
    assert cluster.locking_host(locked) == "login2"
    with pytest.raises(InputError, match=r"started on login2.*--host-gone"):
        cluster.check_dead(locked)
    cluster.check_dead(locked, host_gone=True)


def test_lock_of_this_node_is_no_obstacle(locked: Path) -> None:
    made = time.time()
    os.utime(locked / ".snakemake/locks/0.input.lock", (made, made))
    assert cluster.locking_host(locked) == platform.node()
    cluster.check_dead(locked)


def test_lock_without_a_log_is_no_obstacle(locked: Path) -> None:
    for path in (locked / ".snakemake/log").iterdir():
        path.unlink()
    assert cluster.locking_host(locked) is None
    cluster.check_dead(locked)


def test_lock_of_another_user_is_left_alone(locked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: locked.stat().st_uid + 1)
    with pytest.raises(InputError, match="must cancel and unlock it"):
        cluster.check_dead(locked, host_gone=True)


@pytest.fixture
def snakemake(tmp_path: Path) -> Path:
    """A program of that name that only sleeps, and a directory to start it in."""
    program = tmp_path / "bin/snakemake"
    program.parent.mkdir()
    program.write_text("import time\nprint('up', flush=True)\ntime.sleep(600)\n")
    return program


@pytest.mark.parametrize(
    ("arguments", "counts"),
    [((), True), (("--profile", "profiles/slurm"), True), (("--mode", "remote"), False)],
)
def test_living_snakemake_is_seen_in_its_directory_only(
    snakemake: Path, tmp_path: Path, arguments: tuple[str, ...], counts: bool
) -> None:
    command = [sys.executable, str(snakemake), *arguments]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
            assert cluster.live_snakemake(tmp_path) == ([process.pid] if counts else [])
            assert cluster.live_snakemake(snakemake.parent) == []
            if counts:
                with pytest.raises(InputError, match=f"as process {process.pid}"):
                    cluster.check_dead(tmp_path)
        finally:
            process.kill()
    assert cluster.live_snakemake(tmp_path) == []


def test_jobs_are_named_as_the_profile_says() -> None:
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
    assert profile["slurm-jobname-prefix"] == cluster.PREFIX


def test_shards_share_jobs_whatever_makes_them() -> None:
    """A thousand shards are not a thousand submissions."""
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
    text = "\n".join(path.read_text() for path in sorted((ROOT / "workflow/rules").glob("*.smk")))
    rules = re.findall(r"^rule (\w+):\n((?:    .*\n|\n)+)", text, flags=re.MULTILINE)
    sharded = {name for name, body in rules if "{shard}.parquet" in body.replace("{{", "{")}
    sharded |= {name for name, body in rules if "shard_spec" in body}
    assert {"simulate", "simulate_delphes", "read_jets", "read_delphes"} <= sharded
    assert set(profile["groups"].items()) == {(name, "shards") for name in sharded}
