"""Cost of a measured, labelled event against a bare Pythia event, and its scaling with cores.

On one core both run the same process with the same seed, in turns, so that a busy machine slows
both alike; CPU time of this process is counted.

On 1, 2, 4, ... processes, each with a shard of its own as in the workflow, the same number of
events is made in total; wall-clock time is counted from the moment when all have started, loaded
their libraries and made a first batch. The numbers of processes take turns, `--rounds` times, and
medians are shown. Other load on the machine counts against the efficiency.

    python benchmarks/simulation_cost.py --events 1000
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from otcal.config.simulation import ShardSpec, Variation
from otcal.samples.classes import CLASSES
from otcal.simulation.generator import Generator
from otcal.simulation.shard import generate


def timed(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def make_shard(spec: ShardSpec, pipe: Connection) -> None:
    """Make as many batches as each message asks for; answer with jets and the time of the end."""
    chain = generate(spec)
    next(chain)
    pipe.send(None)
    while batches := pipe.recv():
        jets = sum(len(next(chain)) for _ in range(batches))
        pipe.send((jets, time.monotonic()))


def rates(pipes: list[Connection], batches: int, events: int) -> tuple[float, float]:
    """Return jets and events per second of processes that make `batches` batches each."""
    start = time.monotonic()
    for pipe in pipes:
        pipe.send(batches)
    jets, ends = zip(*(pipe.recv() for pipe in pipes), strict=True)
    wall = max(ends) - start
    return sum(jets) / wall, len(pipes) * batches * events / wall


def scaling(process: str, events: int, most: int, rounds: int) -> None:
    """Print jets per second and parallel efficiency on up to `most` processes."""
    context = multiprocessing.get_context("spawn")
    pipes = []
    for number in range(most):
        ours, theirs = context.Pipe()
        spec = ShardSpec(process=process, jets=1, seed=2 + number)
        context.Process(target=make_shard, args=(spec, theirs), daemon=True).start()
        theirs.close()  # a process that fails ends the benchmark, instead of leaving it waiting
        pipes.append(ours)
    for pipe in pipes:
        pipe.recv()
    counts = sorted({2**k for k in range(most.bit_length())} | {most})
    found: dict[int, list[tuple[float, float]]] = {count: [] for count in counts}
    for _ in range(rounds):
        for count in counts:
            share = math.ceil(events / (spec.batch * count))
            found[count].append(rates(pipes[:count], share, spec.batch))
    for pipe in pipes:
        pipe.send(0)
    # Events are the work that is equal; jets per event fluctuate from seed to seed.
    jets, work = (
        {count: statistics.median(pair[i] for pair in pairs) for count, pairs in found.items()}
        for i in (0, 1)
    )
    load = os.getloadavg()[0]
    print(f"\n{events} events in total, median of {rounds} rounds")
    print(f"{os.cpu_count()} cores, load average {load:.1f} at the end")
    print("processes  jets/s  parallel efficiency")
    for count in counts:
        print(f"{count:9d}  {jets[count]:6.0f}  {work[count] / count / work[1]:.2f}")


def one_core(process: str, events: int) -> None:
    """Print the cost of an event, bare and whole."""
    spec = ShardSpec(process=process, jets=1, seed=1)
    bare = Generator(spec.process, Variation(), seed=1).pythia
    chain = generate(spec)
    jets = len(next(chain))  # the first batch also loads libraries and tables
    for _ in range(spec.batch):
        bare.next()

    pythia, whole, jets = [], [], 0
    for _ in range(max(events // spec.batch, 2)):
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--process", default="QCD", choices=CLASSES)
    parser.add_argument("--events", type=int, default=1000, help="events of each kind")
    parser.add_argument(
        "--processes",
        type=int,
        default=len(os.sched_getaffinity(0)),
        help="most processes at once (default: the cores; 0: one core only)",
    )
    parser.add_argument("--rounds", type=int, default=3, help="repetitions on several processes")
    arguments = parser.parse_args()
    one_core(arguments.process, arguments.events)
    if arguments.processes:
        scaling(arguments.process, arguments.events, arguments.processes, arguments.rounds)


if __name__ == "__main__":
    main()
