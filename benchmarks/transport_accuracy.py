"""Accuracy of transport-map solvers against known maps, per CPU time.

Every row is one fit of one solver to 100,000 unpaired points per side, in a process of its own on
one core. Rows are added to `accuracy.csv` in the output directory as they come; a row that is there
already, from the same version of the solver on a machine of this kind, isn't run again. At the end
a table is printed, its medians are written to `accuracy.md`, and a figure is drawn.
`benchmarks/README.md` says what problems, solvers and columns are.

    python benchmarks/transport_accuracy.py --budget 60 --seeds 101 102 103
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from accuracy import table
from accuracy.draw import draw
from accuracy.measure import machine
from accuracy.problems import FAMILIES
from accuracy.solvers import SOLVERS

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
}


def run(row: dict[str, str]) -> dict[str, object] | None:
    """Measure a row in a process of its own; None, and its errors are shown, when that fails."""
    names = ("family", "solver", "seed", "budget_s")
    command = [sys.executable, "-m", "accuracy.measure", *(row[name] for name in names)]
    path = os.pathsep.join([str(Path(__file__).parent.resolve()), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        return None
    return {**row, **json.loads(done.stdout.splitlines()[-1])}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--budget", type=float, nargs="+", default=[60.0], help="seconds of a fit")
    parser.add_argument("--seeds", type=int, nargs="+", default=[101, 102, 103])
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--solvers", nargs="+", choices=SOLVERS, default=list(SOLVERS))
    parser.add_argument("--output", type=Path, default=Path("results/transport_accuracy"))
    arguments = parser.parse_args()
    for name in arguments.solvers:
        if missing := SOLVERS[name].missing:
            parser.error(
                f"solver {name} needs {', '.join(missing)}, which is not installed: "
                "pip install '.[bench]', or choose others with --solvers"
            )
    return arguments


def main() -> None:
    arguments = parse()
    path = arguments.output / "accuracy.csv"
    known = {table.key(row) for row in table.read(path)}
    wanted, failed = {}, 0
    for seed, family, budget, name in itertools.product(
        arguments.seeds, arguments.families, arguments.budget, arguments.solvers
    ):
        seconds = budget if SOLVERS[name].budgeted else 0.0
        values = (family, name, str(seed), f"{seconds:g}", SOLVERS[name].version, machine())
        row = dict(zip(table.KEY, values, strict=True))
        wanted[table.key(row)] = row
    for number, (key, row) in enumerate(wanted.items(), 1):
        if key in known:
            continue
        start = time.perf_counter()
        found = run(row)
        line = f"{number}/{len(wanted)} {' '.join(key[:4])}: "
        if found is None:
            failed += 1
            print(line + "failed", flush=True)
            continue
        table.append(path, found)
        line += f"L2-UVP {found['l2_uvp']:.4g} %, {found['cpu_s']:.1f} CPU s"
        print(f"{line}, {time.perf_counter() - start:.0f} s in all", flush=True)
    order = list(FAMILIES)
    present = [row for row in table.read(path) if table.key(row) in wanted]
    rows = table.frame(sorted(present, key=lambda row: order.index(row["family"])))
    if len(rows):
        print(table.summarise(rows).to_string(index=False, float_format="%.4g"))
        titles = {name: solver.title for name, solver in SOLVERS.items()}
        text = table.markdown(rows, titles)
        (arguments.output / "accuracy.md").write_text(text, encoding="utf-8")
        draw(rows, arguments.output / "accuracy")
    if failed:
        sys.exit(f"{failed} rows failed; the same command runs them again")


if __name__ == "__main__":
    main()
