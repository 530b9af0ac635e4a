"""The tagger's steps, one after the other, on random jets."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from otcal.config.tagger import TaggerConfig
from otcal.runtime.errors import InputError
from otcal.samples import splits
from otcal.samples.classes import CLASSES
from otcal.samples.jets import write_jets
from otcal.samples.latents import LATENT_SCHEMA, read_latents
from otcal.samples.tables import read_provenance
from otcal.steps import evaluate_tagger, export_latents, fit_preprocessing, train_tagger
from otcal.tagger.batches import padded
from otcal.tagger.constituents import from_table
from otcal.tagger.head import load_head
from otcal.tagger.saved import load_tagger

CLOSE = {"atol": 1e-5, "rtol": 1e-6}
"""Single precision: some latents are about 50, where it resolves 4e-6."""

CONFIG = TaggerConfig.model_validate(
    {
        "preprocessing": {"quantiles": 50},
        "architecture": {"blocks": 1},
        "training": {
            "epochs": 6,
            "batch_size": 100,
            "learning_rate": 3e-3,
            "warmup_steps": 5,
            "evaluations": 3,
        },
    }
)


class Run:
    """The files of one run of the chain."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.jets = [root / "jets" / f"{seed}.parquet" for seed in (1, 2)]
        self.preprocessing = root / "preprocessing.json"
        self.weights = root / "tagger.safetensors"
        self.history = root / "history.csv"
        self.metrics, self.roc = root / "metrics.json", root / "roc.csv"
        self.confusion = root / "confusion.csv"

    def fit(self) -> None:
        fit_preprocessing.main(
            [
                *("--spec", CONFIG.preprocessing_spec().model_dump_json()),
                *("--jets", *map(str, self.jets)),
                *("--output", str(self.preprocessing)),
            ]
        )

    def train(self, *more: str) -> None:
        train_tagger.main(
            [
                *("--spec", CONFIG.train_spec(1).model_dump_json()),
                *("--threads", "1", "--device", "cpu"),
                *("--jets", *map(str, self.jets)),
                *("--preprocessing", str(self.preprocessing)),
                *("--output", str(self.weights), "--history", str(self.history)),
                *more,
            ]
        )

    def evaluate(self) -> None:
        evaluate_tagger.main(
            [
                *("--spec", CONFIG.evaluate_spec().model_dump_json()),
                *("--threads", "1", "--device", "cpu"),
                *("--jets", *map(str, self.jets)),
                *("--tagger", str(self.weights), "--metrics", str(self.metrics)),
                *("--roc", str(self.roc), "--confusion", str(self.confusion)),
            ]
        )

    def export(self, output: Path, micro_batch: int = 128) -> None:
        spec = CONFIG.export_spec().model_copy(update={"micro_batch": micro_batch})
        export_latents.main(
            [
                *("--spec", spec.model_dump_json()),
                *("--threads", "1", "--device", "cpu"),
                *("--jets", *map(str, self.jets)),
                *("--tagger", str(self.weights), "--output", str(output)),
            ]
        )


@pytest.fixture(scope="module")
def chain(tmp_path_factory, make_jets) -> Run:
    run = Run(tmp_path_factory.mktemp("tagger"))
    for seed, path in enumerate(run.jets, start=1):
        write_jets(path, make_jets(500, seed), {})
    run.fit()
    run.train("--checkpoint", str(run.root / "checkpoint.safetensors"))
    run.evaluate()
    run.export(run.root / "latents.parquet")
    return run


def test_training_leaves_a_tagger_that_has_learned(chain) -> None:
    history = pd.read_csv(chain.history)
    assert list(history.columns) == [
        "step",
        "train_loss",
        "learning_rate",
        "validation_loss",
        "validation_accuracy",
    ]
    steps = 6 * (len(train_ids(chain)) // 100)
    assert history["step"].iloc[-1] == steps
    assert history["validation_loss"].min() < np.log(10) - 0.2
    description = json.loads(chain.weights.with_suffix(".json").read_text())
    assert description["classes"] == list(CLASSES)
    assert description["provenance"]["seed"] == 1
    assert set(description["provenance"]["inputs"]) == {
        str(path) for path in (*chain.jets, chain.preprocessing)
    }
    assert not (chain.root / "checkpoint.safetensors").exists()


def train_ids(chain) -> np.ndarray:
    ids = np.concatenate([pq.read_table(path)["jet_id"].to_numpy() for path in chain.jets])
    return ids[splits.select(ids, CONFIG.splits.fractions(), "train")]


def test_the_best_validation_loss_is_kept(chain) -> None:
    history = pd.read_csv(chain.history)
    tagger = load_tagger(chain.weights)
    jets = from_table(
        pa.concat_tables([pq.read_table(path) for path in chain.jets]),
        tuple(tagger.preprocessing.constituents),
        tuple(tagger.preprocessing.jets),
        CLASSES,
        "test",
    )
    jets = jets.select(splits.select(jets.ids, CONFIG.splits.fractions(), "validation"))
    inputs = padded(tagger.preprocessing(jets), np.arange(len(jets)), torch.device("cpu"))
    labels = torch.from_numpy(jets.labels.astype(np.int64))
    loss = torch.nn.functional.cross_entropy(tagger.network(*inputs), labels).item()
    assert loss == pytest.approx(history["validation_loss"].min(), rel=0.01)  # bfloat16 there


def test_evaluation_sees_the_test_split_only(chain) -> None:
    metrics = json.loads(chain.metrics.read_text())
    ids = np.concatenate([pq.read_table(path)["jet_id"].to_numpy() for path in chain.jets])
    test = splits.select(ids, CONFIG.splits.fractions(), "test")
    assert metrics["jets"] == test.sum()
    assert metrics["auc_mean"] > 0.6
    latents = read_latents(chain.root / "latents.parquet", ["z10", "label"])
    hits = latents["z10"].argmax(axis=1) == latents["label"]
    assert metrics["accuracy"] == pytest.approx(hits[test].mean())
    confusion = pd.read_csv(chain.confusion)
    assert confusion["jets"].sum() == test.sum()
    correct = confusion[confusion["true"] == confusion["predicted"]]["jets"].sum()
    assert correct / test.sum() == pytest.approx(metrics["accuracy"])
    assert list(pd.read_csv(chain.roc)["class"].unique()) == list(CLASSES)


def test_latents_are_a_direct_forward_pass_in_the_files_order(chain) -> None:
    path = chain.root / "latents.parquet"
    assert pq.read_schema(path).equals(LATENT_SCHEMA)
    assert read_provenance(path)["step"] == "export_latents"
    table = pa.concat_tables([pq.read_table(path) for path in chain.jets])
    latents = read_latents(path, LATENT_SCHEMA.names)
    for name in ("jet_id", "jet_pt", "jet_eta", "jet_phi", "jet_energy", "jet_nparticles"):
        np.testing.assert_array_equal(latents[name], table[name].to_numpy())
    tagger = load_tagger(chain.weights)
    names = tuple(tagger.preprocessing.constituents), tuple(tagger.preprocessing.jets)
    jets = tagger.preprocessing(from_table(table, *names, CLASSES, "test"))
    np.testing.assert_array_equal(latents["label"], jets.labels)
    expected = tagger.network.latents(*padded(jets, np.arange(len(jets)), torch.device("cpu")))
    for name, layer in zip(("z128", "zp128", "z10"), expected, strict=True):
        np.testing.assert_allclose(latents[name], layer.numpy(), **CLOSE)


def test_the_batch_size_has_no_influence_on_latents(chain) -> None:
    other = chain.root / "other.parquet"
    chain.export(other, micro_batch=7)
    layers = ["z128", "zp128", "z10"]
    one, two = (read_latents(path, layers) for path in (chain.root / "latents.parquet", other))
    for name in layers:
        np.testing.assert_allclose(one[name], two[name], **CLOSE)


def test_the_head_continues_the_exported_latents(chain) -> None:
    latents = read_latents(chain.root / "latents.parquet", ["z128", "zp128", "z10"])
    zp128, z10 = load_head(chain.weights).from_z128(torch.from_numpy(latents["z128"]))
    np.testing.assert_allclose(zp128.numpy(), latents["zp128"], **CLOSE)
    np.testing.assert_allclose(z10.numpy(), latents["z10"], **CLOSE)


def test_equal_work_gives_equal_bytes(chain, tmp_path) -> None:
    again = Run(tmp_path)
    again.jets, again.preprocessing = chain.jets, chain.preprocessing
    again.train()
    assert again.weights.read_bytes() == chain.weights.read_bytes()
    assert again.history.read_bytes() == chain.history.read_bytes()


def test_two_processes_leave_the_weights_of_one(chain, tmp_path) -> None:
    """One of them reads the jets and writes the results; both map its file of jets."""
    both = Run(tmp_path)
    both.jets, both.preprocessing = chain.jets, chain.preprocessing
    spec = CONFIG.train_spec(1).model_dump()
    spec["training"]["storage"] = "disk"
    handler = signal.getsignal(signal.SIGTERM)
    both.train("--spec", json.dumps(spec), "--processes", "2")
    assert signal.getsignal(signal.SIGTERM) == handler
    assert both.weights.read_bytes() == chain.weights.read_bytes()
    assert both.history.read_bytes() == chain.history.read_bytes()
    names = {"tagger.safetensors", "tagger.json", "history.csv"}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_a_users_mistake_ends_all_processes(chain, tmp_path, capfd) -> None:
    bad = Run(tmp_path)
    bad.preprocessing = chain.preprocessing
    with pytest.raises(SystemExit) as stop:
        bad.train("--processes", "2")
    assert stop.value.code == 2
    error = capfd.readouterr().err
    assert error.count("otcal: error: ") == 1
    assert "jets/1.parquet: file: does not exist" in error


def test_a_user_sees_what_is_wrong(chain, tmp_path) -> None:
    bad = Run(tmp_path)
    bad.jets, bad.preprocessing = chain.jets, tmp_path / "absent.json"
    with pytest.raises(InputError, match=r"absent\.json: file: does not exist"):
        bad.train()
    with pytest.raises(InputError, match=r"tagger\.json: file: does not exist"):
        bad.evaluate()
    shutil.copy(chain.weights, bad.weights)
    shutil.copy(chain.history, bad.weights.with_suffix(".json"))
    with pytest.raises(InputError, match=r"tagger\.json: file: is not JSON"):
        bad.export(tmp_path / "x.parquet")
    assert not (tmp_path / "x.parquet").exists()


def test_jets_that_are_not_there_are_named(chain, tmp_path) -> None:
    bad = Run(tmp_path)
    bad.preprocessing = chain.preprocessing
    with pytest.raises(InputError, match=r"jets/1\.parquet: file: does not exist"):
        bad.train()


def test_a_rate_that_diverges_is_named(chain, tmp_path) -> None:
    bad = Run(tmp_path)
    bad.jets, bad.preprocessing = chain.jets, chain.preprocessing
    spec = CONFIG.train_spec(1).model_dump()
    spec["training"] |= {"learning_rate": 1e30, "warmup_steps": 0}
    key = r"tagger\.training\.learning_rate: 1e\+30 diverges .* Choose a smaller one"
    with pytest.raises(InputError, match=key):
        bad.train("--spec", json.dumps(spec))
    assert not bad.weights.exists()


def test_a_wrong_setting_is_named(chain) -> None:
    spec = CONFIG.train_spec(1).model_dump()
    spec["architecture"]["d_model"] = 64
    arguments = ["--spec", json.dumps(spec), "--jets", "a", "--preprocessing", "b"]
    arguments += ["--output", "c", "--history", "d"]
    with pytest.raises(InputError, match=r"architecture\.d_model: .*128, got 64"):
        train_tagger.main(arguments)
