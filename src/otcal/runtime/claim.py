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
from pathlib import Path
from typing import TextIO

from otcal.runtime.errors import InputError

_LOG = logging.getLogger(__name__)

_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def claim(path: Path) -> TextIO:
    """Take a lock that is held until the returned file is closed, or the process ends.

    On a file system without locks there is a warning instead.

    Parameters
    ----------
    path
        File that stands for what is claimed; it stays, with who claimed it last.

    Raises
    ------
    InputError
        When another process holds the lock; says which.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        owner = file.read().strip() or "another process"
        file.close()
        raise InputError(
            path, "lock", f"is held by {owner}", "Wait until that run has ended, or stop it"
        ) from None
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            file.close()
            raise
        _LOG.warning("%s cannot be locked (%s): start no second run here", path, error.strerror)
    file.truncate(0)
    file.write(f"process {os.getpid()} on {platform.node()}\n")
    file.flush()
    return file
