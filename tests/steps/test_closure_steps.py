from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import norm

from otcal.closure.jets import FOLDS, fold
from otcal.closure.summary_keys import KEYS, documentation
from otcal.config.closure import ClosureConfig, Discriminant, DistanceSpec, MlpSpec
from otcal.config.splits import Splits
from otcal.runtime.cli import load_spec
from otcal.runtime.errors import InputError
from otcal.samples.latents import LATENT_SCHEMA, LAYERS, latent_writer
from otcal.samples.splits import select
from otcal.samples.tables import fixed_size_list
from otcal.steps import (
    collect_discriminators,
    merge_summaries,
    reweight,
    summarise,
    train_discriminator,
)

FRACTIONS = {"train": 0.3, "validation": 0.1, "test": 0.6}
CONFIG = ClosureConfig(
    folds=Splits(train=0.4, validation=0.2, test=0.4),
    fits=2,
    mlp=MlpSpec(width=16, hidden_layers=1, batch=128, learning_rate=3e-3, epochs=4),
    distances=DistanceSpec(jets=600, directions=16),
)
JETS = CONFIG.selection(FRACTIONS, ("QCD",))
TASKS = [(layer, "nominal", model) for layer in LAYERS for model in ("mlp", "linear")] + [
    ("z10", "retrained", "mlp"),
    ("z10", "floor", "mlp"),
]


def write(path: Path, ids: np.ndarray, z: np.ndarray, label: int = 0) -> None:
    """A head that copies: z'128 = z128, z'10 = its first ten."""
    columns: dict[str, object] = {"jet_id": ids, "label": np.full(len(ids), label, np.int8)}
    for name in LATENT_SCHEMA.names[2:]:
        columns[name] = np.ones(len(ids), np.float32)
    for name, width in LAYERS.items():
        columns[name] = fixed_size_list(z[:, :width].astype(np.float32))
    with latent_writer(path, {}) as writer:
        writer.write_table(pa.table(columns).select(LATENT_SCHEMA.names).cast(LATENT_SCHEMA))


def run(folder: Path, layer: str, training: str, model: str) -> Path:
    output = folder / "discriminators" / f"{layer}-{training}-{model}.json"
    spec = CONFIG.discriminator(JETS, model, 1)  # type: ignore[arg-type]
    arguments = ["--spec", spec.model_dump_json(), "--layer", layer, "--training", training]
    for name in ("source", "target", "calibrated"):
        arguments += [f"--{name}", str(folder / f"{name}.parquet")]
    arguments += ["--output", str(output), "--scores", str(output.with_suffix(".parquet"))]
    train_discriminator.main([*arguments, "--threads", "1", "--device", "cpu"])
    return output


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every step once: the target is the source shifted by a known vector, the map undoes it.

    Latents have rank four, the four repeated; the shift moves logits 0 (QCD), 4 and 8.
    """
    folder = tmp_path_factory.mktemp("closure")
    r = np.random.default_rng(1)
    jets, shift = 6000, np.tile([0.8, 0.0, 0.0, 0.0], 32)
    source, target = (np.tile(r.normal(size=(jets, 4)), 32) for _ in range(2))
    target += shift
    write(folder / "source.parquet", np.arange(jets), source)
    write(folder / "target.parquet", np.arange(jets) + 10**9, target)
    write(folder / "calibrated.parquet", np.arange(jets), source + shift)
    results = [run(folder, *task) for task in TASKS]

    files = [str(path) for path in results]
    tables = [str(path.with_suffix(".parquet")) for path in results]
    arguments = ["--spec", "{}", "--results", *files, "--scores", *tables]
    for name in ("auc", "roc", "histograms"):
        arguments += [f"--{name}", str(folder / f"{name}.csv")]
    collect_discriminators.main(arguments)
    reweight.main(reweight_arguments(folder))
    (folder / "validation.csv").write_text("feature,ks\njet_pt,0.03\n")
    (folder / "tagger.json").write_text('{"accuracy": 0.7}')
    (folder / "map.json").write_text('{"notes": {"diagnostics": {"dual": -0.1}}}')
    arguments = ["--spec", '{"study": "latent"}', "--output", str(folder / "latent.json")]
    for name in ("auc.csv", "distances.csv", "validation.csv", "tagger.json", "map.json"):
        arguments += [f"--{name.split('.')[0]}", str(folder / name)]
    summarise.main([*arguments, "--reweighting", str(folder / "reweighting.json")])
    parts = ["--parts", str(folder / "latent.json"), "--output", str(folder / "summary.json")]
    merge_summaries.main(["--spec", '{"studies": ["latent"]}', *parts])
    return folder


def reweight_arguments(folder: Path, layers: tuple[str, ...] = tuple(LAYERS)) -> list[str]:
    arguments = ["--spec", CONFIG.reweight(JETS, 1).model_dump_json()]
    for name in ("source", "target", "calibrated"):
        arguments += [f"--{name}", str(folder / f"{name}.parquet")]
    arguments += ["--scores"]
    arguments += [str(folder / f"discriminators/{layer}-nominal-mlp.parquet") for layer in layers]
    arguments += ["--output", str(folder / "reweighting.json")]
    arguments += ["--distances", str(folder / "distances.csv")]
    return [*arguments, "--weights", str(folder / "weights.parquet"), "--threads", "1"]


def test_source_is_told_from_target_and_calibrated_is_not(done: Path) -> None:
    content = json.loads((done / "discriminators/z10-nominal-mlp.json").read_text())
    nominal, calibrated = (content["evaluations"][name] for name in ("nominal", "calibrated"))
    assert nominal["auc"] == pytest.approx(norm.cdf(0.8 / np.sqrt(2)), abs=4 * nominal["stat"])
    assert abs(calibrated["auc"] - 0.5) < 4 * calibrated["stat"]
    assert len(nominal["per_fit"]) == 2
    for training in ("retrained", "floor"):
        content = json.loads((done / f"discriminators/z10-{training}-mlp.json").read_text())
        found = content["evaluations"][training]
        assert abs(found["auc"] - 0.5) < 4 * found["stat"]


def test_scored_jets_are_unseen_by_map_and_discriminator(done: Path) -> None:
    table = pq.read_table(done / "discriminators/z128-nominal-mlp.parquet").to_pandas()
    ids = table["jet_id"].to_numpy()
    assert select(ids, FRACTIONS, "test").all()
    np.testing.assert_array_equal(fold(ids, CONFIG.folds), table["fold"])
    assert not (table["fold"] == FOLDS.index("train")).any()
    held_out = np.arange(6000)[select(np.arange(6000), FRACTIONS, "test")]
    unseen = held_out[fold(held_out, CONFIG.folds) > 0]
    for number in (0, 2):
        chosen = (table["sample"] == number) & (table["fit"] == 0)
        assert set(table["jet_id"][chosen]) == set(unseen)


def test_checkpoints_are_gone(done: Path) -> None:
    suffixes = {path.suffix for path in (done / "discriminators").iterdir()}
    assert suffixes == {".json", ".parquet"}


def test_tables_hold_every_evaluation_in_order(done: Path) -> None:
    auc = pd.read_csv(done / "auc.csv")
    keys = list(auc[["layer", "evaluation", "model"]].itertuples(index=False, name=None))
    expected = [
        (layer, evaluation, model)
        for layer in LAYERS
        for model in ("mlp", "linear")
        for evaluation in ("nominal", "calibrated")
    ]
    assert keys == [*expected, ("z10", "retrained", "mlp"), ("z10", "floor", "mlp")]
    roc = pd.read_csv(done / "roc.csv")
    assert len(roc) == len(auc) * 201
    histograms = pd.read_csv(done / "histograms.csv")
    assert set(histograms["sample"]) == {"source", "target", "calibrated"}
    assert set(histograms["quantity"]) == {"logit", "probability"}


def test_reweighting_dilutes_and_moves_the_source(done: Path) -> None:
    content = json.loads((done / "reweighting.json").read_text())
    # The true ratio has ρ = exp(−0.8²) = 0.53; an imperfect network weights less.
    assert 0.4 < content["rho"] < 0.8
    weights = pq.read_table(done / "weights.parquet").to_pandas()
    assert len(weights) == content["jets"]
    assert weights["weight"].mean() == pytest.approx(1.0)
    s = weights["weight"]
    assert content["rho"] == pytest.approx(s.sum() ** 2 / (len(s) * (s**2).sum()))
    ids = weights["jet_id"].to_numpy()
    assert (fold(ids, CONFIG.folds) == FOLDS.index("test")).all()
    auc = pd.read_csv(done / "auc.csv").set_index(["layer", "evaluation", "model"])["auc"]
    for layer, area in content["auc"].items():
        assert abs(area["auc"] - 0.5) < abs(auc[layer, "nominal", "mlp"] - 0.5) / 2


def test_distances_see_the_shift_where_it_is(done: Path) -> None:
    table = pd.read_csv(done / "distances.csv")
    table = table.set_index(["space", "quantity", "sample", "metric"]).sort_index()
    value, noise = table["value"], table["noise"]
    limit = 2.5 * noise["logit", "QCD", "source", "ks"]
    shifted = value["logit", "QCD", "source", "ks"]
    assert shifted == pytest.approx(2 * norm.cdf(0.4) - 1, abs=limit)
    assert value["logit", "QCD", "calibrated", "ks"] < limit
    assert value["logit", "QCD", "reweighted", "ks"] < 0.5 * shifted
    assert value["logit", "Hbb", "source", "ks"] < limit  # not shifted
    names = set(value["discriminant"].index.get_level_values("quantity"))
    assert names == {entry.name for entry in CONFIG.discriminants}
    for metric, factor in (("energy", 5.0), ("sliced_w2", 2.0)):
        for sample in ("calibrated", "floor"):
            closed = abs(value["z10", "all", sample, metric])
            assert value["z10", "all", "source", metric] > factor * closed


def test_summary_repeats_the_tables_and_every_key_is_documented(done: Path) -> None:
    numbers = json.loads((done / "summary.json").read_text())
    auc = pd.read_csv(done / "auc.csv").set_index(["layer", "evaluation", "model"])
    assert (
        numbers["latent.auc.z128.calibrated.linear"] == auc["auc"]["z128", "calibrated", "linear"]
    )
    assert numbers["latent.auc.z10.floor.mlp.std"] == auc["std"]["z10", "floor", "mlp"]
    content = json.loads((done / "reweighting.json").read_text())
    assert numbers["latent.dilution.rho"] == content["rho"]
    assert numbers["latent.auc.zp128.reweighted.mlp"] == content["auc"]["zp128"]["auc"]
    assert numbers["latent.inputs.ks.jet_pt"] == 0.03
    assert numbers["latent.tagger.accuracy"] == 0.7
    assert numbers["latent.map.dual"] == -0.1
    assert list(numbers) == sorted(numbers)
    used = {documentation(key).pattern for key in numbers}
    assert used == {entry.pattern for entry in KEYS if entry.pattern.startswith("latent.")}


def test_a_repeated_run_writes_the_same_bytes(done: Path) -> None:
    paths = [done / "discriminators/z10-nominal-mlp.json"]
    paths += [done / "discriminators/z10-nominal-mlp.parquet"]
    before = [path.read_bytes() for path in paths]
    run(done, "z10", "nominal", "mlp")
    assert [path.read_bytes() for path in paths] == before


def test_scores_of_another_layer_are_refused(done: Path) -> None:
    with pytest.raises(InputError, match="are of zp128 nominal mlp, not z128"):
        reweight.main(reweight_arguments(done, ("zp128", "z128", "z10")))


def test_classes_that_the_tagger_does_not_know_are_refused(done: Path) -> None:
    zbb = Discriminant(name="x", signal=("Zbb",), background=("QCD",))
    spec = CONFIG.reweight(JETS, 1).model_copy(update={"discriminants": (zbb,)})
    arguments = ["--spec", spec.model_dump_json(), *reweight_arguments(done)[2:]]
    before = (done / "distances.csv").read_bytes()
    with pytest.raises(InputError, match=r"target\.parquet: label: has no class Zbb"):
        reweight.main(arguments)
    assert (done / "distances.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("case", "field", "problem"),
    [
        ("empty class", "jet_id", "only 0 held-out jets of QCD in the train fold"),
        ("one jet", "jet_id", "in the validation fold"),
        ("nan", "z10", "NaN"),
        ("other layer", "z10", "column is missing"),
        ("no parquet", "file", "not a readable Parquet"),
        ("no file", "file", "does not exist"),
    ],
)
def test_bad_latents_are_named(tmp_path: Path, case: str, field: str, problem: str) -> None:
    r = np.random.default_rng(2)
    for name, first in (("source", 0), ("target", 10**9), ("calibrated", 0)):
        write(tmp_path / f"{name}.parquet", first + np.arange(400), r.normal(size=(400, 128)))
    bad = tmp_path / "calibrated.parquet"
    values = r.normal(size=(400, 128))
    if case == "empty class":
        write(bad, np.arange(400), values, label=3)
    elif case == "one jet":
        ids = np.arange(400)
        chosen = ids[select(ids, FRACTIONS, "test") & (fold(ids, CONFIG.folds) == 0)][:2]
        write(bad, chosen, values[:2])
    elif case == "nan":
        values[7, 3] = np.nan
        write(bad, np.arange(400), values)
    elif case == "other layer":
        pq.write_table(pq.read_table(bad).drop_columns(["z10"]), bad)
    elif case == "no parquet":
        bad.write_text("a,b\n1,2\n")
    else:
        bad.unlink()
    with pytest.raises(InputError, match=problem) as caught:
        run(tmp_path, "z10", "retrained", "linear")
    assert caught.value.where == str(bad)
    assert caught.value.field == field
    assert not list(tmp_path.glob("discriminators/*"))


def test_a_missing_sample_is_asked_for(tmp_path: Path) -> None:
    spec = CONFIG.discriminator(JETS, "mlp", 1).model_dump_json()
    options = {"layer": "z10", "training": "nominal", "target": "t", "output": "o", "scores": "s"}
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    with pytest.raises(InputError, match="--source: nominal: this training needs"):
        train_discriminator.main(["--spec", spec, *arguments])


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"folds": {"train": 0.5, "validation": 0.1, "test": 0.5}}, "folds"),
        ({"mlp": {"width": 0}}, "mlp.width"),
        ({"mlp": {"depth": 4}}, "mlp.depth"),
        ({"fits": 0}, "fits"),
        ({"linear": {"penalties": []}}, "linear.penalties"),
        (
            {"discriminants": [{"name": "x", "signal": ["Hbb"] * 2, "background": ["QCD"]}]},
            "signal",
        ),
        ({"collect": {"roc_points": 1}}, "collect.roc_points"),
    ],
)
def test_wrong_settings_are_named(change: dict[str, object], key: str) -> None:
    with pytest.raises(InputError) as caught:
        load_spec(json.dumps(change), ClosureConfig)
    assert key in caught.value.field


def test_results_without_scores_or_twice_are_refused(done: Path) -> None:
    one, two = (done / f"discriminators/{layer}-nominal-mlp.json" for layer in ("z128", "z10"))
    rest = [x for name in ("auc", "roc", "histograms") for x in (f"--{name}", "unused.csv")]
    scores = str(one.with_suffix(".parquet"))
    for files, problem in (
        ([one, two], "no file named z10-nominal-mlp.parquet"),
        ([one, one], "appears twice"),
    ):
        with pytest.raises(InputError, match=problem):
            collect_discriminators.main(
                ["--spec", "{}", "--results", *map(str, files), "--scores", scores, *rest]
            )
