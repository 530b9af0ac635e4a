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
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from otcal.runtime.errors import InputError

_UMASK = os.umask(0)
os.umask(_UMASK)  # the mask can only be read by setting it

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says when a file may not grow: full disk, full quota, `ulimit -f`."""

ABANDONED_S = 86_400.0
"""A temporary file of another machine that nobody has written to for this long is nobody's."""


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path` that replaces it when the block succeeds.

    The temporary file keeps the suffix, so that writers which look at it still work. It is flushed
    to disk before the rename and removed when the block raises. Its name begins with a dot and
    holds machine and process: of two that write the same path at once, the last one wins whole. A
    process that is killed leaves it; the next one that writes the same path removes it.

    Raises
    ------
    InputError
        When there is no space for the file.
    """
    path = Path(path)
    end = f".part{path.suffix}"
    temporary = _beside(path, path.stem, end)
    with full_disk_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for abandoned in _abandoned(path.parent, path.stem, end):
            abandoned.unlink(missing_ok=True)
        try:
            yield temporary
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
            # Some writers make files that only their owner can read.
            temporary.chmod(0o666 & ~_UMASK)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


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
    temporary, old = (_beside(path, path.name, end) for end in (".part", ".old"))
    with full_disk_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for abandoned in _abandoned(path.parent, path.name, ".old"):
            if not path.exists():
                abandoned.rename(path)
        for end in (".old", ".part"):
            for abandoned in _abandoned(path.parent, path.name, end):
                shutil.rmtree(abandoned)
        temporary.mkdir()
        try:
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    with file.open("rb") as stream:
                        os.fsync(stream.fileno())
            if path.exists():
                path.rename(old)
            try:
                temporary.rename(path)
            except OSError:
                if old.exists():
                    old.rename(path)
                raise
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _beside(path: Path, name: str, end: str) -> Path:
    """Return a hidden sibling that tells machine and process."""
    return path.with_name(f".{name}.{socket.gethostname()}-{os.getpid()}{end}")


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


def _abandoned(folder: Path, name: str, end: str) -> list[Path]:
    """Return temporary files or directories, ``.<name>.<machine>-<process><end>``, of the dead."""
    pattern = re.compile(rf"\.{re.escape(name)}\.(.+)-(\d+){re.escape(end)}")
    paths = []
    for entry in list(os.scandir(folder)):
        found = pattern.fullmatch(entry.name)
        if found is None:
            continue
        try:
            if found[1] == socket.gethostname():
                dead = not _alive(int(found[2]))
            else:
                dead = time.time() - entry.stat().st_mtime > ABANDONED_S
        except FileNotFoundError:
            continue  # another process was quicker
        if dead:
            paths.append(Path(entry.path))
    return paths


def _alive(process: int) -> bool:
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
