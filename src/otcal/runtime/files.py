"""Files and directories that are either whole or absent."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from otcal.runtime.errors import InputError

_UMASK = os.umask(0)
os.umask(_UMASK)  # the mask can only be read by setting it

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says when a file may not grow: full disk, full quota, `ulimit -f`."""

ABANDONED_S = 86_400.0
"""A temporary directory of another machine that nobody has written to for this long is nobody's."""


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary file that replaces `path` when the block succeeds.

    It has the name of `path` and is in a hidden directory beside it, for writers that look at the
    suffix, or make further files while they write. It is flushed to disk before it is moved. The
    directory's name holds machine and process: of two that write the same path at once, the last
    one wins whole. A process that is killed leaves it; the next one that writes the same path
    removes it.

    Raises
    ------
    InputError
        When there is no space for the file.
    """
    path = Path(path)
    with _workspace(path) as folder:
        temporary = folder / path.name
        yield temporary
        _flush(temporary)
        # Some writers make files that only their owner can read.
        temporary.chmod(0o666 & ~_UMASK)
        temporary.replace(path)


@contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """Yield a new directory beside `path` that takes its place when the block succeeds.

    What was there stays until then. A process that is killed between putting the old directory
    away and the new one in its place leaves both beside; the next one puts the old one back.

    Raises
    ------
    InputError
        When there is no space for a file in it.
    """
    path = Path(path)
    old = _beside(path, ".old")
    with _workspace(path) as temporary:
        for abandoned in _abandoned(path, ".old"):
            if path.exists():
                shutil.rmtree(abandoned, ignore_errors=True)
            else:
                with suppress(FileNotFoundError):  # another process was quicker
                    abandoned.rename(path)
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                _flush(file)
        if path.exists():
            path.rename(old)
        try:
            temporary.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _workspace(path: Path) -> Iterator[Path]:
    """Yield a new hidden directory beside `path`, which is gone after the block.

    Those that dead processes have left for the same path go first.
    """
    temporary = _beside(path, ".part")
    with full_disk_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for abandoned in _abandoned(path, ".part"):
            shutil.rmtree(abandoned, ignore_errors=True)  # another process may be quicker
        temporary.mkdir()
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _beside(path: Path, end: str) -> Path:
    """Return a hidden sibling that tells machine and process."""
    return path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}{end}")


def _flush(file: Path) -> None:
    with file.open("rb") as stream:
        os.fsync(stream.fileno())


@contextmanager
def full_disk_named(path: str | Path) -> Iterator[None]:
    """Turn a library's failure to write because of a full disk into one that names the file.

    Raises
    ------
    InputError
        In place of an exception whose reason is one of `FULL`.
    """
    try:
        yield
    except Exception as error:
        number = full(error)
        if number is None:
            raise
        raise InputError(
            path,
            "file",
            f"cannot be written ({os.strerror(number)})",
            "Free space or raise the quota there, and run the same command again",
        ) from error


def full(error: BaseException) -> int | None:
    """Return which of `FULL` an exception tells of, None for another one."""
    if isinstance(error, OSError) and error.errno in FULL:
        return error.errno
    # Libraries in Rust put the system's number into the text only.
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found and int(found[1]) in FULL else None


def _abandoned(path: Path, end: str) -> list[Path]:
    """Return what `_beside` named for processes that are dead."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.(.+)-(\d+){re.escape(end)}")
    found = []
    for entry in list(path.parent.iterdir()):
        match = pattern.fullmatch(entry.name)
        if match is None:
            continue
        if match[1] == socket.gethostname():
            # This process has none yet: its number was another's.
            dead = int(match[2]) == os.getpid() or not alive(int(match[2]))
        else:
            dead = time.time() - _last_written(entry) > ABANDONED_S
        if dead:
            found.append(entry)
    return found


def _last_written(folder: Path) -> float:
    """Return when a directory or a file in it was last written to; now if it is just going."""
    try:
        return max(one.stat().st_mtime for one in (folder, *folder.rglob("*")))
    except FileNotFoundError:
        return time.time()


def alive(process: int) -> bool:
    """Return whether there is a process of this number on this node."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's
    return True


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text to `path`, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, content: Any) -> None:
    """Write `content` as indented JSON; NaN and infinities are refused (`ValueError`)."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    InputError
        When the file is missing or is not JSON.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(path, "file", "does not exist", "Check the path") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            path, "file", f"is not JSON ({error})", "Delete it so that it is made again"
        ) from None


def sha256(path: str | Path) -> str:
    """Return the SHA-256 checksum of a file, read in chunks.

    Raises
    ------
    InputError
        When the file is missing or cannot be read.
    """
    try:
        with Path(path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        raise InputError(path, "file", "does not exist", "Check the path") from None
    except OSError as error:
        raise InputError(
            path, "file", f"cannot be read ({error.strerror})", "Check path and permissions"
        ) from None
