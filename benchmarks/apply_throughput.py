"""Throughput of applying a calibration: jets per second and core against bare matrix products.

Maps have the default networks and no training, which costs the same: three flavours of 2 features
and a latent of 128. Rows:

- ``products``: the matrix products of the map's graph alone, in NumPy, with the same batches;
- ``model``: the map's ONNX model in onnxruntime;
- ``calibrate``: `otcal.bundle.calibration`, with checks, ranges and labels;
- ``apply parquet``, ``root``, ``hdf5``: `otcal apply` from a file to another of its format, not
  compressed (Parquet: snappy).

All on one thread, `--rounds` times in turn; the table shows medians.

    python benchmarks/apply_throughput.py --jets 200000 --output throughput.csv
"""

from __future__ import annotations

import argparse
import os

os.environ["OMP_NUM_THREADS"] = "1"  # before anything loads OpenMP or BLAS
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import onnx
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import uproot
from numpy.typing import NDArray
from onnx import numpy_helper

from otcal.bundle.applying import Settings, apply_bundle
from otcal.bundle.calibration import PIECE, Calibration
from otcal.bundle.card import Card, Range, read_card, write_card
from otcal.bundle.onnx_map import map_model, probability_model
from otcal.samples.tables import fixed_size_list
from otcal.simplex import ilr, ilr_inverse
from otcal.transport.convex import ConvexPotential
from otcal.transport.coordinates import precondition
from otcal.transport.fitted import TransportMap
from otcal.transport.gaussian import fit_gaussian
from otcal.transport.semidual import SemidualOptions

Array = NDArray[np.float32]
NAMES = ("b", "c", "light")


def transport_map(x: NDArray[np.floating], hidden: tuple[int, ...], pieces: int) -> TransportMap:
    torch.manual_seed(0)
    coordinates = precondition(fit_gaussian(x, 1.1 * x + 0.1), np.ones(x.shape[1]))
    return TransportMap(coordinates, [ConvexPotential(coordinates.rank, hidden, pieces=pieces)])


def simplex_bundle(directory: Path, x: NDArray[np.floating]) -> Card:
    model = probability_model(transport_map(ilr(x), (64, 64), 0), "ilr")
    for name in NAMES:
        onnx.save(model, directory / f"{name}.onnx")
    everywhere = Range(np.zeros(1, np.float32), np.ones(1, np.float32))
    columns = tuple(f"p_{name}" for name in NAMES)
    return Card(
        study="simplex",
        kind="probabilities",
        columns=columns,
        width=1,
        conditions=(),
        floor=None,
        normalise=False,
        label="label",
        labels=dict(enumerate(NAMES)),
        maps={name: {"nominal": f"{name}.onnx"} for name in NAMES},
        validity={name: dict.fromkeys(columns, everywhere) for name in NAMES},
    )


def latent_bundle(directory: Path, x: NDArray[np.floating]) -> Card:
    options = SemidualOptions()
    model = map_model(transport_map(x, options.units(x.shape[1]), options.pieces))
    onnx.save(model, directory / "map.onnx")
    return Card(
        study="latent",
        kind="latent",
        columns=("z128",),
        width=x.shape[1],
        conditions=(),
        floor=None,
        normalise=False,
        label="label",
        labels=dict.fromkeys(range(3), "map"),
        maps={"map": {"nominal": "map.onnx"}},
        validity={"map": {"z128": Range(x.min(axis=0), x.max(axis=0))}},
    )


def products(path: Path, jets: int) -> Callable[[], None]:
    """Return a function that does the products of a model's graph with random operands."""
    graph = onnx.load(path).graph
    constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    matrices = [constants[node.input[1]] for node in graph.node if node.op_type == "MatMul"]
    operands = [np.ones((PIECE, matrix.shape[0]), np.float32) for matrix in matrices]

    def run() -> None:
        for start in range(0, jets, PIECE):
            rows = min(PIECE, jets - start)
            for operand, matrix in zip(operands, matrices, strict=True):
                operand[:rows] @ matrix

    return run


def write_samples(stem: Path, columns: dict[str, NDArray[np.generic]]) -> dict[str, Path]:
    """Write the same jets in every format that `otcal apply` takes; return the files by format."""
    paths = {name: stem.with_suffix(f".{name}") for name in ("parquet", "root", "hdf5")}
    pq.write_table(
        pa.table({n: fixed_size_list(x) if x.ndim == 2 else x for n, x in columns.items()}),
        paths["parquet"],
    )
    with uproot.recreate(paths["root"], compression=None) as file:
        file.mktree("tree", {n: (x.dtype, x.shape[1:]) for n, x in columns.items()})
        file["tree"].extend(columns)
    layout = np.dtype([(n, x.dtype, x.shape[1:]) for n, x in columns.items()])
    jets = np.empty(len(columns["label"]), layout)
    for name, values in columns.items():
        jets[name] = values
    with h5py.File(paths["hdf5"], "w") as file:
        file["jets"] = jets
    return paths


def rows(study: str, jets: int, root: Path) -> dict[str, Callable[[], object]]:
    rng = np.random.default_rng(0)
    root.mkdir()
    label = rng.integers(0, 3, jets)
    if study == "simplex":
        x = ilr_inverse(rng.normal(size=(jets, 2))).astype(np.float32)
        card = simplex_bundle(root, x)
        columns = {name: x[:, k] for k, name in enumerate(card.columns)}
    else:
        x = rng.normal(size=(jets, 128)).astype(np.float32)
        card = latent_bundle(root, x)
        columns = {"z128": x}
    write_card(root, card)
    columns["label"] = label
    sources = write_samples(root, columns)

    def apply(source: Path) -> Callable[[], object]:
        output = source.with_stem(f"{study}-out")
        return lambda: apply_bundle(root, source, output, Settings({}, force=True))

    calibration = Calibration(root, read_card(root))
    file = next(iter(card.maps.values()))["nominal"]
    empty = np.empty((jets, 0), np.float32)
    return {
        "products": products(root / file, jets),
        "model": lambda: calibration.run(file, x, empty),
        "calibrate": lambda: calibration(columns),
        **{f"apply {name}": apply(source) for name, source in sources.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jets", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", help="table (.csv)")
    args = parser.parse_args()
    table = []
    with tempfile.TemporaryDirectory() as directory:
        for study in ("simplex", "latent"):
            functions = rows(study, args.jets, Path(directory) / study)
            seconds: dict[str, list[float]] = {name: [] for name in functions}
            for number in range(args.rounds + 1):
                for name, function in functions.items():
                    before = time.process_time()
                    function()
                    if number:  # the first round warms up
                        seconds[name].append(time.process_time() - before)
            medians = {name: statistics.median(values) for name, values in seconds.items()}
            table += [
                {"study": study, "what": name, "jets_per_core_s": args.jets / median}
                | {"share_of_products": medians["products"] / median}
                for name, median in medians.items()
            ]
    frame = pd.DataFrame(table)
    print(frame.to_string(index=False, float_format="%.3g"))
    if args.output:
        frame.to_csv(args.output, index=False)


if __name__ == "__main__":
    main()
