"""Fits that are killed at random moments and started again end with the same files, bit for bit."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from otcal.config.closure import ClosureConfig, MlpSpec
from otcal.config.splits import Splits
from otcal.config.tagger import TaggerConfig
from otcal.samples import tables
from otcal.samples.jets import JET_FLOATS, write_jets
from otcal.samples.latents import LATENT_SCHEMA, LAYERS
from otcal.samples.scores import score_schema
from otcal.samples.targets import TargetSample, write_targets
from otcal.steps import build_regions, fit_flavour_map, fit_preprocessing, pretrain_flows
from support import interrupted
from support.shifted_flavours import FLAVOURS, draw, score_table

pytestmark = pytest.mark.heavy

KINDS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)
TIMES = ("seconds", "revision")
"""What another run need not repeat; the revision changes when a file of the checkout does."""
SPLITS = {"train": 0.6, "validation": 0.2, "test": 0.2}
TAGGER = TaggerConfig.model_validate(
    {
        "preprocessing": {"quantiles": 20},
        "architecture": {"blocks": 1},
        "training": {"epochs": 2, "batch_size": 50, "evaluations": 3, "warmup_steps": 2},
    }
)
MAP = {"splits": SPLITS, "layer": "z10", "steps": 25, "select": False}
FLAVOUR_MAP = {
    **{"splits": SPLITS, "flavour": "b", "seed": 1, "batch": 64, "learning_rate": 0.01},
    **{"steps": 20, "hidden": [8, 8], "evaluations": 4, "select": False},
}
VARIATIONS = {
    **{"splits": SPLITS, "flavour": "b", "seed": 1, "batch": 64, "learning_rate": 0.005},
    **{"steps": 6},
}
PRETRAINING = {
    "flow": {"transforms": 1, "hidden": [8], "bins": 4},
    "training": {"steps": 15, "batch": 64, "learning_rate": 0.02, "evaluate_every": 5},
    "splits": SPLITS,
    "seed": 1,
}
SHARES = {name: {k: 0.9 if k == name else 0.05 for k in FLAVOURS} for name in FLAVOURS}
EXTRACTION = {
    "regions": {f"{k}_enriched": {"enriched": k, "nominal": s} for k, s in SHARES.items()},
    **{"settle": 1, "max_iterations": 6, "density": {"batch": 128, "learning_rate": 0.005}},
    "seed": 1,
}
REGIONS = {
    "regions": {
        **{f"{k}_enriched": {"jets": 200, "enriched": k, "fractions": SHARES[k]} for k in SHARES},
        "validation": {"jets": 60},
    },
    "seed": 1,
}
CLOSURE = ClosureConfig(
    folds=Splits(train=0.4, validation=0.2, test=0.4),
    fits=2,
    mlp=MlpSpec(width=8, hidden_layers=1, batch=32, epochs=4),
)


def write_latents(path: Path, seed: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    n = 500
    columns = {"jet_id": pa.array(seed * 10**6 + np.arange(n)), "label": np.zeros(n, np.int8)}
    columns |= {name: np.ones(n, np.float32) for name in JET_FLOATS}
    for name, width in LAYERS.items():
        values = rng.normal(size=(n, width)) ** 3 + shift
        columns[name] = tables.fixed_size_list(values.astype(np.float32))
    tables.write_table(path, pa.table(columns), LATENT_SCHEMA, {})


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, make_jets: Callable[..., pa.Table]) -> Path:
    """What all fits of this file read."""
    root = tmp_path_factory.mktemp("inputs")
    write_jets(root / "jets.parquet", make_jets(400, 1), {})
    spec = TAGGER.preprocessing_spec().model_dump_json()
    files = ["--jets", f"{root}/jets.parquet", "--output", f"{root}/preprocessing.json"]
    fit_preprocessing.main(["--spec", spec, *files])
    for seed, name in enumerate(("source", "target", "calibrated")):
        write_latents(root / f"{name}.parquet", seed, 0.5 * (name != "source"))
    for seed, name in enumerate(("simulation", "data"), start=1):
        table = score_table(700, seed, name == "data")
        tables.write_table(root / f"{name}.parquet", table, score_schema(FLAVOURS), {})
    files = ["--scores", f"{root}/data.parquet", "--output", f"{root}/regions"]
    build_regions.main(["--spec", json.dumps(REGIONS), *files])
    points = {
        name: TargetSample(draw(0, 300, np.random.default_rng(seed), True), np.empty((300, 0)))
        for seed, name in enumerate(("nominal", "up", "down"))
    }
    write_targets(root / "b.parquet", points, {})
    files = ["--scores", f"{root}/simulation.parquet", "--output", f"{root}/flows.safetensors"]
    pretrain_flows.main(["--spec", json.dumps(PRETRAINING), "--threads", "1", *files])
    arguments = CASES["flavour map"].command(root, root / "nominal", checkpoint=False)
    fit_flavour_map.main(arguments)
    return root


@dataclass(frozen=True)
class Case:
    """A step, and its options; {i} stands for the inputs' directory, {o} for the outputs'."""

    step: str
    spec: Any
    options: str
    checkpoint: str = "checkpoint.safetensors"
    more: list[str] = field(default_factory=lambda: ["--device", "cpu"])

    def command(self, inputs: Path, outputs: Path, checkpoint: bool = True) -> list[str]:
        words = self.options.format(i=inputs, o=outputs).split()
        kept = ["--checkpoint", str(outputs / self.checkpoint)] if checkpoint else []
        return ["--spec", json.dumps(self.spec), "--threads", "1", *words, *self.more, *kept]


LATENTS = "--source {i}/source.parquet --target {i}/target.parquet"
MAPS = "--output {o}/map.safetensors --learning-curve {o}/map.csv --diagnostics {o}/fit.json"
FLAVOUR = "--source {i}/simulation.parquet --target {i}/b.parquet"
CASES = {
    "tagger": Case(
        "train_tagger",
        TAGGER.train_spec(1).model_dump(mode="json"),
        "--jets {i}/jets.parquet --preprocessing {i}/preprocessing.json"
        " --output {o}/tagger.safetensors --history {o}/history.csv",
    ),
    "convex": Case(
        "fit_map",
        {**MAP, "convex": {"hidden": [8, 8], "batch": 64, "noise": 0.1}},
        f"{LATENTS} {MAPS}",
    ),
    "minimax": Case(
        "fit_map",
        {**MAP, "method": "minimax", "minimax": {"blocks": 2, "hidden": [8, 8], "batch": 64}},
        f"{LATENTS} {MAPS}",
    ),
    "flavour map": Case("fit_flavour_map", FLAVOUR_MAP, f"{FLAVOUR} {MAPS}"),
    "variations": Case(
        "vary_flavour_maps",
        VARIATIONS,
        f"{FLAVOUR} --initial {{i}}/nominal/map.safetensors --output {{o}}/variations.json",
    ),
    "pretraining": Case(
        "pretrain_flows",
        PRETRAINING,
        "--scores {i}/simulation.parquet --output {o}/flows.safetensors",
        more=[],
    ),
    "extraction": Case(
        "extract_components",
        EXTRACTION,
        "--regions {i}/regions/b_enriched.parquet {i}/regions/c_enriched.parquet"
        " {i}/regions/light_enriched.parquet --pretrained {i}/flows.safetensors --start 1"
        " --output {o}",
        more=[],
    ),
    "discriminators": Case(
        "train_discriminator",
        CLOSURE.discriminator(
            CLOSURE.selection({"train": 0.1, "validation": 0.1, "test": 0.8}, ("QCD",)), "mlp", 1
        ).model_dump(mode="json"),
        f"{LATENTS} --calibrated {{i}}/calibrated.parquet --layer z10 --training nominal"
        " --output {o}/fits.json --scores {o}/scores.parquet",
        checkpoint="unfinished",
    ),
}


def content(root: Path) -> dict[str, Any]:
    """Return all files below a directory; of what is JSON everything but what clocks say."""

    def without_times(node: Any) -> Any:
        if isinstance(node, dict):
            return {k: without_times(v) for k, v in node.items() if k not in TIMES}
        return [without_times(v) for v in node] if isinstance(node, list) else node

    def read(path: Path) -> Any:
        if path.suffix == ".json":
            return without_times(json.loads(path.read_text()))
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            notes = {k: without_times(json.loads(v)) for k, v in table.schema.metadata.items()}
            return notes, table.replace_schema_metadata(None)
        return path.read_bytes()

    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path.relative_to(root)): read(path) for path in files}


@pytest.mark.parametrize("name", CASES)
def test_killed_and_continued_fits_end_with_the_same_bytes(
    inputs: Path, tmp_path: Path, name: str
) -> None:
    case, log = CASES[name], tmp_path / "log"
    whole = interrupted.run(case.step, case.command(inputs, tmp_path / "whole"), log)
    assert whole.status == 0, whole.log
    rng = np.random.default_rng(sum(name.encode()))
    command = case.command(inputs, tmp_path / "pieces")
    first, third = whole.saves[0], (whole.saves[-1] - whole.saves[0]) // 3
    # In steps, while checkpoints are written, between them; the last one also among the outputs,
    # or after the end: what is left to do then may be shorter.
    ends = (first + third, first + third, whole.events)
    saves = 0
    for kind, end in zip(rng.permutation(KINDS), ends, strict=True):
        number, moment = signal.Signals(kind), int(rng.integers(first, end))
        run = interrupted.run(case.step, command, log, moment, number)
        saves += len(run.saves)
        if run.status == 0 and end == whole.events:
            break
        assert run.status in (-number, 128 + number), run.log
    else:
        run = interrupted.run(case.step, command, log)
        saves += len(run.saves)
    assert run.status == 0, run.log
    assert "again" not in run.log
    assert content(tmp_path / "pieces") == content(tmp_path / "whole")
    # Each interruption costs at most the step that it came in.
    assert len(whole.saves) <= saves <= len(whole.saves) + 2 * len(KINDS)
