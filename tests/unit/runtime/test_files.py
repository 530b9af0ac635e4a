"""Files are whole or absent."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from otcal.runtime.errors import InputError
from otcal.runtime.files import (
    ABANDONED_S,
    atomic_directory,
    atomic_path,
    read_json,
    sha256,
    write_json,
    write_text,
)


def test_the_file_appears_when_the_block_succeeds(tmp_path: Path) -> None:
    path = tmp_path / "new/deep/table.csv"
    with atomic_path(path) as temporary:
        assert temporary.parent.parent == path.parent
        assert temporary.name == path.name
        temporary.write_text("content")
        (temporary.parent / ".tmp3Fa").write_text("what a library writes first")
        assert not path.exists()
    assert path.read_text() == "content"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("before", [None, "old"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_changes_nothing(
    tmp_path: Path, before: str | None, error: type[BaseException]
) -> None:
    path = tmp_path / "a.txt"
    if before is not None:
        path.write_text(before)

    def half_done() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        half_done()
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == (
        {} if before is None else {"a.txt": before}
    )


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a.txt"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_json_round_trip_keeps_floats_and_order(tmp_path: Path) -> None:
    content = {"z": 0.1 + 0.2, "a": [1, None, True, "≤"], "tiny": 5e-324}
    write_json(tmp_path / "a.json", content)
    loaded = read_json(tmp_path / "a.json")
    assert loaded == content
    assert list(loaded) == list(content)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_json_refuses_what_json_has_not(tmp_path: Path, bad: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"x": [bad]})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe\x00"])
def test_what_is_not_json_is_an_input_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json: file: is not JSON"):
        read_json(tmp_path / "a.json")


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_json(tmp_path / "a.json")


def test_checksum_of_a_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "otcal\n" * 100_000)
    assert sha256(tmp_path / "a") == hashlib.sha256(b"otcal\n" * 100_000).hexdigest()
    write_text(tmp_path / "b", "abc")  # FIPS 180-2, appendix B.1
    assert sha256(tmp_path / "b").startswith("ba7816bf8f01cfea414140de5dae2223b00361a3")


@pytest.mark.parametrize(
    ("name", "problem"), [("absent", "does not exist"), ("folder", "cannot be read")]
)
def test_the_checksum_of_no_file_is_an_input_error(tmp_path: Path, name: str, problem: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=rf"{name}: file: {problem}"):
        sha256(tmp_path / name)


WRITER = """
import sys
from otcal.runtime.files import atomic_path
with atomic_path(sys.argv[1]) as temporary, temporary.open("w") as stream:
    stream.write("first half, ")
    stream.flush()
    print("half", flush=True)
    sys.stdin.readline()
    stream.write("second half")
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has written half of `a.txt`, and ends it when it is told to."""
    command = [sys.executable, "-c", WRITER, str(tmp_path / "a.txt")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "half\n"
        yield process
        process.kill()


def test_of_two_processes_that_write_a_file_the_last_one_wins_whole(
    tmp_path: Path, other: subprocess.Popen[str]
) -> None:
    write_text(tmp_path / "a.txt", "whole")
    assert (tmp_path / "a.txt").read_text() == "whole"
    other.communicate("go on\n")
    assert other.returncode == 0
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [
        ("a.txt", "first half, second half")
    ]


def test_what_a_killed_process_leaves_goes_with_the_next_write(
    tmp_path: Path, other: subprocess.Popen[str]
) -> None:
    other.kill()
    other.wait()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".a.txt.")
    write_text(tmp_path / "b.txt", "another file")
    assert left.exists()
    write_text(tmp_path / "a.txt", "whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.txt", "b.txt"]


def leave(folder: Path, age_s: float, file_age_s: float) -> None:
    """Make what a killed process leaves, of these ages."""
    folder.mkdir()
    (folder / "a.txt").write_text("half")
    for path, age in ((folder / "a.txt", file_age_s), (folder, age_s)):
        os.utime(path, (time.time() - age, time.time() - age))


def test_another_machines_leftover_goes_when_nothing_was_written_to_it_for_long(
    tmp_path: Path,
) -> None:
    fresh, written, old = (tmp_path / f".a.txt.node{n}-1.part" for n in (1, 2, 3))
    leave(fresh, 0, ABANDONED_S * 1.1)
    leave(written, ABANDONED_S * 1.1, 0)  # a large file in the making
    leave(old, ABANDONED_S * 1.1, ABANDONED_S * 1.1)
    write_text(tmp_path / "a.txt", "whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == [fresh.name, written.name, "a.txt"]


def test_leftovers_of_a_process_whose_number_this_one_has_go_too(tmp_path: Path) -> None:
    leave(tmp_path / f".a.txt.{socket.gethostname()}-{os.getpid()}.part", 0, 0)
    write_text(tmp_path / "a.txt", "whole")
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_names_that_only_look_like_leftovers_stay(tmp_path: Path) -> None:
    names = {".a.txt", "a.txt.node-1.part", ".a.txt.node-x.part", ".ab.txt.node-1.part"}
    for name in names:
        leave(tmp_path / name, 1e9, 1e9)
    write_text(tmp_path / "a.txt", "whole")
    assert {p.name for p in tmp_path.iterdir()} == {*names, "a.txt"}


def directory(path: Path) -> dict[str, str]:
    return {one.name: one.read_text() for one in path.iterdir()}


def fail(path: Path) -> None:
    with atomic_directory(path) as temporary:
        (temporary / "new").write_text("new")
        raise KeyError


def test_a_directory_appears_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "out"
    for text in ("old", "new"):
        with atomic_directory(path) as temporary:
            (temporary / text).write_text(text)
            assert not (path / text).exists()
        assert directory(path) == {text: text}
    assert [one.name for one in tmp_path.iterdir()] == ["out"]


def test_a_directory_stays_when_the_block_or_the_exchange_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out"
    path.mkdir()
    (path / "old").write_text("old")
    with pytest.raises(KeyError):
        fail(path)
    rename = Path.rename

    def fails(self: Path, target: Path) -> Path:
        if self.name.endswith(".part"):
            raise PermissionError(self)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(PermissionError), atomic_directory(path) as temporary:
        (temporary / "new").write_text("new")
    assert directory(path) == {"old": "old"}
    assert [one.name for one in tmp_path.iterdir()] == ["out"]


KILLED = """
import os, signal, sys
from pathlib import Path
from otcal.runtime.files import atomic_directory
rename, calls = Path.rename, []
def dies(self, target):
    calls.append(self)
    if len(calls) > int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)
Path.rename = dies
with atomic_directory(sys.argv[1]) as temporary:
    (temporary / "new").write_text("new")
"""


@pytest.mark.parametrize("renamed", [0, 1])
def test_a_kill_during_the_exchange_loses_no_directory(tmp_path: Path, renamed: int) -> None:
    """Before the first rename, and between both, where neither has the name."""
    path = tmp_path / "out"
    path.mkdir()
    (path / "old").write_text("old")
    done = subprocess.run([sys.executable, "-c", KILLED, path, str(renamed)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.exists() == (renamed == 0)
    with pytest.raises(KeyError):
        fail(path)
    assert directory(path) == {"old": "old"}
    assert [one.name for one in tmp_path.iterdir()] == ["out"]
