"""A copy of the project in a directory of its own, and what Snakemake plans and does in it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SMOKE = "workflow/presets/smoke.yaml"
PLANNER = Path(__file__).with_name("planner.py")


@dataclass
class Checkout:
    """A copy of the project's files whose commands run its own source code."""

    path: Path

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which commands find this copy's source code."""
        bin_dir = Path(sys.executable).parent
        # Bytecode of the copy is out of everybody's way, and each of many steps would compile anew.
        inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        return inherited | {
            "PATH": f"{bin_dir}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.path / "src"),
            "XDG_CACHE_HOME": str(self.path / ".cache"),
        }

    def run(
        self, command: Sequence[str], text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.path,
            env=self.environment,
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )

    def snakemake(
        self, *arguments: str, presets: Sequence[str] = (SMOKE,)
    ) -> subprocess.CompletedProcess[str]:
        configuration = ["--configfile", *presets] if presets else []
        return self.run(["snakemake", "--cores", "2", *arguments, *configuration])

    def planned(self, *arguments: str, presets: Sequence[str] = (SMOKE,)) -> dict[str, int]:
        """Return how often each rule would run."""
        done = self.snakemake("--dry-run", *arguments, presets=presets)
        assert done.returncode == 0, done.stderr[-3000:]
        text = done.stdout + done.stderr
        if "Nothing to be done" in text:
            return {}
        table = text.split("Job stats:")[1].split("\n\n")[0]
        rows = re.findall(r"^(\w+)\s+(\d+)$", table, flags=re.MULTILINE)
        return {rule: int(count) for rule, count in rows if rule != "total"}

    def plans(self, *settings: dict[str, Any]) -> list[list[dict[str, Any]]]:
        """Return the outputs of the plan under each of some settings on top of the smoke preset.

        Each has file, rule, log, inputs, and whether it is pending (see `planner.py`).
        """
        done = self.run([sys.executable, str(PLANNER)], json.dumps(settings))
        assert done.returncode == 0, done.stderr[-3000:]
        result: list[list[dict[str, Any]]] = json.loads(done.stdout)
        return result

    def pretend(self) -> None:
        """Bring about the state after a run, with placeholders for files that a run would make.

        Plans compare names, ages, commands and parameters with what Snakemake itself recorded;
        what is in the files does not matter.
        """
        for output in self.plans({})[0]:
            path = self.path / output["file"]
            if path.suffix:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(output["file"])
            else:
                path.mkdir(parents=True)
        done = self.snakemake("--touch", "--forceall")
        assert done.returncode == 0, done.stderr[-3000:]

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace the first `old` in a file by `new`."""
        path = self.path / name
        text = path.read_text()
        assert old in text, f"{name} does not contain {old!r}"
        path.write_text(text.replace(old, new, 1))


def copy_project(destination: Path) -> Checkout:
    """Copy what git knows or would add, so that a clone behaves the same."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (destination / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, destination / name)
    return Checkout(destination)
