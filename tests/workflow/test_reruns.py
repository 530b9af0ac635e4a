"""What each edit does again: every setting, edits of the code, files that come and go.

Planned by Snakemake on the state after a run whose outputs are placeholders, which takes seconds.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from support.checkout import Checkout, copy_project
from support.settings import NOW, change, keys, nested

pytestmark = pytest.mark.heavy

Plan = list[dict[str, Any]]

RESULTS = NOW.results
STUDIES = ("latent", "simplex")

# Who consumes a setting: rules of the key's study, or "rule:files". The longest prefix counts.
# What is made from their outputs runs again as well, and the study's page, which shows settings.
CONSUMERS = {
    "latent.seed": ["train_tagger", "fit_map", "train_discriminator", "reweight"],
    "latent.simulation": ["simulate"],
    "latent.simulation.jets_per_shard": ["simulate:*/source/*", "simulate:*/target/*"],
    "latent.simulation.variations.source": ["simulate:*/training/*", "simulate:*/source/*"],
    "latent.simulation.variations.target": ["simulate:*/target/*"],
    "latent.simulation.datasets.training": ["simulate:*/training/*"],
    "latent.simulation.datasets.training.jets.QCD": ["simulate:*/training/QCD/0.*"],
    "latent.simulation.datasets.source": ["simulate:*/source/*"],
    "latent.simulation.datasets.source.jets.QCD": ["simulate:*/source/QCD/1.*"],
    "latent.simulation.datasets.target": ["simulate:*/target/*"],
    "latent.simulation.datasets.target.jets.QCD": ["simulate:*/target/QCD/1.*"],
    "latent.tagger.classes": ["fit_preprocessing", "train_tagger"],
    "latent.tagger.backgrounds": ["evaluate_tagger"],
    "latent.tagger.splits": ["fit_preprocessing", "train_tagger", "evaluate_tagger"],
    "latent.tagger.preprocessing": ["fit_preprocessing"],
    "latent.tagger.architecture": ["train_tagger"],
    "latent.tagger.training": ["train_tagger"],
    "latent.tagger.inference": ["evaluate_tagger", "export_latents"],
    "latent.tagger.gpus": [],  # any number of them leaves the same weights
    "latent.splits": ["fit_map", "train_discriminator", "reweight", "tabulate_latents"],
    "latent.transport": ["fit_map"],
    "latent.transport.classes": [
        "export_latents",  # of the jets that come with a class
        "tabulate_inputs",
        "fit_map",
        "calibrate",
        "train_discriminator",
        "reweight",
        "tabulate_latents",
    ],
    "latent.transport.minimax": [],  # settings of a method that is not chosen
    "latent.closure.folds": ["train_discriminator", "reweight"],
    "latent.closure.fits": ["train_discriminator"],
    "latent.closure.mlp": ["train_discriminator:*-mlp.*"],
    "latent.closure.linear": ["train_discriminator:*-linear.*"],
    "latent.closure.discriminants": ["reweight", "tabulate_latents"],
    "latent.closure.distances": ["reweight"],
    "latent.closure.bins": [],  # of the target `conditions`, which is asked for by name
    "latent.closure.collect": ["collect_discriminators"],
    "latent.tables.inputs": ["tabulate_inputs"],
    "latent.tables.latents": ["tabulate_latents"],
    "latent.figures": ["draw_*"],
    "simplex.seed": [
        "train_tagger",
        "build_regions",
        "pretrain_flows",
        "extract_components",
        "sample_targets",
        "fit_flavour_map",
        "fit_truth_map",
        "vary_flavour_maps",
        "measure_closure",
    ],
    "simplex.simulation": ["simulate"],
    "simplex.simulation.jets_per_shard": [
        "simulate:*/simulation/ttbar_charm/*",
        "simulate:*/data/ttbar_charm/*",
    ],
    "simplex.simulation.datasets.training": ["simulate:*/training/*"],
    "simplex.simulation.datasets.training.jets.ttbar": ["simulate:*/training/ttbar/*"],
    "simplex.simulation.datasets.simulation": ["simulate:*/simulation/*"],
    "simplex.simulation.datasets.simulation.jets.ttbar": ["simulate:*/simulation/ttbar/*"],
    "simplex.simulation.datasets.data": ["simulate:*/data/*"],
    "simplex.simulation.datasets.data.jets.ttbar": ["simulate:*/data/ttbar/*"],
    "simplex.tagger.backgrounds": ["evaluate_tagger"],
    "simplex.tagger.splits": ["fit_preprocessing", "train_tagger", "evaluate_tagger"],
    "simplex.tagger.preprocessing": ["fit_preprocessing"],
    "simplex.tagger.architecture": ["train_tagger"],
    "simplex.tagger.training": ["train_tagger"],
    "simplex.tagger.inference": ["evaluate_tagger", "export_scores"],
    "simplex.pseudo_data": ["export_scores:*/data.*"],
    "simplex.floor": ["export_scores"],
    "simplex.splits": [
        "pretrain_flows",
        "fit_flavour_map",
        "fit_truth_map",
        "vary_flavour_maps",
        "measure_closure",
    ],
    "simplex.mixture.regions": ["build_regions"],
    "simplex.mixture.regions.b_enriched.nominal": ["extract_components"],
    "simplex.mixture.regions.c_enriched.nominal": ["extract_components"],
    "simplex.mixture.regions.light_enriched.nominal": ["extract_components"],
    "simplex.mixture.regions.validation.nominal": [],  # no fit sees that region
    "simplex.mixture.kappa_limit": ["build_regions", "extract_components"],
    "simplex.mixture.conditions": ["pretrain_flows", "fit_flavour_map", "fit_truth_map"],
    "simplex.mixture.flow": ["pretrain_flows"],
    "simplex.mixture.pretraining": ["pretrain_flows"],
    "simplex.mixture.em": ["extract_components"],
    "simplex.mixture.starts": ["select_extraction", "tabulate_mixture"],
    "simplex.uncertainty": ["propagate_uncertainty"],
    "simplex.uncertainty.points": ["sample_targets"],
    "simplex.maps": ["fit_flavour_map", "fit_truth_map"],
    "simplex.maps.batch": ["fit_flavour_map", "fit_truth_map", "vary_flavour_maps"],
    "simplex.maps.noise": ["fit_flavour_map", "fit_truth_map", "vary_flavour_maps"],
    "simplex.maps.tolerance": ["fit_flavour_map", "fit_truth_map", "vary_flavour_maps"],
    "simplex.maps.bins": [],  # of the target `conditions`, which is asked for by name
    "simplex.maps.variation_steps": ["vary_flavour_maps"],
    "simplex.maps.variation_learning_rate": ["vary_flavour_maps"],
    "simplex.closure": ["measure_closure"],
    "latent.bundle": [],  # exported when asked for
    "simplex.bundle": [],
    "simplex.tables.mixture": ["tabulate_mixture"],
    "simplex.tables.displacements": ["tabulate_displacements"],
    "simplex.figures": ["draw_*"],
    "simplex.tagger.gpus": [],
    "device": [],  # where a network is trained changes its result to rounding, as threads do
}

# Settings that cannot be changed by themselves.
FIXED = {
    "results": "another directory: nothing in this one runs again",
    "latent.head": "only with samples that hold latents",
    "latent.transport.layer": "only z128 so far",
    "latent.closure.mlp.kind": "a constant that tells models apart",
    "latent.closure.linear.kind": "a constant that tells models apart",
    "simplex.tagger.classes": "only b, c, light",
    "simplex.mixture.flavours": "only b, c, light",
    **{
        f"simplex.mixture.regions.{name}.enriched": "follows from the fractions"
        for name in NOW.simplex.mixture.regions
    },
}


def _with_more_jets(classes: list[str]) -> dict[str, Any]:
    more = {"jets": {"Hbb": 100}}
    simulation = {"datasets": {"source": more, "target": more}}
    return {"latent": {"simulation": simulation, "transport": {"classes": classes}}}


def _another_world(dataset: str) -> dict[str, Any]:
    variations = {"other": {"energy_scale": 1.02}}
    datasets = {dataset: {"variation": "other"}}
    return {"simplex": {"simulation": {"variations": variations, "datasets": datasets}}}


SMEARED = {"minimum": 0.1, "maximum": 0.1}
# Other values that a single key cannot have by itself.
TOGETHER = {
    "latent.tagger.backgrounds": nested("latent.tagger.backgrounds", ["QCD", "Tbqq"]),
    # Delphes cannot have the simplex study's detector, whose tracks have a momentum resolution.
    "simplex.simulation.engine": nested(
        "simplex.simulation",
        {
            "engine": "delphes",
            "detector": {"exact_track_momentum": True, "calorimeter_overrides_tracks": True},
        },
    ),
    "latent.transport.classes": _with_more_jets(["QCD", "Hbb"]),
    **{
        f"{world}.impact_parameter_smearing.minimum": nested(
            f"{world}.impact_parameter_smearing", SMEARED
        )
        for world in (
            "latent.simulation.variations.source",
            "simplex.simulation.variations.standard",
        )
    },
    **{
        f"simplex.simulation.datasets.{name}.variation": _another_world(name)
        for name in NOW.simplex.simulation.datasets
    },
}

# Files that a changed setting brings into the plan.
ADDED = {
    "latent.simulation.jets_per_shard": [
        f"latent/jets/{one}/QCD/2" for one in ("source", "target")
    ],
    "simplex.simulation.jets_per_shard": ["simplex/jets/simulation/ttbar_charm/2"],
    "latent.transport.classes": [f"latent/jets/{one}/Hbb/0" for one in ("source", "target")],
}

SETTINGS = {path: (value, kind) for path, value, kind in keys(NOW) if path not in FIXED}

# Larger edits of the configuration: what is set, who consumes it, and the files that come with it.
EDITS: dict[str, tuple[dict[str, Any], list[str], list[str]]] = {
    "another process": (
        nested("latent.simulation.datasets.source.jets", {"Hbb": 100}),
        ["export_latents:*/source.*", "tabulate_inputs"],
        ["latent/jets/source/Hbb/0"],
    ),
    "more shards keep the old ones": (
        nested("latent.simulation.datasets.source.jets.QCD", 1200),
        ["export_latents:*/source.*", "tabulate_inputs"],
        ["latent/jets/source/QCD/2"],
    ),
    "fewer shards": (
        nested("latent.simulation.datasets.target.jets.QCD", 400),
        ["export_latents:*/target.*", "tabulate_inputs"],
        [],
    ),
    "another kappa": (
        nested("simplex.closure.kappas", [0.25, 0.5, 1.0, 2.0, 4.0, 8.0]),
        ["measure_closure"],
        [],
    ),
    "an unused variation": (
        nested("latent.simulation.variations.other", {"energy_scale": 1.02}),
        [],
        [],
    ),
    "another variation in place of the old one": (
        nested(
            "latent.simulation",
            {
                "variations": {"other": {"energy_scale": 1.02}},
                "datasets": {"target": {"variation": "other"}},
            },
        ),
        ["simulate:*/target/*"],
        [],
    ),
    "the map's other method": (
        nested("latent.transport", {"method": "minimax", "minimax": {"blocks": 2}}),
        ["fit_map"],
        [],
    ),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A copy of the project in the state after a run. Do not change it."""
    project = copy_project(tmp_path_factory.mktemp("reruns") / "otcal")
    project.pretend()
    return project


@pytest.fixture(scope="module")
def plans(finished: Checkout) -> dict[str, Plan]:
    """Plans after no edit, and after each edit of the configuration."""
    changes = {path: TOGETHER.get(path) or change(path, *SETTINGS[path]) for path in SETTINGS}
    constant = [path for path, over in changes.items() if over is None]
    assert not constant, f"no other value was found for {constant}: see FIXED and TOGETHER"
    edits = {"": {}} | changes | {name: over for name, (over, _, _) in EDITS.items()}
    return dict(zip(edits, finished.plans(*edits.values()), strict=True))


@pytest.fixture
def edited(finished: Checkout, tmp_path: Path) -> Checkout:
    """A copy of the state after a run that a test may change."""
    shutil.copytree(finished.path, tmp_path / "otcal", symlinks=True)
    return Checkout(tmp_path / "otcal")


def pending(plan: Plan) -> set[str]:
    return {row["file"] for row in plan if row["pending"]}


def consumers(before: Plan, patterns: Iterable[str], studies: Iterable[str]) -> set[str]:
    """Return the outputs of rules, or of "rule:files", in some studies and in what they share."""
    places = tuple(f"{RESULTS}/{study}/" for study in studies)
    found = set()
    for pattern in patterns:
        files = {
            row["file"]
            for row in before
            if fnmatch(
                f"{row['rule']}:{row['file']}", pattern if ":" in pattern else f"{pattern}:*"
            )
            and row["file"].startswith(places)
        }
        assert files, f"no output matches {pattern}"
        found |= files
    return found


def with_followers(before: Plan, first: set[str]) -> set[str]:
    """Return all outputs of the jobs that make `first` or are made from their outputs."""
    jobs: dict[str, Plan] = {}
    for row in before:
        jobs.setdefault(row["log"], []).append(row)
    found: set[str] = set()
    waiting = set(first)
    while waiting:
        found |= waiting
        waiting = {
            row["file"]
            for rows in jobs.values()
            if any(row["file"] in waiting or waiting & set(row["inputs"]) for row in rows)
            for row in rows
        } - found
    return found


def check(before: Plan, plan: Plan, first: set[str], added: Iterable[str] = ()) -> None:
    """Check that a plan makes just the outputs that follow from `first`, and added shards."""
    there = {row["file"] for row in before}
    expected = with_followers(before, first) & {row["file"] for row in plan}
    again = pending(plan) & there
    assert sorted(again - expected) == [], "runs again without need"
    assert sorted(expected - again) == [], "stays, although it is stale"
    assert pending(plan) - there == {f"{RESULTS}/{name}.parquet" for name in added}


def consumer_key(path: str) -> str:
    parts = path.split(".")
    prefixes = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
    found = next((prefix for prefix in prefixes if prefix in CONSUMERS), None)
    assert found is not None, f"say in CONSUMERS who consumes {path}"
    return found


def test_nothing_runs_without_an_edit(plans: dict[str, Plan]) -> None:
    assert len(plans[""]) > 300
    assert pending(plans[""]) == set()


@pytest.mark.parametrize("path", SETTINGS)
def test_a_setting_reruns_what_consumes_it(plans: dict[str, Plan], path: str) -> None:
    study = path.split(".")[0]
    studies = [study] if study in STUDIES else STUDIES
    first = consumers(plans[""], [*CONSUMERS[consumer_key(path)], "build_report"], studies)
    check(plans[""], plans[path], first, ADDED.get(path, []))


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_of_the_configuration_reruns_what_it_affects(
    plans: dict[str, Plan], name: str
) -> None:
    settings, patterns, added = EDITS[name]
    first = consumers(plans[""], [*patterns, "build_report"], settings)
    check(plans[""], plans[name], first, added)


def test_the_tables_above_name_what_there_is() -> None:
    assert {consumer_key(path) for path in SETTINGS} == set(CONSUMERS)
    everything = {path: (value, kind) for path, value, kind in keys(NOW)}
    assert set(FIXED) | set(TOGETHER) | set(ADDED) <= set(everything)
    for path in {*FIXED, *TOGETHER} - {"results"}:
        assert change(path, *everything[path]) is None, f"{path} can be changed by itself"


def test_what_cannot_change_a_result_reruns_nothing(edited: Checkout) -> None:
    edited.edit("config.yaml", "seed: 1 #", "seed: 1 # yes, one:")
    edited.edit("src/otcal/figures/style.py", '"""', '"""Well: ')
    edited.edit(
        "src/otcal/config/transport.py", 'description="Gradient steps', 'description="Steps'
    )
    edited.edit("src/otcal/config/closure.py", '"""One linear layer', '"""A linear layer')
    edited.edit("src/otcal/simulation/detector/calorimeter.py", "\n\n\n", "\n\n\n# a remark\n")
    edited.edit("envs/cpu.yaml", "python=3.11", "python=3.12")
    edited.edit("envs/otcal.def", "python:3.11", "python:3.12")
    edited.edit("envs/constraints.txt", "awkward==", "awkward==1!")
    edited.edit("envs/delphes.yaml", "delphes=3", "delphes=4")  # which no study here runs
    edited.edit("pyproject.toml", "tqdm>=4.66", "tqdm>=4.67")
    (edited.path / "src/otcal/transport/semidual.py").touch()
    (edited.path / RESULTS / "latent/latents/source.parquet").touch()
    assert pending(edited.plans({})[0]) == set()


UNUSED = (
    "from __future__ import annotations\n",
    "from __future__ import annotations\nUNUSED = 1\n",
)
FIELD = '    """The default solver: one convex potential fitted by the semi-dual."""\n'


@pytest.mark.parametrize(
    ("module", "edit", "patterns"),
    [
        pytest.param("figures/rocs.py", UNUSED, ["draw_fig04", "draw_fig09"], id="a figure"),
        pytest.param("figures/style.py", UNUSED, ["draw_*", "validate_simulation"], id="the style"),
        pytest.param(
            "simulation/detector/calorimeter.py",
            ("np.bincount(tower, energy", "np.bincount(tower, 1.0 * energy"),
            ["simulate"],
            id="a function of the detector",
        ),
        pytest.param(
            "simulation/data/calorimeter_resolution.csv",
            ("\n", "\n\n"),
            ["simulate"],
            id="a table of the detector",
        ),
        pytest.param(
            "report/templates/style.css", ("{", "{ "), ["build_report"], id="the pages' style"
        ),
        pytest.param(
            "simulation/validation.py", UNUSED, ["validate_simulation"], id="the validation"
        ),
        pytest.param(
            "tagger/training.py", UNUSED, ["train_tagger"], id="the training of the tagger"
        ),
        pytest.param(
            "transport/semidual.py",
            UNUSED,
            ["fit_map", "fit_flavour_map", "fit_truth_map", "vary_flavour_maps"],
            id="the solver",
        ),
        pytest.param("mixture/em.py", UNUSED, ["extract_components"], id="the mixture fit"),
        pytest.param("closure/reweighting.py", UNUSED, ["reweight"], id="the reweighting"),
        pytest.param(
            "config/transport.py",
            (FIELD, f"{FIELD}\n    spare: int = 1\n"),
            ["fit_map", "calibrate"],
            id="a field of a step's settings",
        ),
        pytest.param(
            "config/study.py",
            ("    splits: Splits = Field(", "    spare: int = 1\n    splits: Splits = Field("),
            ["build_report:*/latent/*"],
            id="a field of no step's settings",
        ),
    ],
)
def test_an_edit_of_the_code_reruns_what_can_execute_it(
    plans: dict[str, Plan],
    edited: Checkout,
    module: str,
    edit: tuple[str, str],
    patterns: list[str],
) -> None:
    edited.edit(f"src/otcal/{module}", *edit)
    check(plans[""], edited.plans({})[0], consumers(plans[""], patterns, STUDIES))


# Datasets of the latent study that are read from files, one by each rule that does so.
SAMPLES = {
    "source": {"format": "delphes", "files": ["data/events.root"], "jets": 1000, "parts": 2},
    "target": {"format": "jetclass", "files": ["data/jets.root"], "jets": 1000},
}
# What consumes settings there; the other study has none of these.
READERS: dict[str, tuple[Any, list[str]]] = {
    "latent.simulation.selection.pt_max": (900.0, ["simulate", "read_delphes"]),
    "latent.simulation.detector.position_eta": (False, ["simulate", "read_delphes"]),
    "latent.simulation.detector.impact_parameters": ("atlas", ["simulate"]),
    "latent.simulation.variations.target.energy_scale": (1.02, []),
    "latent.samples.source.jets": (2000, []),  # for memory and time of jobs
    "latent.samples.source.labels": ({"all": "QCD"}, ["read_delphes"]),
    "latent.samples.source.ignore_weights": (True, ["read_delphes"]),
    "latent.samples.target.ignore_weights": (True, ["read_jets"]),
}


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The state after a run with `SAMPLES`. Do not change it."""
    project = copy_project(tmp_path_factory.mktemp("reading") / "otcal")
    (project.path / "data").mkdir()
    for files in SAMPLES.values():
        for name in files["files"]:  # type: ignore[attr-defined]
            (project.path / name).write_text(name)
    project.edit("config.yaml", "\nlatent:\n", f"\nlatent:\n  samples: {json.dumps(SAMPLES)}\n")
    project.pretend()
    return project


@pytest.fixture(scope="module")
def readings(reading: Checkout) -> dict[str, Plan]:
    """Plans of that state after no edit, and after each of `READERS`."""
    edits = {"": {}} | {path: nested(path, value) for path, (value, _) in READERS.items()}
    return dict(zip(edits, reading.plans(*edits.values()), strict=True))


def test_nothing_is_read_again_without_an_edit(readings: dict[str, Plan]) -> None:
    rules = [row["rule"] for row in readings[""]]
    assert (rules.count("read_delphes"), rules.count("read_jets")) == (2, 1)
    assert pending(readings[""]) == set()


@pytest.mark.parametrize("path", READERS)
def test_a_setting_reads_again_what_consumes_it(readings: dict[str, Plan], path: str) -> None:
    patterns = [*READERS[path][1], "build_report"]
    check(readings[""], readings[path], consumers(readings[""], patterns, ["latent"]))


@pytest.mark.parametrize(
    ("module", "patterns"),
    [
        pytest.param("simulation/jets.py", ["simulate", "read_delphes"], id="clustering"),
        pytest.param("simulation/labels.py", ["simulate", "read_delphes"], id="labels"),
        pytest.param("simulation/detector/calorimeter.py", ["simulate"], id="the detector"),
        pytest.param("simulation/delphes/reader.py", ["read_delphes"], id="the reader of Delphes"),
        pytest.param("samples/readers/jets.py", ["read_jets"], id="the reader of jets"),
        pytest.param("samples/readers/files.py", ["read_jets", "read_delphes"], id="of any files"),
    ],
)
def test_an_edit_of_a_reader_reads_its_own_files_again(
    reading: Checkout, readings: dict[str, Plan], tmp_path: Path, module: str, patterns: list[str]
) -> None:
    shutil.copytree(reading.path, tmp_path / "otcal", symlinks=True)
    edited = Checkout(tmp_path / "otcal")
    edited.edit(f"src/otcal/{module}", *UNUSED)
    check(readings[""], edited.plans({})[0], consumers(readings[""], patterns, STUDIES))


def test_a_deleted_file_is_made_again_when_something_asks_for_it(
    plans: dict[str, Plan], edited: Checkout
) -> None:
    # What was made from the latents is there and as it should be: they are not asked for.
    (edited.path / RESULTS / "latent/latents/source.parquet").unlink()
    (edited.path / RESULTS / "simplex/figures/closure_w1.pdf").unlink()
    first = consumers(plans[""], ["draw_simplex_closure"], ["simplex"])
    check(plans[""], edited.plans({})[0], first)


def test_a_deleted_file_is_made_again_before_what_an_edit_makes_of_it(
    plans: dict[str, Plan], edited: Checkout
) -> None:
    (edited.path / RESULTS / "latent/latents/source.parquet").unlink()
    edited.edit("src/otcal/closure/reweighting.py", *UNUSED)
    first = consumers(plans[""], ["reweight", "export_latents:*/source.*"], ["latent"])
    check(plans[""], edited.plans({})[0], first)
