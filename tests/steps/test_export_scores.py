"""The tagger's steps with three flavours, up to files of scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from scipy.special import softmax

from otcal.config.degradation import Degradation
from otcal.config.scores import ScoreSpec
from otcal.config.tagger import Inference, TaggerConfig
from otcal.runtime.errors import InputError
from otcal.samples.flavours import FLAVOURS
from otcal.samples.jets import jet_schema, write_jets
from otcal.samples.scores import read_scores, score_schema
from otcal.samples.tables import read_provenance
from otcal.simulation.degradation import degrade
from otcal.steps import (
    evaluate_tagger,
    export_latents,
    export_scores,
    fit_preprocessing,
    train_tagger,
)
from otcal.tagger.batches import padded
from otcal.tagger.constituents import from_table
from otcal.tagger.saved import load_tagger, save_tagger

CONFIG = TaggerConfig.model_validate(
    {
        "classes": FLAVOURS,
        "backgrounds": ["light", "c"],
        "preprocessing": {
            "constituent_features": ["pt", "deta", "dphi", "d0val", "d0err", "dzval", "dzerr"],
            "jet_features": ["pt", "eta"],
            "quantiles": 50,
            "max_constituents": 40,
        },
        "architecture": {"blocks": 1},
        "training": {"epochs": 6, "batch_size": 100, "learning_rate": 3e-3, "warmup_steps": 5},
    }
)
SCHEMA = jet_schema(FLAVOURS)
DEGRADATION = Degradation(seed=5, d0val=2.0, dzval=2.0, dropout=0.2)


class Run:
    """The files of one run of the chain."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.jets = [root / f"{seed}.parquet" for seed in (1, 2)]
        self.tagger = root / "tagger.safetensors"

    def step(self, module, spec, *more: object) -> None:
        common = [] if module is fit_preprocessing else ["--threads", "1", "--device", "cpu"]
        module.main(
            ["--spec", spec.model_dump_json(), *common, "--jets", *map(str, self.jets)]
            + [str(argument) for argument in more]
        )

    def train(self) -> None:
        transform = self.root / "preprocessing.json"
        self.step(fit_preprocessing, CONFIG.preprocessing_spec(), "--output", transform)
        files = ["--preprocessing", transform, "--history", self.root / "history.csv"]
        self.step(train_tagger, CONFIG.train_spec(1), "--output", self.tagger, *files)

    def evaluate(self, spec) -> None:
        names = {"metrics": "json", "roc": "csv", "confusion": "csv"}
        files = [x for n, end in names.items() for x in (f"--{n}", self.root / f"{n}.{end}")]
        self.step(evaluate_tagger, spec, "--tagger", self.tagger, *files)

    def export(self, name: str, module=export_scores, **spec) -> Path:
        output = self.root / f"{name}.parquet"
        settings = ScoreSpec(**spec) if module is export_scores else Inference()
        self.step(module, settings, "--tagger", self.tagger, "--output", output)
        return output

    def table(self) -> pa.Table:
        return pa.concat_tables([pq.read_table(path) for path in self.jets])


def flavour_jets(table: pa.Table) -> pa.Table:
    """Name the classes of jets of QCD, Hbb and Hcc after flavours."""
    columns = {name: table[name] for name in SCHEMA.names if name in table.column_names}
    for name, old in zip(FLAVOURS, ("QCD", "Hbb", "Hcc"), strict=True):
        columns[f"label_{name}"] = table[f"label_{old}"]
    return pa.table(columns).select(SCHEMA.names)


@pytest.fixture(scope="module")
def chain(tmp_path_factory, make_jets) -> Run:
    run = Run(tmp_path_factory.mktemp("flavours"))
    for seed, path in enumerate(run.jets, start=1):
        jets = flavour_jets(make_jets(300, seed, classes=("QCD", "Hbb", "Hcc")))
        write_jets(path, jets, {}, SCHEMA)
    run.train()
    run.evaluate(CONFIG.evaluate_spec())
    run.export("simulation")
    return run


def forward(chain: Run, table: pa.Table) -> np.ndarray:
    """Return the softmax of a direct forward pass."""
    tagger = load_tagger(chain.tagger)
    names = tuple(tagger.preprocessing.constituents), tuple(tagger.preprocessing.jets)
    jets = tagger.preprocessing(from_table(table, *names, FLAVOURS, "test"))
    inputs = padded(jets, np.arange(len(jets)), torch.device("cpu"))
    return softmax(tagger.network(*inputs).double().numpy(), axis=1)


def test_the_tagger_has_three_outputs_and_its_settings_inputs(chain) -> None:
    tagger = load_tagger(chain.tagger)
    assert tagger.classes == FLAVOURS
    assert tuple(tagger.preprocessing.jets) == ("pt", "eta")
    assert tagger.preprocessing.max_constituents == 40
    assert tagger.network.head.widths == (128, 128, 3)
    history = pd.read_csv(chain.root / "history.csv")
    assert history["validation_loss"].min() < np.log(3) - 0.1


def test_evaluation_is_one_flavour_against_one(chain) -> None:
    metrics = json.loads((chain.root / "metrics.json").read_text())
    areas = {against: sorted(found) for against, found in metrics["auc"].items()}
    assert areas == {"rest": ["b", "c", "light"], "light": ["b", "c"], "c": ["b", "light"]}
    roc = pd.read_csv(chain.root / "roc.csv")
    assert list(roc.columns[2:]) == ["background_efficiency", "light_efficiency", "c_efficiency"]
    confusion = pd.read_csv(chain.root / "confusion.csv")
    assert list(confusion["true"].unique()) == list(FLAVOURS)
    assert confusion["jets"].sum() == metrics["jets"]


def test_scores_are_the_softmax_of_a_direct_forward_pass(chain) -> None:
    path = chain.root / "simulation.parquet"
    table = chain.table()
    assert pq.read_schema(path).equals(score_schema(FLAVOURS))
    scores = read_scores(path, FLAVOURS)
    np.testing.assert_allclose(scores.p, forward(chain, table), rtol=2e-5)
    np.testing.assert_array_equal(scores.ids, table["jet_id"].to_numpy())
    np.testing.assert_array_equal(scores.pt, table["jet_pt"].to_numpy())
    np.testing.assert_array_equal(scores.eta, table["jet_eta"].to_numpy())
    np.testing.assert_array_equal(scores.labels, np.arange(600) % 3)
    record = read_provenance(path)
    assert record["step"] == "export_scores"
    assert set(record["inputs"]) == {str(path) for path in (*chain.jets, chain.tagger)}


def test_pseudo_data_are_the_scores_of_degraded_jets(chain) -> None:
    path = chain.export("data", degradation=DEGRADATION)
    data = read_scores(path, FLAVOURS)
    expected = forward(chain, degrade(chain.table(), DEGRADATION))
    np.testing.assert_allclose(data.p, expected, rtol=2e-5)
    simulation = read_scores(chain.root / "simulation.parquet", FLAVOURS)
    np.testing.assert_array_equal(data.ids, simulation.ids)
    np.testing.assert_array_equal(data.pt, simulation.pt)
    moved = np.abs(np.log(data.p / simulation.p)).max(axis=1)
    assert (moved > 1e-3).mean() > 0.9
    assert read_provenance(path)["spec"]["degradation"] == DEGRADATION.model_dump()


def test_equal_work_gives_equal_bytes(chain) -> None:
    first, second = (chain.export(name, degradation=DEGRADATION) for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()


def test_a_vanishing_probability_is_refused_or_raised(chain, tmp_path, caplog) -> None:
    run = Run(tmp_path)
    run.jets = chain.jets
    tagger = load_tagger(chain.tagger)
    weights = dict(tagger.network.state_dict())
    weights["head.layers.4.bias"] = torch.tensor([0.0, -300.0, 0.0])
    architecture = CONFIG.architecture
    save_tagger(run.tagger, weights, architecture, tagger.preprocessing, FLAVOURS, {})
    with pytest.raises(InputError, match=r"1\.parquet: p_c: is 0 in row 0 \(300 bad rows\)"):
        run.export("data")
    assert not (tmp_path / "data.parquet").exists()
    scores = read_scores(run.export("data", floor=1e-6), FLAVOURS)
    np.testing.assert_allclose(scores.p[:, 1], 1e-6, rtol=1e-5)
    assert "probabilities of 600 jets raised to 1e-06" in caplog.text


def test_what_does_not_fit_the_tagger_is_named(chain, make_jets, tmp_path) -> None:
    with pytest.raises(InputError, match=r"tagger\.safetensors: classes: has 3; .*export_scores"):
        chain.export("latents", export_latents)
    with pytest.raises(InputError, match=r"tagger\.safetensors: classes: has no 'QCD'"):
        chain.evaluate(TaggerConfig().evaluate_spec())
    other = Run(tmp_path)
    other.tagger, other.jets = chain.tagger, [tmp_path / "ten.parquet"]
    write_jets(other.jets[0], make_jets(10, 1), {})
    with pytest.raises(InputError, match=r"ten\.parquet: label_b: column is missing"):
        other.export("scores")
