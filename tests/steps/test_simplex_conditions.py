"""The steps of the simplex study with conditions: data differ from simulation as pT does.

Soft jets are shifted to one side, hard ones to the other. On average nothing is left of it, so that
a map for all jets finds nothing to move; every step here has to carry the condition along.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from otcal.bundle.calibration import Calibration
from otcal.bundle.card import read_card
from otcal.bundle.exporting import export_bundle
from otcal.closure.simplex_versions import make_versions
from otcal.config.bins import FlavourBins
from otcal.config.bundle import BundleConfig
from otcal.config.mixture import PretrainSpec
from otcal.config.simplex_closure import FlavourMaps, FlavourMapSpec
from otcal.config.splits import Splits
from otcal.figures import cells
from otcal.mixture.flows import Components
from otcal.mixture.points import join, split
from otcal.runtime.errors import InputError
from otcal.runtime.files import read_json, write_json
from otcal.samples.flavours import FLAVOURS
from otcal.samples.scores import Scores, read_scores, score_writer
from otcal.samples.targets import read_target
from otcal.simplex import ilr, ilr_inverse
from otcal.steps import (
    extract_components,
    fit_flavour_map,
    measure_closure,
    measure_flavour_bins,
    pretrain_flows,
    propagate_uncertainty,
    sample_targets,
    tabulate_displacements,
    vary_flavour_maps,
)
from otcal.transport.simplex_maps import SimplexMap

Array = NDArray[np.float64]

MEANS = np.array([[1.5, 1.5], [-1.5, 1.0], [0.0, -2.0]])
WIDTH = 0.8
SHIFT = 0.8
CONDITIONS = ["jet_pt"]
SPLITS = {"train": 0.6, "validation": 0.1, "test": 0.3}
JETS = 4_000
REGIONS = {f"{name}_enriched": name for name in FLAVOURS}
SHARES = {name: {k: 0.9 if k == name else 0.05 for k in FLAVOURS} for name in FLAVOURS}
FLOWS = {"transforms": 1, "hidden": [16], "bins": 8}
NAMES = ("eigen1_up", "eigen1_down")


def wanted(pt: Array) -> Array:
    """Return the true shift, (N, 2): from −SHIFT at 20 GeV to SHIFT at 250 GeV in ln pT."""
    relative = 2 * np.log(pt / 20) / np.log(250 / 20) - 1
    return SHIFT * relative[:, None] * np.array([1.0, 0.0])


def scores(counts: list[int], seed: int, data: bool) -> Scores:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), counts)
    n = len(labels)
    pt = np.exp(rng.uniform(np.log(20), np.log(250), n))
    z = MEANS[labels] + WIDTH * rng.normal(size=(n, 2)) + data * wanted(pt)
    order = rng.permutation(n)
    eta = rng.uniform(-2.5, 2.5, n)
    jets = Scores(
        np.int64(seed) * 10**6 + np.arange(n),
        labels.astype(np.int8),
        pt.astype(np.float32),
        eta.astype(np.float32),
        ilr_inverse(z),
    )
    return jets.select(order)


def write(path: Path, jets: Scores) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with score_writer(path, FLAVOURS, {"spec": {}}) as writer:
        writer.write_table(jets.to_table(FLAVOURS))


def run(step: Callable[[list[str]], None], spec: dict, **options: object) -> None:
    words = ["--spec", json.dumps(spec), "--threads", "1"]
    for name, value in options.items():
        values = value if isinstance(value, list) else [value]
        words += [f"--{name.replace('_', '-')}", *map(str, values)]
    step(words)


def pretrain(root: Path, sample: str, output: str, conditions: list[str]) -> None:
    training = {"steps": 400, "batch": 512, "learning_rate": 0.01, "evaluate_every": 50}
    spec = {"flow": FLOWS, "training": training, "splits": SPLITS, "seed": 1}
    files = {"scores": root / f"scores/{sample}.parquet", "output": root / output}
    run(pretrain_flows.main, {**spec, "conditions": conditions}, **files)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All steps from the scores on; flows of labelled data stand for extracted ones."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("study") / "simplex"
    for seed, name in enumerate(("simulation", "data"), start=1):
        write(root / f"scores/{name}.parquet", scores([JETS] * 3, seed, name == "data"))
    for seed, (name, signal) in enumerate(REGIONS.items(), start=3):
        counts = [round(1_500 * SHARES[signal][k]) for k in FLAVOURS]
        write(root / f"regions/{name}.parquet", scores(counts, seed, True))
    write(root / "regions/validation.parquet", scores([1_000] * 3, 9, True))
    pretrain(root, "simulation", "mixture/pretrained.safetensors", CONDITIONS)
    pretrain(root, "data", "mixture/flows.safetensors", CONDITIONS)
    pi = [[SHARES[signal][k] for k in FLAVOURS] for signal in REGIONS.values()]
    fit = {"regions": list(REGIONS), "enriched": list(FLAVOURS), "flavours": list(FLAVOURS)}
    write_json(root / "extraction.json", {**fit, "pi": pi})
    up = [[-0.02, 0.01, 0.01]] * 3
    down = (-np.array(up)).tolist()
    shifts = [{"name": n, "delta_pi": d} for n, d in zip(NAMES, (up, down), strict=True)]
    for one in shifts:
        one |= {"scale": 1.0, "prior_share": 1.0}
    content = {**fit, "pi": pi, "variations": shifts}
    write_json(root / "uncertainty/variations.json", content)
    for flavour in FLAVOURS:
        target = root / f"targets/{flavour}.parquet"
        run(
            sample_targets.main,
            {"points": 4_000, "seed": 1},
            flavour=flavour,
            flows=root / "mixture/flows.safetensors",
            variations=root / "uncertainty/variations.json",
            output=target,
        )
        fit_map(root, flavour, "nominal", CONDITIONS)
        run(
            vary_flavour_maps.main,
            {"flavour": flavour, "splits": SPLITS, "seed": 1, "steps": 5, "learning_rate": 0.005},
            source=root / "scores/simulation.parquet",
            target=target,
            initial=root / f"maps/{flavour}/nominal.safetensors",
            output=root / f"maps/{flavour}/variations.json",
        )
    return root


def fit_map(root: Path, flavour: str, variant: str, conditions: list[str]) -> None:
    spec = {"flavour": flavour, "splits": SPLITS, "seed": 1, "steps": 250, "batch": 256}
    spec |= {"learning_rate": 0.02, "hidden": [16, 16], "select": False, "evaluations": 1}
    stem = root / f"maps/{flavour}/{variant}"
    run(
        fit_flavour_map.main,
        {**spec, "conditions": conditions},
        source=root / "scores/simulation.parquet",
        target=root / f"targets/{flavour}.parquet",
        output=stem.with_suffix(".safetensors"),
        learning_curve=stem.with_suffix(".csv"),
        diagnostics=stem.with_name(f"{variant}-diagnostics.json"),
    )


def test_points_hold_momenta_as_logarithms() -> None:
    p = np.array([[0.7, 0.2, 0.1], [0.2, 0.3, 0.5]])
    given = np.array([[0.5, 20.0], [-0.5, 250.0]])
    points = join(p, given, ["jet_eta", "jet_pt"])
    np.testing.assert_allclose(points[:, :2], ilr(p))
    np.testing.assert_allclose(points[:, 2:], [[0.5, np.log(20)], [-0.5, np.log(250)]])
    z, back = split(points, ["jet_eta", "jet_pt"])
    np.testing.assert_allclose(z, ilr(p))
    np.testing.assert_allclose(back, given)
    np.testing.assert_array_equal(join(p, np.empty((2, 0)), []), ilr(p))


def test_targets_have_the_data_s_shift_at_every_momentum(study: Path) -> None:
    for k, flavour in enumerate(FLAVOURS):
        sample = read_target(study / f"targets/{flavour}.parquet", conditions=CONDITIONS)
        pt = sample.conditions[:, 0]
        assert 0.97 < np.mean((pt > 18) & (pt < 280)) <= 1
        for low, high in ((25, 50), (50, 100), (100, 200)):
            inside = (pt > low) & (pt < high)
            expected = MEANS[k] + wanted(pt[inside].astype(float)).mean(axis=0)
            error = WIDTH / np.sqrt(inside.sum() / 2)  # of the points, and of the flow's jets
            np.testing.assert_allclose(sample.z[inside].mean(axis=0), expected, atol=5 * error)


def test_maps_move_jets_as_their_momentum_asks(study: Path) -> None:
    fit_map(study, "b", "inclusive", [])
    for flavour in FLAVOURS:
        jets = read_scores(study / "scores/simulation.parquet", FLAVOURS)
        jets = jets.select(jets.labels == FLAVOURS.index(flavour))
        expected = wanted(jets.pt.astype(float))
        found = SimplexMap.load(study / f"maps/{flavour}/nominal.safetensors", flavour)
        assert found.conditions == ("jet_pt",)
        moved = ilr(found(jets.p, jets.conditions(CONDITIONS)).p) - ilr(jets.p)
        missed = np.sqrt(((moved - expected) ** 2).sum(axis=1).mean())
        assert missed < 0.4 * np.sqrt((expected**2).sum(axis=1).mean())
        with pytest.raises(InputError, match="conditions: are missing"):
            found(jets.p)
    inclusive = SimplexMap.load(study / "maps/b/inclusive.safetensors", "b")
    jets = read_scores(study / "scores/simulation.parquet", FLAVOURS, [0])
    moved = ilr(inclusive(jets.p).p) - ilr(jets.p)
    expected = wanted(jets.pt.astype(float))
    missed = np.sqrt(((moved - expected) ** 2).sum(axis=1).mean())
    assert missed > 0.8 * np.sqrt((expected**2).sum(axis=1).mean())


def test_variations_start_from_the_nominal_map_and_keep_its_condition(study: Path) -> None:
    jets = read_scores(study / "scores/simulation.parquet", FLAVOURS, [0])
    nominal = SimplexMap.load(study / "maps/b/nominal.safetensors", "b")
    before = ilr(nominal(jets.p, jets.conditions(CONDITIONS)).p)
    soft, hard = np.full((len(jets), 1), 25.0), np.full((len(jets), 1), 200.0)
    expected = (wanted(hard[:, 0]) - wanted(soft[:, 0]))[0]
    for name in NAMES:
        varied = SimplexMap.load(study / f"maps/b/{name}.safetensors", "b")
        after = ilr(varied(jets.p, jets.conditions(CONDITIONS)).p)
        assert 0 < np.abs(after - before).mean() < 0.2
        difference = ilr(varied(jets.p, hard).p) - ilr(varied(jets.p, soft).p)
        np.testing.assert_allclose(difference.mean(axis=0), expected, atol=0.25)


def test_closure_moves_and_weights_every_jet_at_its_own_momentum(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def spy(*arguments: object) -> object:
        made.append(make_versions(*arguments))
        return made[-1]

    def of(variant: str) -> list[Path]:
        return [study / f"maps/{name}/{variant}" for name in FLAVOURS]

    monkeypatch.setattr(measure_closure, "make_versions", spy)
    run(
        measure_closure.main,
        {"splits": SPLITS, "kappas": [1.0], "bins": 12, "halvings": 4, "seed": 1},
        simulation=study / "scores/simulation.parquet",
        regions=[study / f"regions/{name}.parquet" for name in (*REGIONS, "validation")],
        maps=of("nominal.safetensors"),
        variation_maps=of("variations.json"),
        targets=[study / f"targets/{name}.parquet" for name in FLAVOURS],
        pretrained=study / "mixture/pretrained.safetensors",
        flows=study / "mixture/flows.safetensors",
        extraction=study / "extraction.json",
        variations=study / "uncertainty/variations.json",
        discriminants=study / "closure/discriminants.csv",
        metrics=study / "closure/metrics.csv",
        diagnostics=study / "closure/diagnostics.json",
    )
    simulation, data = (
        Components.load(study / f"mixture/{name}.safetensors") for name in ("pretrained", "flows")
    )
    for k, (jets, _) in enumerate(made):
        own = read_scores(study / "scores/simulation.parquet", FLAVOURS, [k])
        given = own.conditions(CONDITIONS)
        nominal = SimplexMap.load(of("nominal.safetensors")[k], FLAVOURS[k])
        np.testing.assert_array_equal(jets.moved["calibrated"], nominal(own.p, given).p)
        points = join(own.p, given, CONDITIONS)
        ratio = np.exp(data.log_prob(points)[:, k] - simulation.log_prob(points)[:, k])
        usual = ratio < np.quantile(ratio, 0.9)  # none that a limit holds down
        relative = jets.weights["reweighted"][usual] / ratio[usual]
        np.testing.assert_allclose(relative, relative[0], rtol=1e-6)
    table = pd.read_csv(study / "closure/metrics.csv")
    assert set(table["region"]) == {*REGIONS, "validation"}
    assert np.isfinite(table["w1_ratio"]).all()


def test_where_maps_move_is_tabulated(study: Path) -> None:
    run(
        tabulate_displacements.main,
        {},
        simulation=study / "scores/simulation.parquet",
        maps=[study / f"maps/{name}/nominal.safetensors" for name in FLAVOURS],
        plane_table=study / "tables/plane.parquet",
        simplex_table=study / "tables/simplex.parquet",
        density_table=study / "tables/density.parquet",
    )
    table = pd.read_parquet(study / "tables/plane.parquet")
    jets = read_scores(study / "scores/simulation.parquet", FLAVOURS)
    for k, name in enumerate(FLAVOURS):
        own = jets.select(jets.labels == k)
        moved = SimplexMap.load(study / f"maps/{name}/nominal.safetensors", name)
        after = ilr(moved(own.p, own.conditions(CONDITIONS)).p)
        rows = table[(table["flavour"] == name) & (table["jets"] > 0)]
        mean = np.average(rows[["moved_z1", "moved_z2"]], axis=0, weights=rows["jets"])
        np.testing.assert_allclose(mean, after.mean(axis=0), atol=0.1)  # a few are outside


def test_the_plane_shows_the_marginal_of_joint_densities(study: Path) -> None:
    components = Components.load(study / "mixture/flows.safetensors")
    edges = np.linspace(-6, 6, 25)
    axes = [cells.Axis(edges, edges)] * 2
    found = cells.drawn(components, axes)
    centres = 0.5 * (edges[1:] + edges[:-1])
    momenta = np.linspace(np.log(10), np.log(500), 101)
    grid = np.meshgrid(centres, centres, momenta, indexing="ij")
    density = np.exp(components.log_prob(np.stack(grid, axis=-1).reshape(-1, 3))).T
    cell = (edges[1] - edges[0]) ** 2 * (momenta[1] - momenta[0])
    expected = density.reshape(3, 24, 24, 101).sum(axis=-1) * cell
    # Midpoints of cells half a unit wide, and 500,000 points.
    np.testing.assert_allclose(found, expected, atol=0.003)
    np.testing.assert_allclose(found.sum(axis=2), expected.sum(axis=2), atol=0.01)


def test_extraction_and_uncertainty_take_the_condition_from_the_flows(study: Path) -> None:
    nominal = {f"{k}_enriched": {"enriched": k, "nominal": SHARES[k]} for k in FLAVOURS}
    spec = {"regions": nominal, "settle": 3, "max_iterations": 6, "seed": 1}
    regions = [study / f"regions/{name}.parquet" for name in REGIONS]
    run(
        extract_components.main,
        {**spec, "density": {"learning_rate": 0.01, "batch": 256}},
        regions=regions,
        pretrained=study / "mixture/pretrained.safetensors",
        start=0,
        output=study / "start-0",
    )
    before, after = (
        Components.load(study / name)
        for name in ("mixture/pretrained.safetensors", "start-0/flows.safetensors")
    )
    assert after.conditions == before.conditions == ("jet_pt",)
    jets = read_scores(study / "scores/data.parquet", FLAVOURS)
    points = join(jets.p, jets.conditions(CONDITIONS), CONDITIONS)
    own = np.arange(len(jets)), jets.labels
    gain = after.log_prob(points)[own] - before.log_prob(points)[own]
    assert gain.mean() > 3 * gain.std() / np.sqrt(len(gain))  # moved towards the data
    run(
        propagate_uncertainty.main,
        {},
        extraction=study / "start-0/composition.json",
        flows=study / "start-0/flows.safetensors",
        regions=regions,
        feedback=study / "start-0/feedback.json",
        variations=study / "start-0/variations.json",
    )
    found = read_json(study / "start-0/feedback.json")
    assert found["projected"]["singular_values"][:2] == [None, None]  # the common shifts


def test_maps_of_bins_are_compared_on_unseen_jets(study: Path, tmp_path: Path) -> None:
    edges = (20.0, 70.0, 250.0)
    maps = FlavourMaps(
        **{"steps": 150, "batch": 256, "learning_rate": 0.02, "hidden": (16, 16)},
        **{"select": False, "bins": (FlavourBins(column="jet_pt", edges=edges),)},
    )
    splits, parts = Splits(**SPLITS), ("jet_pt-0", "jet_pt-1")
    for name in ("inclusive", "conditional", *parts):
        spec = maps.compared_map_spec("b", splits, 1, name)
        run(
            fit_flavour_map.main,
            spec.model_dump(mode="json"),
            source=study / "scores/simulation.parquet",
            target=study / "scores/data.parquet",
            exclude=study / "regions/validation.parquet",
            output=tmp_path / f"{name}.safetensors",
            learning_curve=tmp_path / f"{name}.csv",
            diagnostics=tmp_path / f"{name}-diagnostics.json",
        )
    points = {
        name: read_json(tmp_path / f"{name}-diagnostics.json")["points"]["source"]
        for name in ("inclusive", *parts)
    }
    assert sum(points[name] for name in parts) == points["inclusive"]

    def compare(edges: tuple[float, ...]) -> None:
        bins = maps.model_copy(update={"bins": (FlavourBins(column="jet_pt", edges=edges),)})
        run(
            measure_flavour_bins.main,
            bins.bins_spec("b", splits).model_dump(mode="json"),
            simulation=study / "scores/simulation.parquet",
            data=study / "regions/validation.parquet",
            inclusive=tmp_path / "inclusive.safetensors",
            conditional=tmp_path / "conditional.safetensors",
            binned=[tmp_path / f"{name}.safetensors" for name in parts],
            output=tmp_path / "closure.csv",
            figure=tmp_path / "closure",
        )

    compare(edges)
    table = pd.read_csv(tmp_path / "closure.csv").set_index(["low", "high", "map"])["energy"]
    for low, high in ((20, 70), (70, 250)):
        # On average there is nothing to be moved, so that one map for all jets does nothing.
        assert table[low, high, "inclusive"] > 0.6 * table[low, high, "source"]
        assert table[low, high, "conditional"] < 0.3 * table[low, high, "source"]
        assert table[low, high, "binned"] < 0.6 * table[low, high, "source"]
    assert (tmp_path / "closure.png").stat().st_size > 10_000
    (tmp_path / "closure.csv").unlink()
    with pytest.raises(ValidationError, match="range of jet_pt is empty"):
        FlavourMapSpec(
            **{"flavour": "b", "steps": 1, "learning_rate": 1.0, "target": "truth"},
            ranges={"jet_pt": (30, 20)},
        )
    with pytest.raises(ValidationError, match="name a column twice"):
        PretrainSpec(conditions=("jet_pt", "jet_pt"))
    with pytest.raises(InputError, match=r"Merge bins in maps\.bins\.edges"):
        compare((20.0, 20.001, 250.0))
    assert not (tmp_path / "closure.csv").exists()
    with pytest.raises(ValidationError, match="ranges need target truth"):
        FlavourMapSpec(flavour="b", steps=1, learning_rate=1.0, ranges={"jet_pt": (20, 30)})


def test_a_bundle_takes_the_condition_as_an_input(study: Path) -> None:
    write_json(study / "summary.json", {})
    export_bundle("simplex", study, study / "bundle", BundleConfig())
    card = read_card(study / "bundle")
    assert card.conditions == ("jet_pt",)
    assert card.validity["b"]["jet_pt"].low[0] > 19
    jets = scores([300, 300, 300], 20, False)
    columns = {f"p_{name}": jets.p[:, k] for k, name in enumerate(FLAVOURS)}
    columns |= {"jet_pt": jets.pt, "label": jets.labels}
    found = Calibration(study / "bundle", card)(columns)
    for k, flavour in enumerate(FLAVOURS):
        own = jets.select(jets.labels == k)
        expected = SimplexMap.load(study / f"maps/{flavour}/nominal.safetensors", flavour)
        p = expected(own.p, own.conditions(CONDITIONS)).p
        np.testing.assert_allclose(found["calibrated_p_b"][jets.labels == k], p[:, 0], atol=1e-5)
        varied = SimplexMap.load(study / f"maps/{flavour}/eigen1_up.safetensors", flavour)
        p = varied(own.p, own.conditions(CONDITIONS)).p
        column = found["calibrated_p_c_eigen1_up"][jets.labels == k]
        np.testing.assert_allclose(column, p[:, 1], atol=1e-5)
    fit_map(study, "c", "nominal", [])
    with pytest.raises(InputError, match=r"nominal\.safetensors: conditions: are none"):
        export_bundle("simplex", study, study / "other", BundleConfig())
