"""What is planned before anything runs: presets, targets and mistakes in the configuration."""

from __future__ import annotations

import json
import re

import pytest
import yaml

import planning_time
from otcal.config.closure import DRAWN
from otcal.config.reference import reference
from otcal.config.study import FEWEST, Settings, load_settings
from otcal.figures.marginals import DISCRIMINANTS
from otcal.figures.reweighting import VARIABLE
from otcal.runtime.errors import InputError
from otcal.transport import problem
from support.checkout import ROOT, Checkout

DEFAULT = yaml.safe_load((ROOT / "config.yaml").read_text())


def merged(base: dict, over: dict) -> dict:
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        result[key] = merged(base[key], value) if both else value
    return result


HBB = {"name": "Hbb", "signal": ["Hbb"], "background": ["QCD"]}


def with_value(path: str, value: object) -> dict:
    over: object = value
    for key in reversed(path.split(".")):
        over = {key: over}
    assert isinstance(over, dict)
    return merged(DEFAULT, over)


@pytest.mark.parametrize("preset", ["smoke", "paper"])
def test_presets_fit_the_models(preset: str) -> None:
    over = yaml.safe_load((ROOT / f"workflow/presets/{preset}.yaml").read_text())
    load_settings(merged(DEFAULT, over))


def test_paper_preset_has_the_paper_s_sizes() -> None:
    over = yaml.safe_load((ROOT / "workflow/presets/paper.yaml").read_text())
    latent = load_settings(merged(DEFAULT, over)).latent
    network = latent.tagger.architecture
    assert (network.d_model, network.blocks, network.heads, network.expansion) == (512, 4, 8, 2)
    training = latent.tagger.training
    assert (training.learning_rate, training.warmup_steps) == (1e-4, 10_000)
    assert (training.batch_size, training.clip, training.epochs) == (1000, 1.0, 4)
    assert (network.dropout, network.head_layers, training.schedule) == (0.1, 5, "constant")
    spec = latent.map_spec()
    assert (spec.method, spec.layer, spec.select, spec.steps) == ("minimax", "z128", False, 512_000)
    assert not spec.precondition  # B.2
    assert spec.minimax.model_dump() == {  # Table 2
        "blocks": 4,
        "hidden": (2048, 2048),
        "learning_rate": 5e-4,
        "final_learning_rate": 1e-7,
        "batch": 1024,
        "map_steps": 10,
        "critic_steps": 4,
        "clip": 10.0,
    }
    discriminator = latent.closure.mlp  # Table 3
    assert (discriminator.width, discriminator.hidden_layers) == (512, 4)
    assert (discriminator.learning_rate, discriminator.final_learning_rate) == (1e-4, 1e-7)
    assert (discriminator.batch, discriminator.epochs, discriminator.patience) == (1024, 200, 100)
    assert (discriminator.dropout, discriminator.whiten) == (0.0, False)
    made = sum(latent.simulation.datasets["training"].jets.values())
    steps = training.epochs * made * latent.tagger.splits.train / training.batch_size
    assert steps == pytest.approx(100_000, rel=0.06)
    jets = latent.simulation.datasets["source"].jets["QCD"]
    assert jets * latent.splits.train == pytest.approx(8_181_000, rel=1e-3)
    assert jets * latent.splits.validation == pytest.approx(909_000, rel=1e-3)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("latent.tagger.architecture.d_modell", 128, ["d_modell", "not a known key", "d_model,"]),
        ("latent.tagger.architecture.d_model", 96, ["d_model", "128", "96"]),
        ("latent.transport.method", "sinkhorn", ["method", "'convex'", "'minimax'"]),
        ("latent.simulation.datasets.source.jets", {"bottom": 5}, ["bottom", "'Hbb'"]),
        ("latent.simulation.datasets.source.variation", "worse", ["worse", "source, target"]),
        ("latent.splits.test", 0.6, ["splits", "sum to 1"]),
        ("latent.closure.fits", "many", ["fits", "integer", "many"]),
        ("latent.simulation.variations.target.hard_process.renormalisation", 5.0, ["3.16"]),
        ("latent.transport.classes", ["Hbb"], ["Hbb", "source"]),
        ("latent.transport.layer", "z10", ["transport.layer must be z128, not z10"]),
        ("latent.closure.discriminants", [HBB], ["discriminants", "Hcc", "Hbb, Hcc, HbbHcc"]),
        ("latent.tagger.preprocessing.jet_features", ["eta", "eta"], ["jet_features", "'eta'"]),
        (
            "latent.tagger.preprocessing.constituent_features",
            ["pt", "deta", "pt"],
            ["constituent_features", "'pt' is there twice"],
        ),
        ("latent.simulation.selection.pt_min", 499.0, ["selection.pt_min", "500", "499"]),
        ("latent.simulation.selection.pt_max", 7000.0, ["selection.pt_max", "6500", "7000"]),
        (
            "latent.simulation.datasets.source.jets.QCD",
            99,
            ["datasets.source.jets", "9.9 jets for splits.validation", "fewer than 10"],
        ),
        (
            "latent.splits",
            {"train": 0.00018, "validation": 0.5, "test": 0.49982},
            ["9 jets for splits.train", "the map cannot be fitted"],
        ),
        (
            "latent.splits",
            {"train": 0.5, "validation": 0.49994, "test": 0.00006},
            ["closure.folds.train of splits.test", "the discriminators cannot be fitted"],
        ),
        (
            "latent.closure.folds",
            {"train": 0.5, "validation": 0.00018, "test": 0.49982},
            ["datasets.target.jets", "1.8 jets for closure.folds.validation", "fewer than 2"],
        ),
        (
            "latent.tagger.splits",
            {"train": 0.75, "validation": 0.0001, "test": 0.2499},
            ["datasets.training.jets", "0.5 jets for tagger.splits.validation of the rarest class"],
        ),
        ("devise", "cpu", ["devise", "results, device, latent"]),
    ],
)
def test_a_mistake_names_key_and_remedy(path: str, value: object, says: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        load_settings(with_value(path, value))
    for text in says:
        assert text in str(caught.value)


def test_the_tagger_needs_jets_of_all_classes() -> None:
    broken = with_value("latent.simulation.datasets.training.jets.Tbl", 5000)
    del broken["latent"]["simulation"]["datasets"]["training"]["jets"]["Tbl"]
    with pytest.raises(InputError, match=r"training\.jets needs all of QCD, .*; no 'Tbl'"):
        load_settings(broken)


def test_figures_show_discriminants_that_the_configuration_demands() -> None:
    drawn = {name for panels in DISCRIMINANTS.values() for name in panels.values()} | {VARIABLE}
    assert drawn == set(DRAWN)


def test_the_map_s_fewest_jets_are_those_of_its_fit() -> None:
    assert FEWEST["map"] == problem.FEWEST


def test_a_missing_key_is_named() -> None:
    broken = {key: value for key, value in DEFAULT.items() if key != "device"}
    with pytest.raises(InputError, match=r"device: is missing\. Add it; this block takes: results"):
        load_settings(broken)


def test_a_mistake_stops_the_workflow_before_any_job(checkout: Checkout) -> None:
    checkout.edit("config.yaml", "blocks: 3", "bloks: 3")
    done = checkout.snakemake("--dry-run")
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "latent.tagger.architecture.bloks: is not a known key" in said
    assert "Traceback" not in said
    assert "Job stats" not in said


def test_schema_is_in_step_with_the_models() -> None:
    stored = json.loads((ROOT / "workflow/schemas/config.schema.json").read_text())
    assert stored == json.loads(json.dumps(Settings.model_json_schema())), "run: make schema"


def test_reference_is_in_step_with_the_models() -> None:
    stored = (ROOT / "docs/configuration.md").read_text()
    assert stored == reference(Settings.model_json_schema()), "run: make schema"


def test_validation_needs_training_jets_only(checkout: Checkout) -> None:
    planned = checkout.planned("validation", presets=())
    assert set(planned) == {"simulate", "validate_simulation", "validation"}
    assert planned["simulate"] == 20  # ten classes in two shards each


def test_conditions_compare_maps_of_all_jets_and_of_each_bin(checkout: Checkout) -> None:
    planned = checkout.planned("conditions", presets=())
    # One for all, one with conditions, and four bins each of pT and η.
    assert planned["fit_compared_map"] == 2 + 4 + 4
    assert planned["measure_bins"] == 1
    assert planned["fit_compared_flavour_map"] == 3 * (2 + 4 + 4)
    assert planned["measure_flavour_bins"] == 3
    assert "fit_flavour_map" not in planned  # labelled data are the targets
    assert {"fit_map", "calibrate", "train_discriminator"}.isdisjoint(planned)


def test_a_bin_s_map_has_its_jets_alone_and_no_condition() -> None:
    settings = load_settings(yaml.safe_load((ROOT / "config.yaml").read_text())).latent
    first, conditional = (settings.compared_map_spec(name) for name in ("jet_pt-0", "conditional"))
    assert (first.ranges, first.conditions) == ({"jet_pt": (500.0, 600.0)}, ())
    assert (conditional.ranges, conditional.conditions) == ({}, ("jet_pt", "jet_eta"))
    assert first.steps == conditional.steps == settings.transport.steps


def test_the_map_asks_for_memory_in_proportion_to_its_jets(checkout: Checkout) -> None:
    checkout.edit("config.yaml", "jets_per_shard: 2500", "jets_per_shard: 1000000")
    for _ in ("source", "target"):
        checkout.edit("config.yaml", "jets: {QCD: 50000}", "jets: {QCD: 10000000}")
    done = checkout.snakemake("--dry-run", "results/latent/transport/map.safetensors", presets=())
    assert done.returncode == 0, done.stderr[-3000:]
    job = (done.stdout + done.stderr).split("rule fit_map:")[1]
    found = re.search(r"mem_mb=(\d+)", job)
    assert found is not None
    # 12 million jets fit and stop it: their layers are in scratch files, their order in memory.
    assert int(found[1]) == 4000 + 12 * 50


def test_a_smoke_plan_has_one_discriminator_per_layer_training_and_model(
    checkout: Checkout,
) -> None:
    assert checkout.planned()["train_discriminator"] == 15


def shell_commands(checkout: Checkout, *targets: str) -> dict[str, str]:
    """Return the command of each rule that leads to targets; of a rule's jobs, the last one's."""
    done = checkout.snakemake("--dry-run", "--printshellcmds", *targets, presets=())
    assert done.returncode == 0, done.stderr[-3000:]
    lines = re.findall(r"python -m otcal\.steps\.(\w+) (.*)", done.stdout + done.stderr)
    return dict(lines)


def test_commands_do_not_grow_with_the_number_of_shards(checkout: Checkout) -> None:
    targets = [
        f"results/latent/{name}"
        for name in (
            "tagger/metrics.json",
            "tables/inputs.parquet",
            "latents/source.parquet",
            "validation/summary.csv",
        )
    ]
    few = shell_commands(checkout, *targets)
    for _ in ("source", "target"):
        checkout.edit("config.yaml", "jets: {QCD: 50000}", "jets: {QCD: 500000}")
    checkout.edit("config.yaml", "QCD: 5000,", "QCD: 500000,")
    many = shell_commands(checkout, *targets)  # {0..199} instead of {0..19} and {0..1}
    readers = {
        "fit_preprocessing",
        "train_tagger",
        "evaluate_tagger",
        "export_latents",
        "tabulate_inputs",
        "validate_simulation",
    }
    assert readers <= set(few)
    for step in readers:
        assert "{0..199}" in many[step], step
        assert len(many[step]) <= len(few[step]) + 10, step
        assert len(many[step]) < 4000, step


def test_ten_thousand_shards_are_planned_in_a_minute(checkout: Checkout) -> None:
    """Of CPU time: other load on the machine does not count."""
    over, shards = planning_time.settings(10_000)
    (checkout.path / "shards.yaml").write_text(yaml.safe_dump(over))
    seconds, _ = planning_time.plan(checkout.path, "shards.yaml")
    assert shards >= 10_000
    assert seconds < 60.0


def test_memory_of_a_training_is_its_study_s_own(checkout: Checkout) -> None:
    """Jets in memory, or on disk; once for each process."""
    tagger = {"training": {"storage": "disk"}, "gpus": 3}
    over = {"device": "cuda", "latent": {"tagger": tagger}, "simplex": {"tagger": {"gpus": 2}}}
    (checkout.path / "over.yaml").write_text(yaml.safe_dump(over))
    settings = load_settings(yaml.safe_load((ROOT / "config.yaml").read_text()))
    for name, study in (("latent", settings.latent), ("simplex", settings.simplex)):
        target = f"results/{name}/tagger/tagger.json"
        done = checkout.snakemake("--dry-run", target, presets=("over.yaml",))
        assert done.returncode == 0, done.stderr[-3000:]
        job = (done.stdout + done.stderr).split("rule train_tagger:")[1]
        found = re.search(r"mem_mb=(\d+)", job)
        assert found is not None
        shares = study.tagger.splits.fractions()
        jets = sum(study.jets("training").values()) * (shares["train"] + shares["validation"])
        processes, size = (3, 100) if name == "latent" else (2, 2400)
        expected = 4000 + 4000 * processes + int(processes * jets * size / 1e6)
        assert int(found[1]) == expected
