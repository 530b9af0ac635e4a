"""Jets of the program DelphesPythia8, which generates and measures events in one go."""

from __future__ import annotations

import logging
import math
import shutil
import subprocess
from collections.abc import Generator
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa

from otcal.config.simulation import ShardSpec
from otcal.runtime.errors import InputError
from otcal.runtime.files import read_json, sha256
from otcal.runtime.seeds import derive
from otcal.simulation.delphes.card import write_card
from otcal.simulation.delphes.reader import read
from otcal.simulation.generator import settings
from otcal.simulation.output import labelled_jets, no_jets
from otcal.simulation.processes import PROCESSES

PROGRAM = "DelphesPythia8"
PACKAGES = ("delphes", "pythia8")
"""What conda calls its parts."""

_FEWEST, _MOST = 50, 1000
"""Events of a run: its file has about 0.1 MB for each."""
_BARREN_EVENTS = 10_000
_LOG = logging.getLogger(__name__)


def find() -> Path:
    """Return where the program is (`InputError` when it is not on the PATH)."""
    program = shutil.which(PROGRAM)
    if program is None:
        raise InputError(
            PROGRAM,
            "program",
            "is not on the PATH",
            "Give Snakemake --sdm conda, which installs envs/delphes.yaml for this rule, or "
            "install Delphes with Pythia 8",
        )
    return Path(program)


def identify(program: Path) -> dict[str, Any]:
    """Return name and checksum of the program, and the versions of its packages that are known.

    Delphes writes its version neither into its log nor into its files. Conda keeps it in the
    environment, with that of Pythia; beside a program that was built from source there is VERSION.
    """
    path = program.resolve()
    packages = {}
    for name in PACKAGES:
        for file in sorted(path.parent.parent.glob(f"conda-meta/{name}-*.json")):
            told = read_json(file)
            if told.get("name") == name:  # and not one whose name begins like this
                packages[name] = f"{told['version']} ({told['build']})"
    if not packages and path.with_name("VERSION").is_file():
        packages["delphes"] = path.with_name("VERSION").read_text(encoding="utf-8").strip()
    return {"name": PROGRAM, "sha256": sha256(path), "packages": packages}


def generate(spec: ShardSpec, program: Path, directory: Path) -> Generator[pa.Table]:
    """Yield the jets of batches of events, for ever; a function of the spec and of Delphes' build.

    Delphes is told how many events it shall make, not how many jets: it is run again until it is
    not asked for more. Each run has its own seed, and the next one of the process's alternatives.

    Parameters
    ----------
    spec
        What is generated.
    program
        See `find`.
    directory
        For the cards of all runs, Delphes' logs and, one at a time, its ROOT files.

    Raises
    ------
    InputError
        When the program fails, its file cannot be read, or no event has a jet.
    """
    kinds = len(PROCESSES[spec.process].alternatives) or 1
    events = jets = asked = 0
    for number in count():
        if number % kinds == 0:  # the process's alternatives share the events of a cycle
            asked = _events_of_each(kinds, spec.jets - jets, jets, events)
        stem = directory / str(number)
        write_inputs(spec, number, asked, stem)
        before = events
        output = _run(program, stem)
        try:
            for record, candidates in read(output, spec.batch, spec.detector.position_eta):
                table = labelled_jets(record, candidates, spec)
                events, jets = events + len(record), jets + len(table)
                yield table
        finally:
            output.unlink()
        if events == before:
            raise _failure(stem, "made no event")
        _LOG.info("run %d: %d of %d events; %d jets so far", number, events - before, asked, jets)
        if not jets and events >= _BARREN_EVENTS:
            raise no_jets(spec, events)


def write_inputs(spec: ShardSpec, number: int, events: int, stem: Path) -> None:
    """Write what a run reads: ``<stem>.tcl`` for Delphes and ``<stem>.cmnd`` for Pythia.

    Parameters
    ----------
    spec
        What is generated.
    number
        Which run of the shard, from 0.
    events
        Events that Pythia shall make.
    stem
        Path without suffix.
    """
    alternatives = PROCESSES[spec.process].alternatives
    lines = [
        f"Main:numberOfEvents = {events}",
        # An event that fails is left out; a run ends with the tenth part of its events failed.
        f"Main:timesAllowErrors = {max(events // 10, 10)}",
        *settings(spec.process, spec.variation, derive(spec.seed, "pythia", number)),
        *(alternatives[number % len(alternatives)] if alternatives else ()),
    ]
    seed = 1 + derive(spec.seed, "delphes", number) % 900_000_000
    card = write_card(spec.detector, spec.variation, seed)
    stem.with_suffix(".tcl").write_text(card, encoding="utf-8")
    stem.with_suffix(".cmnd").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _events_of_each(kinds: int, left: int, jets: int, events: int) -> int:
    """Return how many events each run of a cycle makes: by the jets per event so far, at first one.

    Parameters
    ----------
    kinds
        Runs of a cycle.
    left
        Jets that are still to be made.
    jets, events
        What there is so far.
    """
    rate = max(jets, 1) / max(events, 1)
    return min(max(math.ceil(left / kinds / rate), _FEWEST), _MOST)


def _run(program: Path, stem: Path) -> Path:
    """Run Delphes; return its ROOT file."""
    output, log = stem.with_suffix(".root"), stem.with_suffix(".log")
    output.unlink(missing_ok=True)  # Delphes overwrites nothing
    inputs = [stem.with_suffix(".tcl"), stem.with_suffix(".cmnd")]
    with log.open("wb") as stream:
        done = subprocess.run(
            [program, *inputs, output], stdout=stream, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode or not output.is_file():
        raise _failure(stem, f"failed with status {done.returncode}")
    return output


def _failure(stem: Path, problem: str) -> InputError:
    """Log the end of what Delphes said, and return the error of a run."""
    said = stem.with_suffix(".log").read_text(encoding="utf-8", errors="replace")
    _LOG.error("the end of %s's output:\n%s", PROGRAM, "\n".join(said.splitlines()[-15:]))
    return InputError(
        PROGRAM, "run", problem, "Its output is above; to keep cards and logs, use --directory"
    )
