"""One row of the benchmark: fit one solver to one problem and measure the map.

    python -m accuracy.measure lse-128 otcal 101 60

prints the row as JSON in the last line of its output.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from typing import Any

import numpy as np
import torch

from accuracy.clock import Clock, Fit, Points
from accuracy.problems import Problem, build
from accuracy.solvers import SOLVERS
from otcal.transport.metrics import energy_distance, l2_uvp, sliced_wasserstein

_APPLY = 1.0  # CPU seconds over which the speed of a map is averaged


def measure(family: str, solver: str, seed: int, budget: float) -> dict[str, Any]:
    """Return the figures of one fit; what they mean is in `benchmarks/README.md`."""
    fit_solver = SOLVERS[solver].load()
    problem = build(family, seed)
    source, target = problem.training()
    wall, clock = time.perf_counter(), Clock(budget)
    fit = fit_solver(source, target, clock, seed)
    cost = {"cpu_s": clock.spent, "wall_s": time.perf_counter() - wall, "steps": fit.steps}
    return {
        **figures(problem, fit),
        **cost,
        "peak_rss_mb": peak_memory(),
        "notes": json.dumps(fit.notes),
    }


def figures(problem: Problem, fit: Fit) -> dict[str, float]:
    """Return errors of the map on fresh points, distances of their images, and its speed."""
    x, exact, target = problem.test()
    moved = np.asarray(fit.transport(x), dtype=np.float32)  # the first call may compile
    speed = _speed(fit, x)
    length = float(np.sqrt(target.var(axis=0).mean()))
    points = [torch.from_numpy(z) for z in (x, exact, target, moved)]
    x, exact, target, moved = points
    shift, right = moved - x, exact - x
    return {
        "l2_uvp": l2_uvp(moved, exact),
        "cosine": float((shift * right).sum() / (shift.norm() * right.norm())),
        "energy": energy_distance(moved / length, target / length),
        "sliced_w2": sliced_wasserstein(moved / length, target / length),
        "points_per_s": speed,
    }


def peak_memory() -> float:
    """Return the most memory that this process has had, in MiB."""
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def machine() -> str:
    """Return the processor's name and the vector instructions that torch uses."""
    name = torch.cpu.get_capabilities().get("cpu_name", "unknown processor")
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


def use_one_core() -> None:
    """Compute on one thread, and on one core where the system allows it."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)


def _speed(fit: Fit, x: Points) -> float:
    """Return points per CPU second."""
    clock, count = Clock(_APPLY), 0
    while clock.left > 0:
        fit.transport(x)
        count += len(x)
    return count / clock.spent


def main() -> None:
    """Measure what the command line names, on one core where the system allows it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("family")
    parser.add_argument("solver")
    parser.add_argument("seed", type=int)
    parser.add_argument("budget", type=float)
    arguments = parser.parse_args()
    use_one_core()
    print(json.dumps(measure(**vars(arguments))))


if __name__ == "__main__":
    main()
