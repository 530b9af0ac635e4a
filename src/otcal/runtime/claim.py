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
    """Return who claimed a file last, dead or alive; None when nobody has."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    found = re.fullmatch(r"process (\d+) on (\S+)\n", text)
    return Owner(int(found[1]), found[2]) if found else None


def claim(path: Path) -> TextIO:
    """Take a lock that is held until the returned file is closed, or the process ends.

    On a file system without locks the claim of a living process of this node counts; another node's
    isn't seen, and a warning says so.

    Parameters
    ----------
    path
        File that stands for what is claimed; it stays, with who claimed it last.

    Raises
    ------
    InputError
        When another process holds the lock, and says which, or when the file is somebody else's.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        file = path.open("a+", encoding="utf-8")
    except PermissionError:
        raise InputError(
            path, "owner", f"is {path.owner()}'s", "Two users need two checkouts"
        ) from None
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
    file.truncate(0)
    file.write(f"{Owner(os.getpid(), platform.node())}\n")
    file.flush()
    return file


def _held(path: Path, last: Owner | None, remedy: str) -> InputError:
    return InputError(path, "lock", f"is held by {last or 'another process'}", remedy)
