"""Where a file came from."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from otcal.runtime.files import sha256, write_json


def record(
    step: str, spec: Any, inputs: Iterable[str | Path] = (), seed: int | None = None
) -> dict[str, Any]:
    """Describe how an output was made: code, settings, inputs, seed and threads.

    There is no time stamp in it, so equal work gives equal bytes.

    Parameters
    ----------
    step
        Name of the step, such as ``simulate``.
    spec
        JSON-ready settings that the step consumed.
    inputs
        Files that it read; their checksums are recorded under their names as given.
    seed
        Seed of the step, when it has one of its own.
    """
    return {
        "step": step,
        "version": version("otcal"),
        "revision": revision(),
        "spec": spec,
        "inputs": {str(path): sha256(path) for path in inputs},
        "seed": seed,
        "threads": os.environ.get("OMP_NUM_THREADS"),
    }


def write_sidecar(output: str | Path, content: dict[str, Any]) -> None:
    """Write `<output>.provenance.json` beside an output that cannot carry it inside."""
    write_json(f"{output}.provenance.json", content)


@cache
def revision() -> str | None:
    """Return git's description of the checkout that the package runs from, None outside one."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--tags"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None  # an installed wheel: the version says it all
    return done.stdout.strip()
