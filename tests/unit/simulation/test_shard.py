"""Events of Pythia and files of jets."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from otcal.config.simulation import Detector, Selection, ShardSpec, SimulationConfig, Variation
from otcal.runtime.errors import InputError
from otcal.samples.classes import CLASSES
from otcal.samples.jets import JET_SCHEMA, LABELS, read_jets
from otcal.samples.tables import to_numpy
from otcal.simulation.generator import Generator
from otcal.simulation.labels import CODES
from otcal.simulation.processes import PROCESSES
from otcal.simulation.shard import write_shard
from otcal.steps import simulate


def test_batches_hold_pythias_event_records():
    """Every entry of a batch, production points above all, is that of Pythia's own record."""
    batch = Generator("QCD", Variation(), seed=4).next_batch(3)
    single = Generator("QCD", Variation(), seed=4).pythia
    for i in range(3):
        assert single.next()
        record = list(single.event)
        expected = {
            "pid": [p.id() for p in record],
            "status": [p.status() for p in record],
            "daughter1": [p.daughter1() for p in record],
            "daughter2": [p.daughter2() for p in record],
            "px": [p.px() for p in record],
            "py": [p.py() for p in record],
            "pz": [p.pz() for p in record],
            "energy": [p.e() for p in record],
            "x": [p.xProd() for p in record],
            "y": [p.yProd() for p in record],
            "z": [p.zProd() for p in record],
            "charge": [p.charge() for p in record],
        }
        here = slice(batch.offsets[i], batch.offsets[i + 1])
        for name, values in expected.items():
            assert np.array_equal(getattr(batch, name)[here], values), name
    stable = batch.stable()
    assert np.abs(stable.x).max() > 1.0  # decays in flight were kept
    assert stable.event.tolist() == sorted(stable.event.tolist())
    assert (np.bincount(stable.event) > 50).all()


def test_pythia_takes_the_scale_factors_and_keeps_multiparton_interactions():
    variation = Variation.model_validate({"final_state_shower": {"renormalisation": 2.0}})
    settings = Generator("QCD", variation, seed=1).pythia.settings
    assert settings.parm("TimeShower:renormMultFac") == 4.0
    assert settings.parm("TimeShower:factorMultFac") == 1.0
    assert settings.parm("SpaceShower:renormMultFac") == 1.0
    assert settings.flag("PartonLevel:MPI")
    assert settings.mode("Tune:pp") == 14
    assert settings.parm("Beams:eCM") == 13000.0


def test_w_bosons_of_hqql_decay_in_both_charge_combinations():
    generator = Generator("Hqql", Variation(), seed=2)
    for quarks in (24, -24, 24):
        events = generator.next_batch(4)
        for start, stop in zip(events.offsets[:-1], events.offsets[1:], strict=True):
            pid = events.pid[start:stop]
            first = events.daughter1[start:stop]
            for row in np.flatnonzero(np.abs(pid) == 24):
                daughter = abs(pid[first[row]])
                if daughter != 24:
                    assert (daughter <= 5) == (pid[row] == quarks)


@pytest.mark.parametrize("process", CLASSES)
def test_shard_of_each_process_holds_labelled_jets_of_its_class(process, tmp_path):
    path = tmp_path / "shard.parquet"
    spec = ShardSpec(process=process, jets=6, seed=1234, batch=20)
    write_shard(spec, path, {})
    jets = read_jets([path], JET_SCHEMA.names)
    assert len(jets) == 6
    assert jets["jet_id"].to_pylist() == [(1234 << 20) + i for i in range(6)]
    label = np.stack([to_numpy(jets[name]) for name in LABELS], axis=1)
    assert (label.sum(axis=1) == 1).all()
    assert (label[:, CLASSES.index(process)] == 1).all()
    assert set(to_numpy(jets["aux_truth_match"]).astype(int)) <= set(CODES[process])

    pt, eta, phi = (to_numpy(jets[f"jet_{k}"]) for k in ("pt", "eta", "phi"))
    assert ((pt > 500) & (pt < 1000) & (np.abs(eta) < 2)).all()
    for j, row in enumerate(jets.to_pylist()):
        part = {name: np.array(row[name]) for name in row if name.startswith("part_")}
        px, py = part["part_px"], part["part_py"]
        assert len(px) == row["jet_nparticles"]
        assert (np.diff(np.hypot(px, py)) <= 0).all()
        # phi and pT do not know about the position's eta: the sum is the jet.
        assert np.hypot(px.sum(), py.sum()) == pytest.approx(pt[j], rel=1e-5)
        assert np.arctan2(py.sum(), px.sum()) == pytest.approx(phi[j], abs=1e-5)
        dphi = np.arctan2(py, px) - phi[j]
        assert part["part_dphi"] == pytest.approx((dphi + np.pi) % (2 * np.pi) - np.pi, abs=1e-5)
        position = np.arcsinh(part["part_pz"] / np.hypot(px, py))
        sign = 1 if eta[j] > 0 else -1
        assert part["part_deta"] == pytest.approx((position - eta[j]) * sign, abs=1e-5)
        charged = part["part_charge"] != 0
        distance = np.hypot(part["part_deta"], part["part_dphi"])
        # Anti-kT counts rapidity, not pseudorapidity; looping tracks' positions are anywhere.
        assert distance[~charged].max() < 1.1
        for name in ("d0val", "d0err", "dzval", "dzerr"):
            assert (part[f"part_{name}"][~charged] == 0).all()
        neutral = part["part_isNeutralHadron"] + part["part_isPhoton"]
        assert (neutral == ~charged).all()
    if process != "QCD":
        dphi = (to_numpy(jets["aux_genpart_phi"]) - phi + np.pi) % (2 * np.pi) - np.pi
        assert np.hypot(to_numpy(jets["aux_genpart_eta"]) - eta, dphi).max() < 0.8
        kinds = {6: "T", 25: "H", 24: "W", 23: "Z"}
        assert {kinds[abs(int(pid))] for pid in to_numpy(jets["aux_genpart_pid"])} == {process[0]}
    else:
        assert (to_numpy(jets["aux_genpart_pid"]) == 0).all()


@pytest.mark.parametrize("position_eta", [False, True])
def test_constituents_add_up_to_the_jet_but_for_the_positions(position_eta, tmp_path):
    detector = Detector(position_eta=position_eta)
    spec = ShardSpec(process="QCD", jets=40, seed=5, batch=20, detector=detector)
    write_shard(spec, tmp_path / "shard.parquet", {})
    jets = read_jets([tmp_path / "shard.parquet"], JET_SCHEMA.names).to_pylist()
    px, py, pz, energy = (
        np.array([sum(jet[f"part_{k}"]) for jet in jets]) for k in ("px", "py", "pz", "energy")
    )
    jet_eta = np.array([jet["jet_eta"] for jet in jets])
    eta = np.arcsinh(pz / np.hypot(px, py))
    if position_eta:
        # Tracks leave the tracker further forward than they point.
        assert (np.abs(eta) > np.abs(jet_eta)).mean() > 0.75
    else:
        assert eta == pytest.approx(jet_eta, abs=1e-5)
        assert energy == pytest.approx([jet["jet_energy"] for jet in jets], rel=1e-5)


def test_shards_are_reproducible_bit_for_bit(tmp_path):
    spec = ShardSpec(process="QCD", jets=30, seed=7, batch=10)
    paths = [tmp_path / name for name in ("a.parquet", "b.parquet", "c.parquet")]
    write_shard(spec, paths[0], {"step": "simulate"})
    write_shard(spec, paths[1], {"step": "simulate"})
    write_shard(spec.model_copy(update={"seed": 8}), paths[2], {"step": "simulate"})
    assert paths[0].read_bytes() == paths[1].read_bytes()
    one, other = (pq.read_table(path)["jet_pt"].to_numpy() for path in (paths[0], paths[2]))
    assert not np.isin(one, other).any()


def test_fewer_jets_are_the_first_ones(tmp_path):
    spec = ShardSpec(process="QCD", jets=12, seed=7, batch=10)
    write_shard(spec, tmp_path / "12.parquet", {})
    write_shard(spec.model_copy(update={"jets": 5}), tmp_path / "5.parquet", {})
    assert (
        pq.read_table(tmp_path / "12.parquet")
        .slice(0, 5)
        .equals(pq.read_table(tmp_path / "5.parquet"))
    )


def test_a_window_without_jets_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("otcal.simulation.shard._BARREN_BATCHES", 2)
    selection = Selection(pt_min=6000.0, pt_max=6400.0)
    spec = ShardSpec(process="QCD", jets=1, seed=1, batch=5, selection=selection)
    message = r"selection\.pt_min, pt_max: 10 events of QCD .* no jet from 6000 to 6400 GeV"
    with pytest.raises(InputError, match=message):
        write_shard(spec, tmp_path / "x.parquet", {})
    assert list(tmp_path.iterdir()) == []


def test_step_names_the_process_that_does_not_exist(tmp_path, capsys):
    spec = '{"process": "Hxx", "jets": 5, "seed": 1}'
    with pytest.raises(InputError, match="process") as caught:
        simulate.main(["--spec", spec, "--output", str(tmp_path / "x.parquet")])
    assert all(name in str(caught.value) for name in PROCESSES)
    assert not (tmp_path / "x.parquet").exists()


def configuration(**changes):
    base = {
        "seed": 3,
        "jets_per_shard": 40,
        "variations": {"source": {}, "target": {"impact_parameter_smearing": {"maximum": 0.3}}},
        "datasets": {"pseudo_data": {"variation": "target", "jets": {"QCD": 100, "Wqq": 10}}},
    }
    return SimulationConfig.model_validate({**base, **changes})


def test_configuration_unrolls_into_shards():
    shards = configuration().shards("pseudo_data")
    assert {key: spec.jets for key, spec in shards.items()} == {
        ("QCD", 0): 40,
        ("QCD", 1): 40,
        ("QCD", 2): 20,
        ("Wqq", 0): 10,
    }
    assert len({spec.seed for spec in shards.values()}) == 4
    assert shards["QCD", 0].variation.impact_parameter_smearing.maximum == 0.3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"datasets": {"x": {"variation": "tagret", "jets": {"QCD": 1}}}}, ["tagret", "target"]),
        ({"datasets": {"x": {"variation": "source", "jets": {"Hxx": 1}}}}, ["Hxx", "Hbb"]),
        ({"datasets": {"x": {"variation": "source", "jets": {"QCD": 0}}}}, ["at least one"]),
        ({"variations": {"source": {"hard_process": {"renormalisation": 4.0}}}}, ["3.16"]),
        ({"variations": {"source": {"smearing": 1}}}, ["smearing"]),
        (
            {"variations": {"v": {"impact_parameter_smearing": {"minimum": 0.3, "maximum": 0.1}}}},
            ["minimum"],
        ),
        ({"selection": {"pt_min": 800, "pt_max": 600}}, ["pt_max"]),
        ({"selection": {"pt_min": 200}}, ["pt_min", "500"]),
    ],
)
def test_wrong_settings_are_refused_with_what_is_allowed(changes, words):
    with pytest.raises(ValueError, match=words[0]) as caught:
        configuration(**changes)
    assert all(word in str(caught.value) for word in words)
