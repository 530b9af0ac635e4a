"""Files that are either whole or absent."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from otcal.runtime.errors import InputError

_UMASK = os.umask(0)
os.umask(_UMASK)  # the mask can only be read by setting it


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path` that replaces it when the block succeeds.

    The temporary file keeps the suffix, so that writers which look at it still work. It is flushed
    to disk before the rename and removed when the block raises.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        # Some writers make files that only their owner can read.
        temporary.chmod(0o666 & ~_UMASK)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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
