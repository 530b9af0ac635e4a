"""A claim has one holder, and goes with it."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from otcal.runtime.claim import Owner, claim, owner
from otcal.runtime.errors import InputError

HOLD = "import sys, time; from pathlib import Path; from otcal.runtime.claim import claim;"
HOLD += "held = claim(Path(sys.argv[1])); print('held', flush=True); time.sleep(600)"


def test_a_claim_is_refused_until_its_holder_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "somewhere/lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match=rf"lock: is held by process {holder.pid} on "):
            claim(path)
        assert str(holder.pid) in path.read_text()  # a refusal changes nothing
        holder.kill()
    with claim(path):
        assert path.read_text().startswith(f"process {os.getpid()} on ")


@pytest.fixture
def lockless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has no locks."""

    def flock(file: object, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.usefixtures("lockless")
def test_a_file_system_without_locks_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    claim(tmp_path / "lock").close()
    claim(tmp_path / "lock").close()  # this process itself
    assert "No locks available" in caplog.text


@pytest.mark.usefixtures("lockless")
def test_without_locks_a_living_process_of_this_node_counts(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        path.write_text(f"{Owner(process.pid, platform.node())}\n")
        with pytest.raises(InputError, match=f"is held by process {process.pid} on .*delete"):
            claim(path)
        assert owner(path) == Owner(process.pid, platform.node())
    claim(path).close()
    path.write_text(f"{Owner(os.getppid(), 'login2')}\n")
    claim(path).close()  # its number tells nothing here


def test_a_claim_of_another_user_s_file_names_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    path.touch()

    def opened(self: Path, *arguments: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(InputError, match=f"is {path.owner()}'s. Two users need two checkouts"):
        claim(path)


def test_what_only_another_user_may_read_is_named_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    path.touch()

    def read(self: Path, *arguments: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_text", read)
    with pytest.raises(InputError, match="Two users need two checkouts"):
        owner(path)
    path.unlink()
    monkeypatch.setattr(Path, "open", read)  # of a directory that only its owner may write to
    with pytest.raises(InputError, match=f"{tmp_path}: owner: is "):
        claim(path)


def test_a_claim_whose_check_fails_leaves_the_last_owner(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("process 17 on login2\n")

    def refuse() -> None:
        raise InputError(path, "jobs", "are left", "Cancel them")

    with pytest.raises(InputError, match="are left"):
        claim(path, refuse)
    assert owner(path) == Owner(17, "login2")
    claim(path, lambda: None).close()  # and the lock is free
    assert owner(path) == Owner(os.getpid(), platform.node())


def test_nobody_has_claimed_a_file_that_is_not_there_or_says_nothing(tmp_path: Path) -> None:
    assert owner(tmp_path / "lock") is None
    (tmp_path / "lock").touch()
    assert owner(tmp_path / "lock") is None
