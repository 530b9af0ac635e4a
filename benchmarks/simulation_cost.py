"""Cost of a measured, labelled event against a bare Pythia event, on one core.

Both run the same process with the same seed, in turns, so that a busy machine slows both alike;
CPU time of this process is counted. Example: ``python benchmarks/simulation_cost.py --events 1000``
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from otcal.config.simulation import ShardSpec, Variation
from otcal.simulation.generator import Generator
from otcal.simulation.processes import PROCESSES
from otcal.simulation.shard import generate


def timed(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--process", default="QCD", choices=list(PROCESSES))
    parser.add_argument("--events", type=int, default=1000, help="events of each kind")
    arguments = parser.parse_args()

    spec = ShardSpec(process=arguments.process, jets=1, seed=1)
    bare = Generator(spec.process, Variation(), seed=1).pythia
    chain = generate(spec)
    jets = len(next(chain))  # the first batch also loads libraries and tables
    for _ in range(spec.batch):
        bare.next()

    pythia, whole, jets = [], [], 0
    for _ in range(max(arguments.events // spec.batch, 2)):
        pythia.append(timed(lambda: [bare.next() for _ in range(spec.batch)]))
        tables: list = []
        whole.append(timed(lambda tables=tables: tables.append(next(chain))))
        jets += len(tables[0])
    n = len(whole) * spec.batch
    milliseconds = [1e3 * sum(times) / n for times in (pythia, whole)]
    rng = np.random.default_rng(0)
    picks = rng.integers(0, len(whole), (2000, len(whole)))
    ratios = np.array(whole)[picks].sum(axis=1) / np.array(pythia)[picks].sum(axis=1)
    print(f"process                    {spec.process}, {n} events of each kind")
    print(f"bare pythia.next()         {milliseconds[0]:.2f} ms/event")
    print(f"whole chain                {milliseconds[1]:.2f} ms/event")
    print(f"ratio                      {sum(whole) / sum(pythia):.3f} +- {ratios.std():.3f}")
    print(f"selected jets per event    {jets / n:.3f}")
    print(f"jets per second and core   {jets / sum(whole):.0f}")


if __name__ == "__main__":
    main()
