"""Memory of the steps that read or write a sample of jets, and how it grows with their number.

Makes samples of random numbers in the schema of latents, scores and jets (1.1 kB, 29 B and, with
two constituents each, 0.2 kB per jet on disk), runs each step in a process of its own, and prints
one row per step and size:

- ``anonymous_mb``: most memory of the process that the system cannot drop (RssAnon): what counts
  against the limit of a batch job;
- ``rss_mb``: most memory with the pages of memory-mapped files, which the system drops when it
  needs them.

With several sizes, a table of the growth per jet follows. Networks are tiny (`apply` has the
default one) and fits short: the number of steps has no influence on memory.

    python benchmarks/streaming_memory.py --jets 200000 1000000 --output streaming.csv

Linux only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import torch
import uproot
import yaml
from numpy.typing import NDArray
from pyarrow.parquet import ParquetFile

from apply_throughput import latent_bundle
from otcal.bundle.card import write_card
from otcal.config.regions import Region
from otcal.config.study import LatentStudy, Settings, load_settings
from otcal.config.tagger import Architecture, Inference
from otcal.runtime.weights import save_described
from otcal.samples import tables
from otcal.samples.classes import CLASSES
from otcal.samples.flavours import FLAVOURS
from otcal.samples.jets import CONSTITUENT_FLAGS, CONSTITUENT_FLOATS, JET_FLOATS, JET_SCHEMA
from otcal.samples.latents import LATENT_SCHEMA, LAYERS, latent_writer
from otcal.samples.scores import score_schema, score_writer
from otcal.samples.tables import ROW_GROUP
from otcal.steps.reweight import WEIGHT_SCHEMA
from otcal.tagger.head import FORMAT, Head, weights_metadata
from otcal.tagger.preprocessing import Preprocessing
from otcal.tagger.quantiles import QuantileNormal
from otcal.tagger.saved import build, save_tagger
from otcal.transport.api import fit_map
from otcal.transport.semidual import SemidualOptions

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ("source", "target", "calibrated")
STEPS = (
    "export_latents",
    "calibrate",
    "tabulate_latents",
    "train_discriminator",
    "train_discriminator_linear",
    "reweight",
    "fit_map",
    "build_regions",
    "apply",
    "apply_root",
    "apply_hdf5",
)
NTUPLES = {"apply_root": "root", "apply_hdf5": "h5"}
CONSTITUENTS = 2
JET_FEATURES = ("pt", "eta")
INTERVAL_S = 0.01


@dataclass(frozen=True)
class Peak:
    """What a process took."""

    seconds: float
    rss_mb: float
    anonymous_mb: float


def measure(command: Sequence[str], log: Path) -> Peak:
    """Run a command and watch its memory; `RuntimeError` with its last words when it fails."""
    start = time.monotonic()
    peak = anonymous = 0
    with log.open("w") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream)
        while process.poll() is None:
            memory = _memory(process.pid)
            peak = max(peak, memory.get("VmHWM", 0))
            anonymous = max(anonymous, memory.get("RssAnon", 0))
            time.sleep(INTERVAL_S)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command[:3])} failed: {log.read_text()[-2000:]}")
    return Peak(time.monotonic() - start, peak / 1024, anonymous / 1024)


def _memory(pid: int) -> dict[str, int]:
    """Return the memory figures of a process, in kB; none when it has just ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    pairs = (line.split() for line in lines if line.endswith(" kB"))
    return {name.removesuffix(":"): int(value) for name, value, _ in pairs}


def _groups(jets: int) -> Iterator[tuple[int, int]]:
    for start in range(0, jets, ROW_GROUP):
        yield start, min(ROW_GROUP, jets - start)


def make_latents(path: Path, jets: int, seed: int) -> None:
    """Write jets of one class with normal latents."""
    rng = np.random.default_rng(seed)
    with latent_writer(path, {}) as writer:
        for start, count in _groups(jets):
            columns = {
                "jet_id": pa.array(seed * 10**9 + np.arange(start, start + count)),
                "label": pa.array(np.zeros(count, dtype=np.int8)),
                **{name: pa.array(rng.uniform(500, 1000, count)) for name in JET_FLOATS},
            }
            for name, width in LAYERS.items():
                values = rng.standard_normal((count, width), dtype=np.float32) + 0.1 * seed
                columns[name] = tables.fixed_size_list(values)
            writer.write_table(pa.table(columns).cast(LATENT_SCHEMA))


def make_scores(path: Path, jets: int) -> None:
    """Write jets of three flavours with random probabilities."""
    rng = np.random.default_rng(9)
    schema = score_schema(FLAVOURS)
    with score_writer(path, FLAVOURS, {}) as writer:
        for start, count in _groups(jets):
            p = rng.dirichlet(np.ones(len(FLAVOURS)), count) * 0.97 + 0.01
            ids = np.arange(start, start + count)
            columns = [ids, (ids % 3).astype(np.int8), *rng.uniform(20, 250, (2, count)), *p.T]
            arrays = [
                pa.array(np.ascontiguousarray(column)).cast(field.type, safe=False)
                for field, column in zip(schema, columns, strict=True)
            ]
            writer.write_table(pa.table(arrays, schema=schema))


def make_jets(path: Path, jets: int) -> None:
    """Write jets of one class, of a few charged hadrons each."""
    rng = np.random.default_rng(5)
    with tables.table_writer(path, JET_SCHEMA, {}) as writer:
        for start, count in _groups(jets):
            size = count * CONSTITUENTS
            offsets = pa.array(np.arange(0, size + 1, CONSTITUENTS, dtype=np.int32))

            def nested(values: NDArray[Any], offsets: pa.Array = offsets) -> pa.Array:
                return pa.ListArray.from_arrays(offsets, pa.array(values))

            columns = {
                **{
                    name: nested(rng.uniform(1, 2, size).astype(np.float32))
                    for name in CONSTITUENT_FLOATS
                },
                **{name: nested(np.zeros(size, dtype=np.int8)) for name in CONSTITUENT_FLAGS},
                **{
                    field.name: pa.array(np.zeros(count)).cast(field.type)
                    for field in JET_SCHEMA
                    if not pa.types.is_list(field.type)
                },
                "part_isChargedHadron": nested(np.ones(size, dtype=np.int8)),
                "jet_id": pa.array(np.arange(start, start + count)),
                f"label_{CLASSES[0]}": pa.array(np.ones(count, dtype=np.int8)),
                "jet_pt": pa.array(rng.uniform(500, 1000, count).astype(np.float32)),
            }
            writer.write_table(pa.table(columns).select(JET_SCHEMA.names).cast(JET_SCHEMA))


def make_tagger(path: Path) -> None:
    """Write an untrained tagger of the smallest size."""
    torch.manual_seed(0)
    edges = QuantileNormal(np.linspace(-1e3, 1e3, 101))
    names = ("pt", "deta", "dphi")
    preprocessing = Preprocessing(
        dict.fromkeys(names, edges), dict.fromkeys(JET_FEATURES, edges), CONSTITUENTS
    )
    architecture = Architecture(blocks=1, heads=1, expansion=1, head_layers=3)
    weights = build(architecture, preprocessing, CLASSES).state_dict()
    save_tagger(path, weights, architecture, preprocessing, CLASSES, {})


def make_bundle(directory: Path) -> None:
    """Write a bundle with a map of latents that is valid everywhere."""
    directory.mkdir()
    x = np.random.default_rng(0).normal(size=(2000, 128)).astype(np.float32)
    write_card(directory, latent_bundle(directory, x))


def make_ntuple(path: Path, latents: Path) -> None:
    """Write labels and latents of another file to a ROOT tree or an HDF5 table."""
    kind = np.dtype([("label", np.int8), ("z128", np.float32, (128,))])
    with ParquetFile(latents) as file, ExitStack() as stack:
        rows = file.metadata.num_rows
        if path.suffix == ".h5":
            table = stack.enter_context(h5py.File(path, "w")).create_dataset("jets", (rows,), kind)
        else:
            tree = stack.enter_context(uproot.recreate(path)).mktree(
                "jets", {name: kind[name] for name in kind.names or ()}
            )
        start = 0
        for batch in file.iter_batches(ROW_GROUP, columns=["label", "z128"]):
            label, z = batch["label"].to_numpy(), batch["z128"].flatten().to_numpy()
            if path.suffix == ".h5":
                piece = np.empty(len(label), kind)
                piece["label"], piece["z128"] = label, z.reshape(-1, 128)
                table[start : start + len(label)] = piece
            else:
                tree.extend({"label": label, "z128": z.reshape(-1, 128)})
            start += len(label)


def make_weights(path: Path, jets: int) -> None:
    """Write a weight for each source jet."""
    with tables.table_writer(path, WEIGHT_SCHEMA, {}) as writer:
        for start, count in _groups(jets):
            ids = pa.array(10**9 + np.arange(start, start + count))
            table = pa.table({"jet_id": ids, "weight": np.ones(count)})
            writer.write_table(table.cast(WEIGHT_SCHEMA))


def make_models(root: Path) -> None:
    """Write a tagger's head and a map."""
    torch.manual_seed(0)
    head = Head(16, [128, 128, 128], len(CLASSES))
    tensors = {f"head.{name}": tensor for name, tensor in head.state_dict().items()}
    description = {
        "format": FORMAT,
        "classes": list(CLASSES),
        "head": [128, 128, 128],
        "architecture": {"d_model": 16},
        "preprocessing": {},
    }
    save_described(root / "tagger.safetensors", tensors, description, weights_metadata())
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(2, 600, 128))
    options = SemidualOptions(hidden=(16, 16), batch=64)
    fitted = fit_map(source, target + 0.1, steps=5, select=False, options=options)
    fitted.save(root / "map.safetensors", {"layer": "z128"})


def prepare(root: Path, jets: int, steps: Sequence[str]) -> None:
    """Make what the steps read and do not make for each other."""
    make_models(root)
    needed = set(steps) - {"build_regions", "export_latents"}
    if needed:
        make_latents(root / "source.parquet", jets, 1)
    if needed - {"calibrate", "apply", *NTUPLES}:
        make_latents(root / "target.parquet", jets, 2)
        # What calibrate writes is read by the others; without it, another sample stands for it.
        if "calibrate" not in steps:
            make_latents(root / "calibrated.parquet", jets, 1)
    if "tabulate_latents" in steps:
        make_weights(root / "weights.parquet", jets)
    if "build_regions" in steps:
        make_scores(root / "scores.parquet", jets)
    if "export_latents" in steps:
        make_jets(root / "jets_0.parquet", jets)
        make_tagger(root / "full.safetensors")
    if {"apply", *NTUPLES} & needed:
        make_bundle(root / "bundle")
    for step, suffix in NTUPLES.items():
        if step in needed:
            make_ntuple(root / f"source.{suffix}", root / "source.parquet")


def commands(root: Path, step: str, settings: Settings) -> list[list[str]]:
    """Return the commands of a step, the one to be measured last."""
    latent = settings.latent
    sample = {name: str(root / f"{name}.parquet") for name in SAMPLES}
    three = [word for name in SAMPLES for word in (f"--{name}", sample[name])]

    def command(module: str, spec: str, *options: str) -> list[str]:
        call = [sys.executable, "-m", f"otcal.steps.{module}", "--spec", spec, "--threads", "1"]
        return [*call, *map(str, options)]

    if step == "apply" or step in NTUPLES:
        suffix = NTUPLES.get(step, "parquet")
        files = [str(root / f"{name}.{suffix}") for name in ("source", "applied")]
        return [[sys.executable, "-m", "otcal", "apply", str(root / "bundle"), *files]]
    if step == "export_latents":
        paths = "--jets", root / "jets_0.parquet", "--tagger", root / "full.safetensors"
        output = "--output", root / "exported.parquet", "--device", "cpu"
        return [command("export_latents", Inference().model_dump_json(), *paths, *output)]
    if step == "calibrate":
        paths = "--map", root / "map.safetensors", "--tagger", root / "tagger.safetensors"
        spec = json.dumps({"classes": ["QCD"]})
        output = "--output", sample["calibrated"]
        source = "--source", sample["source"]
        return [command("calibrate", spec, *source, *paths, *output, "--device", "cpu")]
    if step == "tabulate_latents":
        names = ("pca", "pca-pairs", "logits", "logits-pairs", "discriminants")
        spec = latent.tables.latents_spec(
            latent.splits.fractions(), latent.transport.classes, latent.closure.discriminants
        ).model_dump_json()
        outputs = [word for name in names for word in (f"--{name}", root / f"{name}.csv")]
        weights = "--weights", root / "weights.parquet"
        return [command("tabulate_latents", spec, *three, *weights, *outputs)]
    if step == "fit_map":
        outputs = "--output", root / "fit" / "map.safetensors", "--diagnostics", root / "d.json"
        more = "--learning-curve", root / "curve.csv", "--checkpoint", root / "c.safetensors"
        spec = _map_spec(latent)
        return [command("fit_map", spec, *three[:4], *outputs, *more, "--device", "cpu")]
    if step == "build_regions":
        spec = settings.simplex.mixture.regions_spec(1).model_copy(update={"regions": _regions()})
        paths = "--scores", root / "scores.parquet", "--output", root / "regions"
        return [command("build_regions", spec.model_dump_json(), *paths)]

    def discriminator(layer: str, model: str) -> list[str]:
        stem = root / f"{layer}-{model}"
        options = ["--layer", layer, "--training", "nominal", *three, "--device", "cpu"]
        outputs = ["--output", f"{stem}.json", "--scores", f"{stem}.scores.parquet"]
        return command(
            "train_discriminator", _discriminator_spec(latent, model), *options, *outputs
        )

    if step == "train_discriminator":
        return [discriminator("z128", "mlp")]
    if step == "train_discriminator_linear":
        return [discriminator("z128", "linear")]
    first = [discriminator(layer, "mlp") for layer in LAYERS]
    scores = [root / f"{layer}-mlp.scores.parquet" for layer in LAYERS]
    selection = latent.closure.selection(latent.splits.fractions(), latent.transport.classes)
    spec = latent.closure.reweight(selection, 1).model_dump_json()
    outputs = [root / name for name in ("weights_out.parquet", "reweighting.json", "distances.csv")]
    options = ("--weights", outputs[0], "--output", outputs[1], "--distances", outputs[2])
    return [*first, command("reweight", spec, *three, "--scores", *scores, *options)]


def _map_spec(latent: LatentStudy) -> str:
    spec = latent.map_spec()
    convex = spec.convex.model_copy(update={"hidden": (16, 16), "batch": 64})
    return spec.model_copy(update={"convex": convex, "steps": 10}).model_dump_json()


def _discriminator_spec(latent: LatentStudy, model: str) -> str:
    selection = latent.closure.selection(latent.splits.fractions(), latent.transport.classes)
    spec = latent.closure.discriminator(selection, model, 1)
    changes = (
        {"epochs": 1, "width": 8, "hidden_layers": 1, "batch": 4096}
        if model == "mlp"
        else {"penalties": (1e-2,)}
    )
    small = spec.model.model_copy(update=changes)
    return spec.model_copy(update={"model": small, "fits": 1}).model_dump_json()


def _regions() -> dict[str, Region]:
    """Return three small regions, each enriched in one flavour."""
    shares = {name: dict.fromkeys(FLAVOURS, 0.2) | {name: 0.6} for name in FLAVOURS}
    return {
        f"sr_{name}": Region(jets=1_000, enriched=name, fractions=shares[name]) for name in FLAVOURS
    }


def run(jets: int, steps: Sequence[str], root: Path) -> Iterator[dict[str, object]]:
    """Yield a row per step for samples of this many jets."""
    settings = load_settings(yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8")))
    prepare(root, jets, steps)
    for step in steps:
        *before, command = commands(root, step, settings)
        for other in before:
            if not Path(other[other.index("--output") + 1]).exists():
                subprocess.run(other, check=True, capture_output=True)
        peak = measure(command, root / f"{step}.log")
        yield {"step": step, "jets": jets, **vars(peak)}


def growth(table: pd.DataFrame) -> pd.DataFrame:
    """Return bytes of anonymous memory per jet between the smallest and the largest sample."""
    rows = []
    for step, group in table.groupby("step", sort=False):
        first, last = (group.loc[i] for i in (group["jets"].idxmin(), group["jets"].idxmax()))
        slope = (last["anonymous_mb"] - first["anonymous_mb"]) / (last["jets"] - first["jets"])
        at_10m = last["anonymous_mb"] + slope * (1e7 - last["jets"])
        rows.append({"step": step, "bytes_per_jet": slope * 2**20, "mb_at_10_million": at_10m})
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jets", type=int, nargs="+", default=[200_000, 1_000_000])
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS)
    parser.add_argument("--scratch", type=Path, help="directory of the samples (default: system's)")
    parser.add_argument("--output", type=Path, help="table (.csv)")
    args = parser.parse_args()
    rows = []
    for jets in args.jets:
        with tempfile.TemporaryDirectory(dir=args.scratch) as root:
            for row in run(jets, args.steps, Path(root)):
                print(row, flush=True)
                rows.append(row)
                if args.output:
                    pd.DataFrame(rows).to_csv(args.output, index=False)
    table = pd.DataFrame(rows)
    print(table.to_string(index=False, float_format="%.4g"))
    if len(set(args.jets)) > 1:
        print(growth(table).to_string(index=False, float_format="%.4g"))


if __name__ == "__main__":
    main()
