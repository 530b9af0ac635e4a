"""A real Slurm, what it remembers of its jobs, and Snakemake that submits to it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from support.checkout import ROOT, SMOKE, Checkout

CLUSTER = ROOT / "tests/slurm/cluster.sh"
TINY = (SMOKE, "tests/slurm/tiny.yaml")
PROGRAMS = ("munged", "slurmctld", "slurmd", "slurmdbd", "sbatch", "mariadbd")
IMPATIENT = ROOT / "tests/slurm/bin"
"""Holds a `snakemake` that looks after its jobs more often."""
HANG = 3000.0
"""Seconds after which something is taken to hang; nothing here takes minutes on a free machine."""

needs_slurm = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, PROGRAMS)),
    reason="needs Slurm: on Debian, as root, tests/slurm/cluster.sh install",
)

T = TypeVar("T")


def eventually(what: str, look: Callable[[], T | None]) -> T:
    """Wait until `look` returns something."""
    end = time.monotonic() + HANG
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.2)
    raise TimeoutError(f"in vain waited for {what}")


def slurm(*command: str) -> str:
    """Run a command of Slurm and return what it prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Record:
    """A job as the accounting database has it."""

    number: str
    run: str
    state: str
    partition: str
    resources: str
    memory: str
    minutes: str
    comment: str
    start: str
    end: str


def accounting(directory: Path) -> list[Record]:
    """Return all jobs, also finished ones, with this working directory, in order of submission."""
    columns = "JobID,JobName,State,Partition,AllocTRES,ReqMem,TimelimitRaw,Comment,Start,End"
    text = slurm("sacct", "-XnP", "--starttime=now-1days", f"--format=WorkDir,{columns}")
    rows = [line.split("|") for line in text.splitlines()]
    return [Record(*row[1:]) for row in rows if row[0] == str(directory)]


def live(directory: Path) -> list[Record]:
    """Return the jobs of a directory that wait or run."""
    states = ("PENDING", "RUNNING", "SUSPENDED")
    return [job for job in accounting(directory) if job.state in states]


def ended(directory: Path) -> list[Record]:
    """Return the jobs of a directory once the database has the end of each."""
    eventually(f"the end of all jobs of {directory}", lambda: not live(directory))
    return accounting(directory)


@dataclass(frozen=True)
class Step:
    """A step's process inside a Slurm job."""

    job: str
    process: psutil.Process


def running_steps(directory: Path, name: str) -> list[Step]:
    """Return the processes of ``otcal.steps.<name>`` in Slurm jobs of a directory."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            if f"otcal.steps.{name}" in words and process.cwd() == str(directory):
                found.append(Step(process.environ()["SLURM_JOB_ID"], process))
        except psutil.Error:
            continue
    return found


def running_step(directory: Path, name: str) -> Step:
    """Wait for a process of ``otcal.steps.<name>`` in a Slurm job of a directory."""
    return eventually(f"step {name} in {directory}", lambda: running_steps(directory, name))[0]


def held_steps(directory: Path, name: str, jobs: int = 1) -> list[Step]:
    """Suspend the processes of a step as they come, in so many jobs; else they end too soon."""

    def look() -> list[Step] | None:
        steps = running_steps(directory, name)
        for step in steps:
            step.process.suspend()
        return steps if len({step.job for step in steps}) == jobs else None

    return eventually(f"step {name} in {jobs} jobs of {directory}", look)


def waits(step: Step, number: signal.Signals) -> bool:
    """Say whether a suspended process will find a signal when it wakes up."""
    status = Path(f"/proc/{step.process.pid}/status").read_text()
    (pending,) = re.findall(r"^ShdPnd:\s*(\w+)", status, flags=re.MULTILINE)
    return bool(int(pending, 16) >> (number - 1) & 1)


@dataclass
class Submission:
    """A Snakemake that submits to Slurm."""

    checkout: Checkout
    process: subprocess.Popen[bytes]
    output: Path

    def finish(self) -> str:
        """Wait for success; return what Snakemake printed."""
        code = self.process.wait(timeout=HANG)
        text = self.output.read_text()
        assert code == 0, text[-6000:]
        return text


@dataclass
class Submitter:
    """Starts Snakemake with the project's profile, and ends what a failed test leaves."""

    submissions: list[Submission] = field(default_factory=list)

    def __call__(
        self,
        checkout: Checkout,
        *arguments: str,
        command: Sequence[str] = ("snakemake",),
        presets: Sequence[str] = TINY,
    ) -> Submission:
        """Start it; it looks after its jobs soon and often, as they take seconds here."""
        output = checkout.path / f"submission-{len(self.submissions)}.txt"
        line = [
            *command,
            *("--profile", "profiles/slurm"),
            *("--slurm-init-seconds-before-status-checks", "1"),
            *("--latency-wait", "10"),
            *arguments,
            *("--configfile", *presets),
        ]
        environment = checkout.environment
        environment["PATH"] = f"{IMPATIENT}{os.pathsep}{environment['PATH']}"
        with output.open("wb") as stream:
            process = subprocess.Popen(
                line,
                cwd=checkout.path,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        self.submissions.append(Submission(checkout, process, output))
        return self.submissions[-1]

    def close(self) -> None:
        """Kill what still runs, and cancel its jobs."""
        for submission in self.submissions:
            if submission.process.poll() is None:
                submission.process.kill()
                submission.process.wait()
            left = live(submission.checkout.path)
            if left:
                slurm("scancel", *(job.number for job in left))


def products(checkout: Checkout, *names: str) -> dict[str, bytes]:
    """Return the bytes of the files below directories of the results (no logs, no benchmarks)."""
    base = checkout.path / "results/smoke"
    return {
        str(path.relative_to(base)): path.read_bytes()
        for name in names
        for path in sorted((base / name).rglob("*"))
        if path.is_file()
    }
