"""Delphes: its card has the numbers of the array code, and its files give the same jets."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from bisect import bisect_left
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pythia8mc
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import ks_2samp

from otcal.config.simulation import Detector, ShardSpec, SimulationConfig, Variation
from otcal.runtime.errors import InputError
from otcal.runtime.files import sha256
from otcal.samples.jets import jet_schema
from otcal.samples.tables import read_provenance, to_numpy
from otcal.simulation.delphes import run
from otcal.simulation.delphes.card import write_card
from otcal.simulation.delphes.reader import BRANCHES, read
from otcal.simulation.delphes.run import PROGRAM, write_inputs
from otcal.simulation.detector import atlas, card
from otcal.simulation.detector.card import ECAL, HCAL, SPECIES
from otcal.simulation.detector.particles import Candidates
from otcal.simulation.detector.response import detect
from otcal.simulation.detector.tracking import efficiency, momentum_resolution
from otcal.simulation.generator import Events, Generator
from otcal.simulation.output import labelled_jets
from otcal.simulation.shard import write_shard
from otcal.simulation.variations import resolution_growth
from otcal.steps import simulate_delphes
from support.checkout import ROOT
from support.delphes import evaluate, install, read_card, write_delphes

PIDS = {"charged_hadron": 211, "electron": -11, "muon": 13}
PREFIX = {"charged_hadron": "ChargedHadron", "electron": "Electron", "muon": "Muon"}
WORLD = Variation.model_validate(
    {
        "impact_parameter_smearing": {"minimum": 0.1, "maximum": 0.3},
        "tracking_efficiency_loss": 0.03,
        "energy_scale": 1.02,
        "hard_process": {"renormalisation": 2.0},
        "initial_state_shower": {"factorisation": 0.5},
        "final_state_shower": {"renormalisation": 1.5},
    }
)


def points(n: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Return pseudorapidities and transverse momenta: anywhere, and on the edges of bins."""
    rng = np.random.default_rng(1)
    grid = card.impact_parameter_resolution("d0")
    edges = [0.0, 0.5, 0.9, 1.4, 1.5, 2.5], [0.1, 1.0, 100.0, 1000.0, *grid.pt_edges[:-1]]
    on_edges = [values.ravel() for values in np.meshgrid(*edges)]
    eta = np.concatenate([rng.uniform(-3, 3, n), on_edges[0], -on_edges[0]])
    pt = np.concatenate([np.exp(rng.uniform(-3, 8, n)), on_edges[1], on_edges[1]])
    return eta, pt


def modules(variation: Variation, detector: Detector | None = None) -> dict[str, Any]:
    return read_card(write_card(detector or Detector(), variation, 7))[1]


@pytest.mark.parametrize("name", SPECIES)
@pytest.mark.parametrize("variation", [Variation(), WORLD], ids=["standard", "varied"])
def test_tracks_are_found_and_measured_as_in_the_array_code(
    name: str, variation: Variation
) -> None:
    eta, pt = points()
    found = modules(variation)
    pid = np.full(len(eta), PIDS[name])
    tracking = found[f"{PREFIX[name]}TrackingEfficiency"]
    expected = efficiency(pid, pt, eta) * (1 - variation.tracking_efficiency_loss)
    assert 0.3 < expected.mean() < 1
    assert_allclose(evaluate(tracking.settings["EfficiencyFormula"], eta=eta, pt=pt), expected)
    smearing = found[f"{PREFIX[name]}MomentumSmearing"]
    resolution = evaluate(smearing.settings["ResolutionFormula"], eta=eta, pt=pt)
    # The module itself takes no more than one.
    assert_allclose(np.minimum(resolution, 1), momentum_resolution(pid, pt, eta))


@pytest.mark.parametrize("name", ["d0", "dz"])
@pytest.mark.parametrize("kind", ["jetclass", "atlas"])
@pytest.mark.parametrize("variation", [Variation(), WORLD], ids=["standard", "varied"])
def test_impact_parameters_are_measured_as_in_the_array_code(
    name: str, kind: str, variation: Variation
) -> None:
    eta, pt = points()
    source = {"jetclass": card, "atlas": atlas}[kind]
    growth = resolution_growth(variation.impact_parameter_smearing, pt, eta)
    expected = source.impact_parameter_resolution(name)(eta, pt) * (1 + growth)
    assert expected.max() > 0.1
    tracks = modules(variation, Detector.model_validate({"impact_parameters": kind}))
    formula = tracks["TrackSmearing"].settings[f"{name.upper()}ResolutionFormula"]
    assert_allclose(evaluate(formula, eta=eta, pt=pt), expected, rtol=1e-12)


def test_nothing_else_of_a_track_is_smeared_and_no_file_is_asked_for() -> None:
    settings = modules(Variation())["TrackSmearing"].settings
    for name in ("P", "CtgTheta", "Phi"):
        formula = settings[f"{name}ResolutionFormula"]
        assert float(formula) == 0
        assert formula != "0.0", "Delphes would look for a file of histograms"


@pytest.mark.parametrize("calorimeter", [ECAL, HCAL], ids=lambda one: one.name)
def test_calorimeters_are_those_of_the_array_code(calorimeter: Any) -> None:
    module = modules(Variation())[calorimeter.name]
    rng = np.random.default_rng(2)
    eta = np.append(rng.uniform(-5.2, 5.2, 20_000), [0.0, 1.5, 2.5, 3.0, 5.0, -5.0])
    energy = np.exp(rng.uniform(-2, 7, len(eta)))
    assert_allclose(
        evaluate(module.settings["ResolutionFormula"], eta=eta, energy=energy),
        card.calorimeter_resolution(calorimeter.name)(eta, energy),
    )
    assert float(module.settings["EnergyMin"]) == calorimeter.energy_min
    assert float(module.settings["EnergySignificanceMin"]) == calorimeter.significance_min
    assert module.settings["IsEcal"] == {"ECal": "true", "HCal": "false"}[calorimeter.name]

    fractions = {int(pid): float(share) for pid, share in module.lists["EnergyFraction"]}
    for pid in (0, 11, 12, 13, 14, 16, 22, 111, 130, 211, 310, 3122, 1000022):
        seen = fractions.get(pid, fractions[0])
        assert seen == card.energy_fraction(calorimeter.name, np.array([pid]))[0]


@pytest.mark.parametrize("calorimeter", ["ECal", "HCal"])
def test_delphes_finds_the_towers_of_the_array_code(calorimeter: str) -> None:
    """The look-up is that of Delphes: a ring's bins in azimuth go with its upper edge."""
    azimuths: dict[float, list[float]] = {}
    for etas, phis in modules(Variation())[calorimeter].lists["EtaPhiBins"]:
        for eta in etas.split():
            assert float(eta) not in azimuths
            azimuths[float(eta)] = [float(phi) for phi in phis.split()]
    edges = sorted(azimuths)
    rng = np.random.default_rng(3)
    etas, phis = rng.uniform(-5.1, 5.1, 3000), rng.uniform(-np.pi, np.pi, 3000)
    phis[:2] = -3.1415926, np.pi
    tower, inside = card.towers(calorimeter).find(etas, phis)
    expected = np.stack(card.towers(calorimeter).edges(tower), axis=1)
    for i, (eta, phi) in enumerate(zip(etas.tolist(), phis.tolist(), strict=True)):
        ring = bisect_left(edges, eta)
        assert (0 < ring < len(edges)) == inside[i]
        if inside[i]:
            columns = azimuths[edges[ring]]
            column = bisect_left(columns, phi)
            found = (edges[ring - 1], edges[ring], columns[column - 1], columns[column])
            assert_allclose(found, expected[i], atol=1e-12)


def test_every_module_reads_what_one_before_it_makes() -> None:
    top, found = read_card(write_card(Detector(), WORLD, 7))
    assert top["RandomSeed"] == "7"
    path = top["ExecutionPath"].split()
    assert sorted(path) == sorted(found)
    there = {"Delphes/stableParticles", "Delphes/allParticles"}
    for name in path:
        module = found[name]
        inputs = [text for key, text in module.settings.items() if key.endswith("InputArray")]
        inputs += [
            line[0] for key in ("InputArray", "Branch") for line in module.lists.get(key, [])
        ]
        assert inputs
        assert set(inputs) <= there, name
        made = [text for key, text in module.settings.items() if key.endswith("OutputArray")]
        there |= {f"{name}/{text}" for text in made}
    # The scale acts on what calorimeters see, not on tracks.
    assert found["CalorimeterScale"].kind == "EnergyScale"
    assert float(found["CalorimeterScale"].settings["ScaleFormula"]) == 1.02
    for name, tracks in (("ECal", "TrackSmearing/tracks"), ("HCal", "ECal/eflowTracks")):
        settings = found[name].settings
        assert settings["ParticleInputArray"] == "CalorimeterScale/stableParticles"
        assert settings["TrackInputArray"] == tracks
    branches = {name: kind for _, name, kind in found["TreeWriter"].lists["Branch"]}
    assert branches == {"Particle": "GenParticle", "ParticleFlowCandidate": "ParticleFlowCandidate"}
    assert set(branches) == set(BRANCHES)


def test_the_tracker_has_the_size_and_the_field_of_the_array_code() -> None:
    found = modules(Variation())
    size = [float(found["ParticlePropagator"].settings[key]) for key in ("Radius", "HalfLength")]
    assert size == [card.SOLENOID_RADIUS_M, card.SOLENOID_HALF_LENGTH_M]
    for name in ("ParticlePropagator", "TrackSmearing"):
        assert float(found[name].settings["Bz"]) == card.MAGNETIC_FIELD_T


def shard(process: str = "QCD", jets: int = 30, **more: Any) -> ShardSpec:
    return ShardSpec.model_validate({"process": process, "jets": jets, "seed": 5, **more})


def commands(path: Path) -> dict[str, str]:
    pairs = (line.split("=", 1) for line in path.read_text().splitlines())
    return {key.strip(): value.strip() for key, value in pairs}


def test_pythia_takes_the_commands_and_has_the_scales_of_the_variation(tmp_path: Path) -> None:
    write_inputs(shard("Tbqq", variation=WORLD), 0, 300, tmp_path / "0")
    pythia = pythia8mc.Pythia("", False)
    assert pythia.readFile(str(tmp_path / "0.cmnd"))
    assert not pythia.flag("HardQCD:all")
    assert pythia.mode("Main:numberOfEvents") == 300
    assert pythia.mode("Main:timesAllowErrors") == 30
    # Squares of the factors on mu.
    for name, value in {
        "SigmaProcess:renormMultFac": 4.0,
        "SigmaProcess:factorMultFac": 1.0,
        "SpaceShower:renormMultFac": 1.0,
        "SpaceShower:factorMultFac": 0.25,
        "TimeShower:renormMultFac": 2.25,
        "TimeShower:factorMultFac": 1.0,
        "PhaseSpace:pTHatMin": 480.0,
        "Beams:eCM": 13000.0,
    }.items():
        assert pythia.parm(name) == pytest.approx(value)
    assert pythia.flag("Top:gg2ttbar")
    assert pythia.flag("Random:setSeed")


@pytest.mark.parametrize("per_event", [0.1, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("jets", [100, 1000])
def test_alternatives_share_the_events(
    per_event: float, jets: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W bosons decay to leptons of one charge in every other run: charges must balance."""
    made: list[int] = []
    spec = shard("Hqql").model_copy(update={"jets": jets})
    monkeypatch.setattr(run, "write_inputs", lambda spec, number, events, stem: made.append(events))
    monkeypatch.setattr(run, "_run", lambda program, stem: stem)
    monkeypatch.setattr(run, "read", lambda *_: [(range(made[-1]), None)])
    monkeypatch.setattr(
        run,
        "labelled_jets",
        lambda record, *_: pa.table({"x": range(int(len(record) * per_event))}),
    )
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
    found = 0
    for table in run.generate(spec, Path(PROGRAM), tmp_path):
        found += len(table)
        if found >= jets and len(made) % 2 == 0:
            break
    assert sum(made[::2]) == sum(made[1::2])


def test_runs_have_their_own_seeds_and_take_the_alternatives_in_turn(tmp_path: Path) -> None:
    spec = shard("Hqql")
    for number in range(4):
        write_inputs(spec, number, 10, tmp_path / str(number))
    runs = [commands(tmp_path / f"{number}.cmnd") for number in range(4)]
    cards = [read_card((tmp_path / f"{number}.tcl").read_text())[0] for number in range(4)]
    assert len({run["Random:seed"] for run in runs}) == 4
    assert len({one["RandomSeed"] for one in cards}) == 4
    assert all(0 < int(one["RandomSeed"]) <= 900_000_000 for one in cards)
    decays = [(run["24:onPosIfAny"], run["24:onNegIfAny"]) for run in runs]
    assert decays[0] == decays[2] == decays[1][::-1] == decays[3][::-1]
    assert "11 13" in decays[0]
    write_inputs(spec, 0, 10, tmp_path / "again")
    for suffix in ("tcl", "cmnd"):
        again, first = (tmp_path / f"{stem}.{suffix}" for stem in ("again", "0"))
        assert again.read_text() == first.read_text()


def simulated(spec: ShardSpec, events: int, batches: int = 1) -> list[tuple[Events, Candidates]]:
    generator = Generator(spec.process, spec.variation, 3)
    rng = np.random.default_rng(4)
    found = [generator.next_batch(events) for _ in range(batches)]
    return [(one, detect(one.stable(), spec.detector, spec.variation, rng)) for one in found]


TOP = {"flavours": {}, "tracks": {}, "radius": 0.4, "pt_min": 20, "pt_max": 250, "abs_eta_max": 2.5}


@pytest.mark.parametrize(
    ("process", "selection", "position_eta"),
    [
        ("QCD", {}, True),
        ("Tbqq", {}, True),
        ("Hqql", {}, True),
        ("Zqq", {"radius": 1.0}, False),
        ("ttbar_charm", TOP, True),
    ],
)
def test_jets_of_a_file_are_those_of_the_same_events_in_memory(
    process: str, selection: dict[str, Any], position_eta: bool, tmp_path: Path
) -> None:
    spec = shard(process, selection=selection, detector={"position_eta": position_eta})
    batches = simulated(spec, 20, 2)
    if position_eta:
        write_delphes(tmp_path / "x.root", batches)
    else:  # what is read is the direction of the momentum, whatever the positions are
        write_delphes(tmp_path / "x.root", batches, EtaOuter=9.0)
    expected = pa.concat_tables(labelled_jets(*batch, spec) for batch in batches)
    assert len(expected) > 10
    pieces = list(read(tmp_path / "x.root", 15, position_eta))
    assert [len(events) for events, _ in pieces] == [15, 15, 10]
    found = pa.concat_tables(labelled_jets(*piece, spec) for piece in pieces)
    assert found.schema == expected.schema
    assert len(found) == len(expected)
    for name in expected.column_names:
        ours, theirs = (table[name].combine_chunks() for table in (expected, found))
        if pa.types.is_list(ours.type):
            assert_array_equal(theirs.offsets.to_numpy(), ours.offsets.to_numpy(), name)
            ours, theirs = ours.flatten(), theirs.flatten()
        if name.startswith(("label_", "part_is", "aux_truth", "aux_genpart_pid")):
            assert_array_equal(to_numpy(theirs), to_numpy(ours), name)
        # The file has numbers of single precision.
        close = {"rtol": 2e-5, "atol": 2e-6 if "val" not in name else 1e-4}
        assert_allclose(to_numpy(theirs), to_numpy(ours), err_msg=name, **close)


def record(**columns: Any) -> Events:
    """Return one event of the given columns, as Pythia has it: first the event as a whole."""
    n = len(columns["pid"])
    zero = np.zeros(n)
    return Events(
        **{
            "offsets": np.array([0, n]),
            **dict.fromkeys(("px", "py", "pz", "energy", "x", "y", "z", "charge"), zero),
            **{name: np.array(values) for name, values in columns.items()},
        }
    )


def test_a_jet_made_by_hand(tmp_path: Path) -> None:
    """A photon and a track around a Z that decays to b quarks: every number is known."""
    events = record(
        pid=[90, 2212, 2212, 23, 23, 5, -5],
        status=[-11, -12, -12, -22, -62, 23, 23],
        daughter1=[0, 3, 3, 4, 5, 0, 0],
        daughter2=[0, 0, 0, 4, 6, 0, 0],
        px=[0, 0, 0, 600, 600, 300, 300],
        py=[0, 0, 0, 0, 0, 30, -30],
        pz=[0, 6500, -6500, 0, 0, 0, 0],
    )
    zero = np.zeros(2)
    candidates = Candidates(
        event=np.array([0, 0]),
        pid=np.array([-211, 22]),
        charge=np.array([-1.0, 0.0]),
        pt=np.array([200.0, 400.0]),
        eta=np.array([0.0, 0.3]),
        phi=np.array([0.0, 0.0]),
        mass=zero,
        eta_position=np.array([0.1, 0.3]),
        d0=np.array([0.25, 0.0]),
        d0_error=np.array([0.02, 0.0]),
        dz=np.array([-1.5, 0.0]),
        dz_error=np.array([0.04, 0.0]),
    )
    write_delphes(tmp_path / "x.root", [(events, candidates)])
    ((events, candidates),) = read(tmp_path / "x.root", 50)
    (jet,) = labelled_jets(events, candidates, shard("Zqq")).to_pylist()
    pz = 400 * np.sinh(0.3)
    eta = np.arcsinh(pz / 600)
    assert jet["jet_pt"] == pytest.approx(600)
    assert jet["jet_eta"] == pytest.approx(eta)
    assert jet["jet_energy"] == pytest.approx(200 + 400 * np.cosh(0.3))
    assert jet["jet_nparticles"] == 2
    assert jet["part_px"] == pytest.approx([400, 200])
    assert jet["part_pz"] == pytest.approx([pz, 200 * np.sinh(0.1)])
    assert jet["part_deta"] == pytest.approx([0.3 - eta, 0.1 - eta], abs=1e-6)
    assert jet["part_charge"] == [0, -1]
    assert jet["part_d0val"] == pytest.approx([0, 0.25])
    assert jet["part_dzerr"] == pytest.approx([0, 0.04])
    assert jet["part_isPhoton"] == [1, 0]
    assert jet["part_isChargedHadron"] == [0, 1]
    assert [name for name in jet if name.startswith("label_") and jet[name]] == ["label_Zqq"]
    assert (jet["aux_truth_match"], jet["aux_genpart_pid"]) == (31, 23)
    assert jet["aux_genpart_pt"] == pytest.approx(600)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("delphes") / "good.root"
    write_delphes(path, simulated(shard(), 10))
    return path


def test_a_missing_branch_is_named_with_what_makes_it(tmp_path: Path) -> None:
    write_delphes(tmp_path / "old.root", simulated(shard(), 2), Mass=None)
    with pytest.raises(InputError, match=r"old\.root: ParticleFlowCandidate\.Mass: no such") as why:
        next(read(tmp_path / "old.root", 50))
    assert "EFlowMerger/eflow ParticleFlowCandidate" in why.value.remedy
    assert "3.5" in why.value.remedy


def test_bad_files_are_named(file: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.root"
    cut.write_bytes(file.read_bytes()[:-100])
    text = tmp_path / "text.root"
    text.write_text("no ROOT file")
    for path, problem in (
        (cut, "is truncated"),
        (text, "cannot be read"),
        (tmp_path / "none.root", "does not exist"),
    ):
        with pytest.raises(InputError, match=f"{path.name}: file: {problem}"):
            next(read(path, 50))


def step(output: Path, spec: ShardSpec, *more: str) -> None:
    simulate_delphes.main(["--spec", spec.model_dump_json(), "--output", str(output), *more])


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    return tmp_path / "bin"


def test_the_step_runs_delphes_until_it_has_its_jets(
    stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otcal.simulation.delphes.run._FEWEST", 10)
    spec = shard("Hqql", jets=6)
    output, kept = tmp_path / "jets" / "0.parquet", tmp_path / "kept"
    kept.mkdir()
    step(output, spec, "--directory", str(kept))
    table = pq.read_table(output)
    assert table.schema.names == jet_schema(spec.selection.classes).names
    assert to_numpy(table["jet_id"]).tolist() == [(5 << 20) + i for i in range(6)]
    assert (to_numpy(table["label_Hqql"]) == 1).all()
    pt = to_numpy(table["jet_pt"])
    assert ((pt > 500) & (pt < 1000)).all()
    assert len(np.unique(pt)) == 6
    assert read_provenance(output)["step"] == "simulate_delphes"
    runs = sorted(int(path.stem) for path in kept.glob("*.cmnd"))
    assert len(runs) > 1  # of both alternatives, at least
    assert sorted(path.name for path in kept.iterdir()) == sorted(
        f"{number}.{suffix}" for number in runs for suffix in ("cmnd", "log", "tcl")
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "jets", "kept"]
    assert [path.name for path in output.parent.iterdir()] == ["0.parquet"]


def test_the_guide_s_shard_by_hand(
    stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guide = (ROOT / "docs/own_data.md").read_text(encoding="utf-8")
    made, line = re.findall(r"^(?:mkdir|python -m otcal\.steps\.simulate_delphes) .*$", guide, re.M)
    monkeypatch.chdir(tmp_path)
    for command in (made, line):
        name, *arguments = shlex.split(command)
        subprocess.run([sys.executable if name == "python" else name, *arguments], check=True)
    assert pq.read_metadata("shard/jets.parquet").num_rows == 100
    suffixes = {path.suffix for path in Path("shard").iterdir()}
    assert suffixes == {".parquet", ".cmnd", ".tcl", ".log"}


@pytest.mark.parametrize("link", [False, True])
def test_a_shard_tells_the_program_s_version(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch, link: bool
) -> None:
    place = tmp_path / "env" / "bin"
    place.parent.mkdir()
    install(place, f'cp {file} "$3"')
    found = place
    if link:
        found = tmp_path / "links"
        found.mkdir()
        (found / PROGRAM).symlink_to(place / PROGRAM)
    monkeypatch.setenv("PATH", str(found), prepend=os.pathsep)

    def told() -> dict[str, Any]:
        step(tmp_path / "x.parquet", shard(jets=1))
        program = read_provenance(tmp_path / "x.parquet")["program"]
        assert program["name"] == PROGRAM
        assert program["sha256"] == sha256(place / PROGRAM)
        packages: dict[str, Any] = program["packages"]
        return packages

    assert told() == {}
    (place / "VERSION").write_text("3.5.1\n")
    assert told() == {"delphes": "3.5.1"}
    meta = place.parent / "conda-meta"
    meta.mkdir()
    for name, version in (("delphes", "3.5.1"), ("pythia8", "8.312"), ("pythia8-data", "1.0")):
        content = {"name": name, "version": version, "build": "h0_3"}
        (meta / f"{name}-{version}-h0_3.json").write_text(json.dumps(content))
    assert told() == {"delphes": "3.5.1 (h0_3)", "pythia8": "8.312 (h0_3)"}


def test_without_the_program_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"DelphesPythia8: program: is not on the PATH") as caught:
        step(tmp_path / "x.parquet", shard())
    assert "--sdm conda" in caught.value.remedy
    assert "envs/delphes.yaml" in caught.value.remedy
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        (["echo '** ERROR: cannot find class' >&2; exit 3"], "failed with status 3"),
        (["exit 0"], "failed with status 0"),
    ],
)
def test_a_run_that_fails_tells_what_delphes_said(
    script: list[str],
    problem: str,
    stand_in: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    install(stand_in, *script)
    with pytest.raises(InputError, match=f"{PROGRAM}: run: {problem}"):
        step(tmp_path / "x.parquet", shard())
    if "3" in problem:
        assert "** ERROR: cannot find class" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


def test_a_run_without_events_does_not_go_on_for_ever(
    stand_in: Path, file: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.root"
    (events, candidates) = simulated(shard(), 1)[0]
    nobody = Events(**{k: v[:0] for k, v in vars(events).items()} | {"offsets": np.array([0])})
    write_delphes(empty, [(nobody, candidates.take(np.zeros(len(candidates), dtype=bool)))])
    install(stand_in, f'cp {empty} "$3"')
    with pytest.raises(InputError, match="made no event"):
        step(tmp_path / "x.parquet", shard())


def test_a_window_without_jets_is_named(
    stand_in: Path, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(stand_in, f'cp {file} "$3"')
    monkeypatch.setattr("otcal.simulation.delphes.run._BARREN_EVENTS", 20)
    spec = shard(selection={"pt_min": 6000, "pt_max": 6400})
    with pytest.raises(InputError, match=r"20 events of QCD .* no jet from 6000 to 6400 GeV"):
        step(tmp_path / "x.parquet", spec)


def test_a_signal_ends_delphes_too_and_leaves_nothing(stand_in: Path, tmp_path: Path) -> None:
    install(stand_in, f"echo $$ > {tmp_path}/pid", "exec sleep 600")
    command = [sys.executable, "-m", "otcal.steps.simulate_delphes", "--output", "x.parquet"]
    with subprocess.Popen([*command, "--spec", shard().model_dump_json()], cwd=tmp_path) as job:
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
            assert job.poll() is None
            time.sleep(0.05)
        job.send_signal(signal.SIGTERM)
        assert job.wait() == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "pid"]


@pytest.mark.parametrize("name", ["exact_track_momentum", "calorimeter_overrides_tracks"])
def test_a_detector_that_delphes_cannot_be_is_refused(name: str) -> None:
    block = {
        "seed": 1,
        "jets_per_shard": 10,
        "variations": {"one": {}},
        "datasets": {"training": {"variation": "one", "jets": {"QCD": 10}}},
        "detector": {name: False},
    }
    assert SimulationConfig.model_validate(block).engine == "array"
    with pytest.raises(ValueError, match=rf"detector\.{name} cannot be false with engine delphes"):
        SimulationConfig.model_validate(block | {"engine": "delphes"})


@pytest.mark.skipif(shutil.which(PROGRAM) is None, reason=f"{PROGRAM} is not installed")
@pytest.mark.parametrize("variation", [Variation(), WORLD], ids=["standard", "varied"])
def test_both_engines_agree(variation: Variation, tmp_path: Path) -> None:
    """Jets of Delphes itself and of the array code have the same distributions."""
    spec = shard(jets=400, variation=variation)
    step(tmp_path / "delphes.parquet", spec)
    write_shard(spec, tmp_path / "array.parquet", {})
    ours, theirs = (pq.read_table(tmp_path / f"{one}.parquet") for one in ("array", "delphes"))
    for name in ("jet_pt", "jet_eta", "jet_energy", "jet_nparticles"):
        assert ks_2samp(to_numpy(ours[name]), to_numpy(theirs[name])).pvalue > 1e-4, name
    # Constituents of a jet are not independent of each other: one of each.
    for name in ("part_d0err", "part_dzerr", "part_energy", "part_d0val"):
        firsts = [
            [row[0] for row in (jets[name].to_pylist()) if row and row[0] != 0]
            for jets in (ours, theirs)
        ]
        assert ks_2samp(*firsts).pvalue > 1e-4, name
