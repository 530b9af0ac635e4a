"""One workflow at a time in a directory.

Snakemake's own lock compares files: two runs whose targets have none in common pass it, and the one
that ends first removes the locks of both. This one is the directory's, and ends with its process.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import platform
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from otcal.runtime.errors import InputError
from otcal.runtime.files import alive

_LOG = logging.getLogger(__name__)

_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@dataclass(frozen=True)
class Owner:
    """A process, with the node that it runs or ran on."""

    process: int
    node: str

    def __str__(self) -> str:
        return f"process {self.process} on {self.node}"

    @property
    def here(self) -> bool:
        """Whether it is or was a process of this node."""
        return self.node == platform.node()


def owner(path: Path) -> Owner | None:
    """Return who claimed a file last, dead or alive; None when nobody has.

    Raises
    ------
    InputError
        When another user has, and nobody else may read it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except PermissionError:
        raise _anothers(path) from None
    found = re.fullmatch(r"process (\d+) on (\S+)\n", text)
    return Owner(int(found[1]), found[2]) if found else None


def claim(path: Path, check: Callable[[], None] | None = None) -> TextIO:
    """Take a lock that is held until the returned file is closed, or the process ends.

    On a file system without locks the claim of a living process of this node counts; another node's
    isn't seen, and a warning says so.

    Parameters
    ----------
    path
        File that stands for what is claimed; it stays, with who claimed it last.
    check
        Called when the lock is taken, and nothing written yet: where it raises, nothing is claimed.

    Raises
    ------
    InputError
        When another process holds the lock, and says which, or when the file is somebody else's.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except PermissionError:
        raise _anothers(path) from None
    last = owner(path)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise _held(path, last, "Wait until that run has ended, or stop it") from None
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            file.close()
            raise
        if last is not None and last.here and last.process != os.getpid() and alive(last.process):
            file.close()
            remedy = "Wait until that run has ended, or stop it; if it is another program, delete"
            raise _held(path, last, f"{remedy} this file") from None
        _LOG.warning("%s cannot be locked (%s): start no second run here", path, error.strerror)
    try:
        if check is not None:
            check()
    except BaseException:
        file.close()
        raise
    file.truncate(0)
    file.write(f"{Owner(os.getpid(), platform.node())}\n")
    file.flush()
    return file


def _anothers(path: Path) -> InputError:
    """Return the error for what another user has made."""
    made = next(one for one in (path, *path.absolute().parents) if one.exists())
    try:
        name = made.owner()
    except KeyError:
        name = f"user {made.stat().st_uid}"
    return InputError(made, "owner", f"is {name}'s", "Two users need two checkouts")


def _held(path: Path, last: Owner | None, remedy: str) -> InputError:
    return InputError(path, "lock", f"is held by {last or 'another process'}", remedy)
