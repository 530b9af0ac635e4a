"""Delphes' files for tests: cards are taken apart, ROOT files written in Delphes' layout.

As a program it stands in for DelphesPythia8: Pythia with the given commands, measured by the
detector as array code with the seed of the given card.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pythia8mc
import uproot

from otcal.config.simulation import Detector, Variation
from otcal.simulation.detector.particles import Candidates
from otcal.simulation.detector.response import detect
from otcal.simulation.generator import Events, Generator

LISTS = {"EtaPhiBins", "EnergyFraction", "InputArray", "Branch"}


@dataclass
class Module:
    """A module of a card: what it sets, and the words of each line that adds to a list."""

    kind: str
    settings: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[list[str]]] = field(default_factory=dict)


def read_card(text: str) -> tuple[dict[str, str], dict[str, Module]]:
    """Return what a card sets outside of modules, and its modules by name."""
    top: dict[str, str] = {}
    modules: dict[str, Module] = {}
    for command, *words in _commands(text):
        if command == "set":
            top[words[0]] = words[1]
            continue
        assert command == "module", command
        kind, name, body = words
        module = modules[name] = Module(kind)
        for verb, key, *values in _commands(body):
            if verb == "set":
                (module.settings[key],) = values
            else:
                assert verb == "add", verb
                module.lists.setdefault(key, []).append(values)
    return top, modules


def _commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each command: Tcl's rules for words, braces and comments."""
    words: list[str] = []
    position = 0
    while position < len(text):
        if text[position] == "\n":
            if words:
                yield words
            words = []
            position += 1
        elif text[position].isspace():
            position += 1
        elif text[position] == "#" and not words:
            position = text.index("\n", position)
        elif text[position] == "{":
            depth, start = 1, position + 1
            while depth:
                position += 1
                depth += {"{": 1, "}": -1}.get(text[position], 0)
            words.append(text[start:position])
            position += 1
        else:
            found = re.compile(r"[^\s{}]+").match(text, position)
            assert found is not None, text[position : position + 20]
            words.append(found[0])
            position = found.end()
    if words:
        yield words


def evaluate(formula: str, **values: np.ndarray) -> np.ndarray:
    """Evaluate a formula of a card at eta, pt, energy."""
    text = formula.replace("&&", ") * (").replace("^", "**").replace("\n", " ")
    functions = {"abs": np.abs, "sqrt": np.sqrt, "exp": np.exp, "cosh": np.cosh, "pow": np.power}
    return np.asarray(eval(text, {"__builtins__": {}}, functions | values), dtype=np.float64)


def simulated(process: str, events: int = 12, seed: int = 3) -> tuple[Events, Candidates]:
    """Return events of Pythia and what the detector as array code makes of them."""
    record = Generator(process, Variation(), seed).next_batch(events)
    rng = np.random.default_rng(seed)
    return record, detect(record.stable(), Detector(), Variation(), rng)


def write_delphes(
    path: Path,
    batches: list[tuple[Events, Candidates]],
    weights: Sequence[float] | None = None,
    without: Collection[str] = (),
    tree: str = "Delphes",
    **changes: Any,
) -> None:
    """Write Pythia's events and their candidates with the branches of Delphes' TreeWriter.

    Delphes has no entry for the event as a whole, counts from zero, and keeps the tracks of towers
    below threshold, of which one is added to each event. All events have the weight 1, or `weights`
    of their own. `without` are branches that are left out. `changes` replace members of the branch
    of candidates by other values for all; None leaves one out.

    Members have their names and types in Delphes, but not the branch of objects above them, which
    uproot cannot write.
    """
    content: dict[str, Any] = {}
    for name, make in (("Particle", _particles), ("ParticleFlowCandidate", _candidates)):
        parts = [make(*batch) for batch in batches]
        content[name] = ak.zip({key: ak.concatenate([p[key] for p in parts]) for key in parts[0]})
    flow = content["ParticleFlowCandidate"]
    for key, value in changes.items():
        if value is None:
            flow = ak.without_field(flow, key)
        else:
            flow = ak.with_field(flow, ak.full_like(flow[key], value), key)
    content["ParticleFlowCandidate"] = flow
    ends = np.cumsum([len(one) for one, _ in batches])
    each = np.ones(ends[-1]) if weights is None else np.asarray(weights)
    assert len(each) == ends[-1]
    once = np.ones(len(each), dtype=np.int64)
    content["Event"] = ak.zip({"Weight": ak.unflatten(each.astype(np.float32), once)})
    content = {name: array for name, array in content.items() if name not in without}
    kinds = {name: ak.type(array).content for name, array in content.items()}
    with uproot.recreate(path) as file:
        written = file.mktree(
            tree,
            kinds,
            counter_name=lambda counted: f"{counted}_size",
            field_name=lambda outer, inner: f"{outer}.{inner}" if outer else inner,
        )
        for first, last in pairwise([0, *ends]):  # baskets of their own
            written.extend({name: array[first:last] for name, array in content.items()})


def _particles(events: Events, _: Candidates) -> dict[str, ak.Array]:
    counts = np.diff(events.offsets) - 1
    kept = np.ones(events.offsets[-1], dtype=bool)
    kept[events.offsets[:-1]] = False
    members = {
        "PID": events.pid.astype(np.int32),
        "Status": np.where(np.asarray(events.status) > 0, 1, 2).astype(np.int32),
        "D1": (np.asarray(events.daughter1) - 1).astype(np.int32),
        "D2": (np.asarray(events.daughter2) - 1).astype(np.int32),
        "Charge": events.charge.astype(np.int32),
        **{
            theirs: np.asarray(getattr(events, ours)).astype(np.float32)
            for theirs, ours in {"Px": "px", "Py": "py", "Pz": "pz", "E": "energy"}.items()
        },
        **{name: getattr(events, name.lower()).astype(np.float32) for name in "XYZ"},
    }
    return {name: ak.unflatten(values[kept], counts) for name, values in members.items()}


def _candidates(events: Events, c: Candidates) -> dict[str, ak.Array]:
    counts = np.bincount(c.event, minlength=len(events))
    members: dict[str, tuple[np.ndarray, float]] = {  # with the values of a lost track
        "PID": (c.pid.astype(np.int32), 211),
        "Charge": (c.charge.astype(np.int32), 1),
        "PT": (c.pt.astype(np.float32), 0.0),
        "Eta": (c.eta_position.astype(np.float32), 0.3),
        "CtgTheta": (np.sinh(c.eta).astype(np.float32), 1e10),
        "EtaOuter": (c.eta_position.astype(np.float32), 0.3),
        "Phi": (c.phi.astype(np.float32), 0.0),
        "Mass": (np.where(c.mass > 0, c.mass, -1e-6).astype(np.float32), 0.1396),
        "D0": (np.where(c.charge, c.d0, 0).astype(np.float32), 0.1),
        "ErrorD0": (c.d0_error.astype(np.float32), 0.01),
        "DZ": (c.dz.astype(np.float32), 0.2),
        "ErrorDZ": (c.dz_error.astype(np.float32), 0.03),
    }
    result = {}
    each = np.ones(len(events), dtype=np.int64)
    for name, (values, lost) in members.items():
        one = ak.unflatten(np.full(len(events), lost, dtype=values.dtype), each)
        result[name] = ak.concatenate([one, ak.unflatten(values, counts)], axis=1)
    return result


def install(directory: Path, *script: str) -> None:
    """Put a program with the name of Delphes' into a directory: shell commands, or this module."""
    here, source = Path(__file__).resolve(), Path(sys.modules["otcal"].__file__ or "").parents[1]
    stand_in = f"PYTHONPATH={shlex.quote(str(source))} exec {sys.executable} {here} "
    directory.mkdir(exist_ok=True)
    program = directory / "DelphesPythia8"
    program.write_text("\n".join(["#!/bin/sh", *(script or [f'{stand_in} "$@"'])]) + "\n")
    program.chmod(0o755)


def main() -> None:
    card, commands, output = (Path(name) for name in sys.argv[1:])
    assert not output.exists(), "Delphes overwrites nothing"
    seed = int(read_card(card.read_text())[0]["RandomSeed"])
    generator = Generator("QCD", Variation(), 1)
    pythia = generator.pythia = pythia8mc.Pythia("", False)  # without that one's settings
    assert pythia.readFile(str(commands)), "Pythia refuses the commands"
    assert pythia.init()
    events = generator.next_batch(pythia.mode("Main:numberOfEvents"))
    rng = np.random.default_rng(seed)
    candidates = detect(events.stable(), Detector(), Variation(), rng)
    write_delphes(output, [(events, candidates)])


if __name__ == "__main__":
    main()
