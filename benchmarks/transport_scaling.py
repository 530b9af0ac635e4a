"""What transport maps cost: applying one against bare matrix products, fitting one against n and d.

Every row is measured in a process of its own, on one core where there is no GPU. Tables are printed
and written as `apply.csv` and `fit.csv`; the second is drawn.

    python benchmarks/transport_scaling.py --output results/transport_scaling
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator
from torch import Tensor

from accuracy.measure import peak_memory, use_one_core
from accuracy.problems import build
from otcal.figures import style
from otcal.runtime import device
from otcal.transport.api import fit_map
from otcal.transport.convex import ConvexPotential
from otcal.transport.fitted import CHUNK, CHUNK_ON_GPU
from otcal.transport.metrics import l2_uvp

DIMENSIONS = (2, 16, 64, 128)
COUNTS = (10_000, 100_000, 1_000_000, 10_000_000)
SECONDS = 2.0
"""Over which a speed is averaged."""


def bare(network: ConvexPotential, x: Tensor) -> Tensor:
    """Do the matrix products of one application and nothing else."""
    d, units = network.dimension, sum(network.hidden)
    wide = torch.empty(len(x), len(network.skips), device=x.device)
    axes = network.skips[:d]  # stands for the changes of coordinates
    for _ in range(2):  # there and back: every product of the value has one in the gradient
        x = x @ axes
        torch.mm(x, network.skips.T, out=wide)
        for weight in network.roots:
            wide[:, : weight.shape[1]] @ weight.T
        if network.pieces:
            wide[:, : units + network.squares] @ network.mixture.T
    return x


def clock(place: torch.device) -> float:
    """Return seconds: of the CPU where it computes, as others may share it; else of the wall."""
    return time.process_time() if place.type == "cpu" else time.perf_counter()


def speed(function: Any, x: Tensor) -> float:
    """Return points per second."""
    count, start = 0, clock(x.device)
    while clock(x.device) - start < SECONDS:
        for piece in x.split(CHUNK_ON_GPU if x.is_cuda else CHUNK):
            function(piece)
        if x.is_cuda:
            torch.cuda.synchronize()
        count += len(x)
    return count / (clock(x.device) - start)


@torch.no_grad()
def apply(d: int, place: torch.device) -> dict[str, Any]:
    """Measure a map of default size in d dimensions."""
    source, target, x = (torch.randn(n, d).numpy() for n in (2000, 2000, 65536))
    fitted = fit_map(source, target, steps=20, select=False, diagnostics=False).map.to(place)
    points = torch.from_numpy(x).to(place)
    network = fitted.potentials[0]
    assert isinstance(network, ConvexPotential)
    ours = speed(fitted.transport, points)
    products = speed(lambda piece: bare(network, piece), points)
    return {"d": d, "points_per_s": ours, "products_per_s": products, "ratio": products / ours}


def fit(family: str, count: int, budget: float, place: torch.device) -> dict[str, Any]:
    """Measure one fit."""
    problem = build(family, 1)
    samples = problem.training(count)
    x, exact, _ = problem.test()
    now = partial(clock, place)
    start = now()
    fitted = fit_map(
        *samples,
        budget_s=budget,
        clock=now,
        select=False,
        diagnostics=False,
        device_name=place.type,
    )
    seconds, steps = now() - start, fitted.diagnostics["steps"]
    error = l2_uvp(torch.from_numpy(np.asarray(fitted.transport(x))), torch.from_numpy(exact))
    return {
        "family": family,
        "n": count,
        "seconds": seconds,
        "steps": steps,
        "ms_per_step": 1e3 * seconds / steps,
        "l2_uvp": error,
        "samples_mb": 2 * samples[0].nbytes / 2**20,
        "peak_rss_mb": peak_memory(),
    }


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the row that the command line names."""
    place = device.resolve(arguments.device)
    if place.type == "cpu":
        use_one_core()
    if arguments.row[0] == "apply":
        return apply(int(arguments.row[1]), place)
    return fit(arguments.row[1], int(arguments.row[2]), arguments.budget, place)


def run(row: list[str], arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure a row in a process of its own."""
    options = ["--budget", str(arguments.budget), "--device", arguments.device]
    command = [sys.executable, __file__, *options, "--row", *row]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--budget", type=float, default=60.0, help="seconds of a fit")
    parser.add_argument("--counts", type=int, nargs="+", default=list(COUNTS), help="points")
    parser.add_argument("--dimensions", type=int, nargs="+", default=list(DIMENSIONS))
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--output", type=Path, default=Path("results/transport_scaling"))
    parser.add_argument("--row", nargs="+", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    if arguments.row:
        print(json.dumps(measure(arguments)))
        return
    arguments.output.mkdir(parents=True, exist_ok=True)
    applied = [run(["apply", str(d)], arguments) for d in arguments.dimensions]
    jobs = [("lse-16", count) for count in arguments.counts]
    jobs += [(f"lse-{d}", 100_000) for d in arguments.dimensions if d != 16]
    fits = [run(["fit", family, str(count)], arguments) for family, count in jobs]
    for name, rows in (("apply", applied), ("fit", fits)):
        table = pd.DataFrame(rows)
        table.to_csv(arguments.output / f"{name}.csv", index=False, float_format="%.5g")
        print(table.to_string(index=False, float_format="%.4g"))
    draw(pd.DataFrame(fits), arguments.output / "fit")


def draw(table: pd.DataFrame, stem: Path) -> None:
    """Draw the time of a step and the error of the map, against n and against d."""
    figure = style.new(6.4, 9.0)
    figure.set_layout_engine("constrained", h_pad=0.06, w_pad=0.06)
    grid = figure.subplots(2, 2, sharey="row")
    table = table.assign(d=table["family"].str.removeprefix("lse-").astype(int))
    cuts = (
        ("n", "points per sample", table[table["d"] == 16], "16 coordinates"),
        ("d", "coordinates", table[table["n"] == 100_000], "100,000 points"),
    )
    for column, (name, label, rows, title) in zip(grid.T, cuts, strict=True):
        rows = rows.sort_values(name)
        for axes, figure_name in zip(column, ("ms_per_step", "l2_uvp"), strict=True):
            axes.plot(rows[name], rows[figure_name], "o-")
            axes.set(xscale="log", yscale="log", xlabel=label)
            axes.margins(0.1)
            axes.set_xticks(rows[name], [f"{value:,}" for value in rows[name]])
            axes.xaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
        column[0].set_title(title)
    grid[0, 0].set_ylabel("time of the fit per step (ms)")
    grid[1, 0].set_ylabel("L2-UVP (%)")
    style.save(figure, stem)


if __name__ == "__main__":
    main()
