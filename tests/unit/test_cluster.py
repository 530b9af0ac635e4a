"""Cleaning up after a killed Snakemake, as far as it can be tested without Slurm."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from otcal import cluster
from otcal.runtime.claim import Owner, claim, owner
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


def slurm_with(monkeypatch: pytest.MonkeyPatch, listing: str) -> None:
    """Let Slurm list these jobs."""
    monkeypatch.setattr(cluster, "_slurm", lambda *command: listing)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A directory whose Snakemake was started on another node."""
    path = tmp_path / cluster.LOCK
    path.parent.mkdir()
    path.write_text("process 17 on login2\n")
    return tmp_path


@pytest.mark.parametrize("trace", ["lock", "job"])
def test_run_of_another_node_needs_the_user_s_word(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, trace: str
) -> None:
    """Snakemake's lock may be gone though it lives: a second one that refused has removed it."""
    slurm_with(monkeypatch, f"11|ann|RUNNING|{RUN}|{elsewhere}\n" if trace == "job" else "")
    if trace == "lock":
        (elsewhere / ".snakemake/locks").mkdir()
        (elsewhere / ".snakemake/locks/0.input.lock").touch()
    with pytest.raises(InputError, match=r"process 17 on login2.*--host-gone"):
        cluster.take_over(elsewhere)
    assert owner(elsewhere / cluster.LOCK) == Owner(17, "login2")  # a refusal changes nothing
    cluster.take_over(elsewhere, host_gone=True).close()
    assert owner(elsewhere / cluster.LOCK) == Owner(os.getpid(), platform.node())


def test_run_of_another_node_that_has_ended_is_no_obstacle(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm_with(monkeypatch, "")
    cluster.take_over(elsewhere).close()


def test_word_of_the_user_does_not_count_where_the_lock_tells_otherwise(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm_with(monkeypatch, "")
    with claim(elsewhere / cluster.LOCK), pytest.raises(InputError, match="is held by process"):
        cluster.take_over(elsewhere, host_gone=True)


def test_a_start_beside_jobs_of_a_dead_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    slurm_with(monkeypatch, "")
    cluster.check_free()
    me = cluster.getpass.getuser()
    slurm_with(monkeypatch, f"11|{me}|RUNNING|{RUN}|{tmp_path}\n")
    with pytest.raises(InputError, match=r"11 of an earlier run.*otcal\.cluster resume"):
        cluster.check_free()
    slurm_with(monkeypatch, f"11|somebody|RUNNING|{RUN}|{tmp_path}\n")
    with pytest.raises(InputError, match="somebody has jobs of the workflow"):
        cluster.check_free()


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
