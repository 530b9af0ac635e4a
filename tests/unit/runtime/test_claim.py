"""A claim has one holder, and goes with it."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from otcal.runtime.claim import claim
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


def test_a_file_system_without_locks_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def flock(file: object, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    claim(tmp_path / "lock").close()
    assert "No locks available" in caplog.text
