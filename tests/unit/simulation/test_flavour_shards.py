"""Files of jets with flavour labels."""

from __future__ import annotations

import numpy as np
import pyarrow.compute as pc
import pytest

from otcal.config.simulation import ShardSpec, SimulationConfig
from otcal.runtime.errors import InputError
from otcal.samples.flavours import FLAVOURS
from otcal.samples.jets import JET_SCHEMA, jet_schema, read_jets
from otcal.samples.tables import to_numpy
from otcal.simulation.shard import write_shard
from otcal.steps import simulate

SCHEMA = jet_schema(FLAVOURS)
DETECTOR = {
    "impact_parameters": "atlas",
    "position_eta": False,
    "exact_track_momentum": False,
    "calorimeter_overrides_tracks": False,
}
SELECTION = {
    "radius": 0.4,
    "pt_min": 20.0,
    "pt_max": 250.0,
    "abs_eta_max": 2.5,
    "flavours": {},
    "tracks": {},
}


def spec(jets, process="ttbar_charm", seed=21, **tracks):
    selection = {**SELECTION, "tracks": tracks}
    return ShardSpec.model_validate(
        {"process": process, "jets": jets, "seed": seed, "detector": DETECTOR}
        | {"selection": selection, "batch": 40}
    )


@pytest.fixture(scope="module")
def charm(tmp_path_factory):
    path = tmp_path_factory.mktemp("jets") / "charm.parquet"
    write_shard(spec(1500), path, {})
    return read_jets([path], SCHEMA.names, SCHEMA)


def label_of(jets):
    flags = np.stack([to_numpy(jets[f"label_{name}"]) for name in FLAVOURS], axis=1)
    assert (flags.sum(axis=1) == 1).all()
    return flags.argmax(axis=1)


def test_labels_are_those_of_the_hadron_in_the_jet(charm):
    label = label_of(charm)
    match = to_numpy(charm["aux_truth_match"])
    assert np.array_equal(match, np.array([5, 4, 0])[label])
    pid = np.abs(to_numpy(charm["aux_genpart_pid"])).astype(int)
    digits = [set(str(number)) for number in pid]
    assert all("5" in d for d, m in zip(digits, match, strict=True) if m == 5)
    assert all("4" in d and "5" not in d for d, m in zip(digits, match, strict=True) if m == 4)
    assert (pid[match == 0] == 0).all()
    deta = to_numpy(charm["aux_genpart_eta"]) - to_numpy(charm["jet_eta"])
    dphi = to_numpy(charm["aux_genpart_phi"]) - to_numpy(charm["jet_phi"])
    distance = np.hypot(deta, (dphi + np.pi) % (2 * np.pi) - np.pi)[match > 0]
    assert distance.max() < 0.3
    assert np.median(distance) < 0.05
    assert to_numpy(charm["aux_genpart_pt"])[match > 0].min() > 5
    # The card's purpose: charm as frequent as bottom.
    counts = np.bincount(label)
    assert counts[0] / counts[1] == pytest.approx(1.0, abs=4 * np.sqrt(2 / counts[1]))
    assert counts.min() > 300


def test_jets_are_in_the_window_and_hold_selected_tracks(charm):
    pt, eta = to_numpy(charm["jet_pt"]), to_numpy(charm["jet_eta"])
    assert ((pt > 20) & (pt < 250) & (np.abs(eta) < 2.5)).all()
    assert to_numpy(charm["jet_id"]).tolist() == [(21 << 20) + i for i in range(1500)]
    counts = to_numpy(pc.list_value_length(charm["part_px"]))
    assert np.array_equal(counts, to_numpy(charm["jet_nparticles"]))
    assert counts.min() == 1
    assert counts.max() <= 40

    part = {
        name: to_numpy(pc.list_flatten(charm[f"part_{name}"])).astype(float)
        for name in ("px", "py", "pz", "d0val", "d0err", "dzval", "charge", "deta", "dphi")
    }
    owner = np.repeat(np.arange(1500), counts)
    track_pt = np.hypot(part["px"], part["py"])
    assert (np.diff(track_pt)[np.diff(owner) == 0] <= 0).all()
    assert track_pt.min() > 0.5
    assert (np.abs(part["charge"]) == 1).all()
    assert (part["d0err"] > 0).all()
    assert np.abs(part["d0val"]).max() < 3.5
    sine = track_pt / np.hypot(track_pt, part["pz"])
    assert np.abs(part["dzval"] * sine).max() < 5
    # Anti-kT counts rapidity, not pseudorapidity.
    assert (np.hypot(part["deta"], part["dphi"]) < 0.4).mean() > 0.98


def test_displacement_orders_the_flavours(charm):
    """Tracks of b hadrons are displaced more often than those of c hadrons, light ones hardly."""
    label = np.repeat(label_of(charm), to_numpy(charm["jet_nparticles"]).astype(int))
    d0, error = (to_numpy(pc.list_flatten(charm[f"part_d0{k}"])) for k in ("val", "err"))
    significance = np.abs(d0 / error)
    b, c, light = (significance[label == i] for i in range(3))
    for cut in (2.0, 3.0, 5.0, 10.0):
        shares = [(s > cut).mean() for s in (b, c, light)]
        assert shares[0] > 1.8 * shares[1]
        assert shares[1] > 1.8 * shares[2]
    assert np.median(b) > 1.5 > np.median(c) > np.median(light)
    # The core of light tracks is the resolution: |N(0, 1)| has its median at 0.674.
    assert np.median(light) == pytest.approx(0.674, rel=0.08)


def test_the_most_tracks_are_those_of_highest_momentum(charm, tmp_path):
    write_shard(spec(300, maximum=3), tmp_path / "three.parquet", {})
    three = read_jets([tmp_path / "three.parquet"], SCHEMA.names, SCHEMA)
    for name in SCHEMA.names:
        values, whole = three[name].to_pylist(), charm[name].slice(0, 300).to_pylist()
        if name.startswith("part_"):
            assert values == [of_all[:3] for of_all in whole], name
        elif name != "jet_nparticles":
            assert values == whole, name
    assert to_numpy(three["jet_nparticles"]).max() == 3


def test_without_a_track_selection_all_constituents_are_stored(tmp_path):
    selection = {**SELECTION, "tracks": None}
    both = spec(60, "ttbar").model_dump() | {"selection": selection}
    write_shard(ShardSpec.model_validate(both), tmp_path / "all.parquet", {})
    jets = read_jets([tmp_path / "all.parquet"], SCHEMA.names, SCHEMA)
    charge = to_numpy(pc.list_flatten(jets["part_charge"]))
    assert 0.3 < (charge == 0).mean() < 0.8
    total = np.array([[sum(jet[k]) for k in ("part_px", "part_py")] for jet in jets.to_pylist()])
    assert np.hypot(*total.T) == pytest.approx(to_numpy(jets["jet_pt"]), rel=1e-4)
    shares = np.bincount(label_of(jets), minlength=3) / len(jets)
    assert shares[1] < shares[0]  # few c jets in top pairs of all decays


def test_the_step_writes_what_the_spec_says(tmp_path):
    path = tmp_path / "jets.parquet"
    simulate.main(["--spec", spec(20).model_dump_json(), "--output", str(path)])
    assert len(read_jets([path], SCHEMA.names, SCHEMA)) == 20
    with pytest.raises(InputError, match="label_QCD: column is missing"):
        read_jets([path], JET_SCHEMA.names)


def test_a_process_without_a_class_needs_flavour_labels(tmp_path):
    with pytest.raises(InputError, match=r"ttbar.*selection\.flavours"):
        simulate.main(
            ["--spec", '{"process": "ttbar", "jets": 5, "seed": 1}', "--output", str(tmp_path)]
        )
    with pytest.raises(ValueError, match=r"'ttbar' fills none.*selection\.flavours"):
        configuration({"radius": 0.4})
    shards = configuration(SELECTION).shards("data")
    assert [shard.selection.classes for shard in shards.values()] == [FLAVOURS] * 3
    assert len({shard.seed for shard in shards.values()}) == 3


def configuration(selection):
    return SimulationConfig.model_validate(
        {
            "seed": 3,
            "jets_per_shard": 40,
            "selection": selection,
            "variations": {"nominal": {}},
            "datasets": {
                "data": {"variation": "nominal", "jets": {"ttbar": 80, "ttbar_charm": 40}}
            },
        }
    )
