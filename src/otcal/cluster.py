"""Go on after a Snakemake that was killed while its jobs were in a Slurm cluster.

Snakemake that gets SIGKILL (or whose login node goes down) leaves its jobs in the queue and a lock
in the working directory. Unlocked and started again it would not find its jobs, and submit each of
them a second time beside the first; the workflow refuses that. So they are cancelled first: this
user's jobs whose working directory is this one and whose name starts with the profile's prefix, and
no others. Run it where Snakemake was started, in the same directory.

    python -m otcal.cluster cancel                                cancel the jobs and unlock
    python -m otcal.cluster resume --profile profiles/slurm ...   then start snakemake again
"""

from __future__ import annotations

import argparse
import getpass
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from otcal.runtime.claim import claim, owner
from otcal.runtime.cli import run
from otcal.runtime.errors import InputError

LOCK = Path(".snakemake/otcal.lock")
"""Held by the Snakemake that runs in a directory, relative to which it is."""

PREFIX = "otcal"
"""First part of the names of all jobs: `slurm-jobname-prefix` of the profile."""

RUN_NAME = re.compile(rf"{PREFIX}_[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}")
"""Names that the Slurm plugin gives to jobs: prefix and UUID of the run."""

PATIENCE = 300.0
"""Seconds in which cancelled jobs must have ended; Slurm itself gives them 30 by default."""


@dataclass(frozen=True)
class Job:
    """A job that waits or runs in Slurm."""

    number: str
    user: str
    state: str


def parse_jobs(listing: str, directory: Path) -> list[Job]:
    """Pick the workflow's jobs of one working directory.

    Parameters
    ----------
    listing
        Lines ``number|user|state|name|directory``, as `squeue` prints them for `jobs_of`.
    directory
        The working directory that jobs must have; links are followed.
    """
    jobs = []
    for line in listing.splitlines():
        number, user, state, name, where = line.split("|", 4)
        if RUN_NAME.fullmatch(name) and Path(where).resolve() == directory.resolve():
            jobs.append(Job(number, user, state))
    return jobs


def jobs_of(directory: Path) -> list[Job]:
    """List the workflow's jobs, of all users, that wait or run with this working directory."""
    return parse_jobs(_slurm("squeue", "--noheader", "--format=%A|%u|%T|%j|%Z"), directory)


def _slurm(*command: str) -> str:
    if shutil.which(command[0]) is None:
        raise InputError(
            command[0], "command", "not found", "Run this on a node of a cluster with Slurm"
        )
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(
            command[0],
            "Slurm",
            done.stderr.strip() or f"exit code {done.returncode}",
            "Nothing was done; try again when Slurm answers",
        )
    return done.stdout


def locks(directory: Path) -> list[Path]:
    """Return the files with which Snakemake locks a directory."""
    return sorted((directory / ".snakemake/locks").glob("*.lock"))


def check_free() -> None:
    """Refuse to start in a directory with jobs of the workflow, which would run a second time.

    For a Snakemake that holds `LOCK`: the one that submitted them is dead, or its jobs are just
    about to end.

    Raises
    ------
    InputError
        When there are some; names them.
    """
    directory = Path.cwd()
    jobs = jobs_of(directory)
    check_own(directory, jobs)
    if jobs:
        raise InputError(
            directory,
            "jobs",
            f"{_numbers(jobs)} of an earlier run here still wait or run",
            "'make resume' or 'python -m otcal.cluster resume' cancels them first",
        )


def check_own(directory: Path, jobs: Iterable[Job]) -> None:
    """Raise `InputError` when some jobs belong to another user."""
    others = sorted({job.user for job in jobs} - {getpass.getuser()})
    if others:
        raise InputError(
            directory,
            "jobs",
            f"{', '.join(others)} has jobs of the workflow in this directory",
            "Two users need two checkouts",
        )


def take_over(directory: Path, host_gone: bool = False) -> TextIO:
    """Claim a directory from a Snakemake that is dead (`otcal.runtime.claim.claim`).

    Raises
    ------
    InputError
        When it is alive, or may be: it was started on another node, has left jobs or a lock, and
        `host_gone` is not set.
    """
    path = directory / LOCK
    last = owner(path)
    if last and not last.here and not host_gone and (locks(directory) or jobs_of(directory)):
        raise InputError(
            path,
            "node",
            f"Snakemake was started as {last}, which cannot be seen from here",
            f"Run this on {last.node}, or with --host-gone if you know that it is dead",
        )
    return claim(path)


def cancel(directory: Path, patience: float = PATIENCE) -> list[Job]:
    """Cancel the workflow's jobs of a directory and wait until none of their processes is left.

    Returns
    -------
    list of Job
        The cancelled jobs.

    Raises
    ------
    InputError
        When some belong to another user (then none is cancelled), or do not end within `patience`
        seconds.
    """
    jobs = jobs_of(directory)
    check_own(directory, jobs)
    if jobs:
        _slurm("scancel", *(job.number for job in jobs))
    end = time.monotonic() + patience
    while left := jobs_of(directory):
        if time.monotonic() > end:
            raise InputError(
                directory, "jobs", f"{_numbers(left)} did not end", "Try again, or ask your site"
            )
        time.sleep(1)
    return jobs


def _numbers(jobs: Iterable[Job]) -> str:
    return ", ".join(job.number for job in jobs)


def unlock(directory: Path, arguments: Sequence[str]) -> None:
    """Remove Snakemake's lock from a directory, if there is one."""
    if locks(directory):
        subprocess.run(["snakemake", *arguments, "--unlock"], cwd=directory, check=True)


def main(argv: Sequence[str] | None) -> None:
    """Cancel what a killed Snakemake left, and start it again."""
    parser = argparse.ArgumentParser(
        prog="python -m otcal.cluster",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # what is not known here is Snakemake's
    )
    parser.add_argument("command", choices=("cancel", "resume"))
    parser.add_argument(
        "--host-gone",
        action="store_true",
        help="the node on which Snakemake was started does not run it any more",
    )
    arguments, snakemake = parser.parse_known_args(argv)
    directory = Path.cwd()
    with take_over(directory, arguments.host_gone):
        jobs = cancel(directory)
        print(f"cancelled {len(jobs)} jobs {_numbers(jobs)}".strip(), flush=True)
        unlock(directory, snakemake)
    if arguments.command == "resume":
        os.execvp("snakemake", ["snakemake", *snakemake])


if __name__ == "__main__":
    run(main)
