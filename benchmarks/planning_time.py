"""Time that Snakemake takes to plan the latent study with many shards, before anything has run.

Shards are made small, not jets many: a plan knows only their number. CPU time is that of the
process that plans; wall-clock time also counts other load on the machine.

    python benchmarks/planning_time.py --shards 1000 10000
"""

from __future__ import annotations

import argparse
import math
import resource
import subprocess
import tempfile
import time
from pathlib import Path

import yaml

from otcal.config.study import load_settings

ROOT = Path(__file__).resolve().parents[1]


def settings(shards: int) -> tuple[dict[str, object], int]:
    """Return settings on top of config.yaml for about so many shards, and their exact number."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    simulation = config["latent"]["simulation"]
    jets = sum(sum(one["jets"].values()) for one in simulation["datasets"].values())
    simulation["jets_per_shard"] = math.ceil(jets / shards)
    study = load_settings(config).latent.simulation
    over = {
        "results": "results/planning",
        "latent": {"simulation": {"jets_per_shard": study.jets_per_shard}},
    }
    return over, sum(len(study.shards(name)) for name in study.datasets)


def plan(project: Path, preset: str) -> tuple[float, float]:
    """Plan once with settings of a file; return CPU and wall-clock seconds."""
    command = ["snakemake", "latent", "--dry-run", "--quiet", "all", "--configfile", preset]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, cwd=project, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shards", type=int, nargs="+", default=[10_000], help="about so many")
    for wanted in parser.parse_args().shards:
        over, shards = settings(wanted)
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as preset:
            yaml.safe_dump(over, preset)
            cpu, wall = plan(ROOT, preset.name)
        print(f"{shards:6d} shards: {cpu:6.1f} s CPU, {wall:6.1f} s wall clock", flush=True)


if __name__ == "__main__":
    main()
