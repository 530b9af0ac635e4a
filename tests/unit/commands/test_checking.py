"""What `otcal check` tells about files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pytest
import yaml

from otcal.commands.checking import check
from otcal.config.samples import Files, ReadDelphesSpec
from otcal.config.selection import Selection
from otcal.config.simulation import Detector
from otcal.config.study import load_settings
from otcal.samples import scores, tables
from otcal.samples.flavours import FLAVOURS
from otcal.samples.jets import write_jets
from otcal.samples.latents import LAYERS, Kind, latent_writer
from otcal.samples.scores import Scores
from otcal.simulation.delphes import jets as making
from otcal.simulation.delphes.check import SELECTIONS
from support.checkout import ROOT
from support.delphes import simulated, write_delphes
from support.layouts import write_ftag, write_jetclass, write_upp

MakeJets = Callable[..., pa.Table]


def test_jetclass(tmp_path: Path, make_jets: MakeJets) -> None:
    path = tmp_path / "val" / "HToBB_120.root"
    write_jetclass(path, make_jets(95, 1))
    done = subprocess.run(
        [sys.executable, "-m", "otcal", "check", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, *others = done.stdout.splitlines()
    assert first == f"{path}: jetclass, 95 jets"
    assert "  jets of each class: QCD 10, Hbb 10, Hcc 10, Hgg 10, H4q 10, Hqql 9," in others[0]
    assert others[-1] == (
        "  can be used: jets of the latent study, from the tagger on (samples: format: jetclass)"
    )


def test_top_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_upp(tmp_path / "pp_output_train.h5", 50)["jets"]
    assert check([str(tmp_path / "pp_output_train.h5")]) == 0
    text = capsys.readouterr().out
    counts = [int((data["flavour"] == code).sum()) for code in (5, 4, 0)]
    assert "upp, 50 jets" in text
    assert "b {}, c {}, light {}".format(*counts) in text
    assert f"jet_pt: {data['pt'].min():.6g} to {data['pt'].max():.6g}" in text
    assert "without part_dzerr" in text
    assert "set pseudo_data.dzval to 0" in text
    assert "d0val to 0" not in text
    assert "cannot be used" not in text


def test_atlas_variables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_ftag(tmp_path / "a.h5", 60)["jets"]
    assert check([str(tmp_path / "a.h5")]) == 0
    text = capsys.readouterr().out
    taus = int((data["HadronConeExclTruthLabelID"] == 15).sum())
    assert f"dropped: {taus} " in text
    assert "jets of the simplex study" in text
    assert "scores jets/MockTagger_p(b, c, u): a calibration can be applied" in text
    assert "jets/mcEventWeight is read by nothing: needed is ignore_weights: true" in text
    assert "without" not in text  # nothing that this study's tagger reads
    # A block of settings is taken as the workflow takes it.
    assert check([str(tmp_path / "a.h5")], '{"format": "ftag"}') == 1
    assert "a.h5: jets/mcEventWeight: seems to be a weight" in capsys.readouterr().err
    assert check([str(tmp_path / "a.h5")], '{"format": "ftag", "ignore_weights": true}') == 0
    assert "can be used: jets of the simplex study" in capsys.readouterr().out


def test_delphes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.root"
    batches = [simulated("Tbqq"), simulated("QCD")]
    write_delphes(path, batches)
    for tree in ("tree", "Delphes"):
        assert check([str(path)], tree=tree) == 0
        first, weights, latent, simplex = capsys.readouterr().out.splitlines()
        assert first == f"{path}: delphes, 24 events"
        assert weights == "  Event.Weight: 1 to 1"
        assert latent.startswith(
            "  can be used: jets of the latent study, from the tagger on (samples: format: delphes)"
        )
        assert "R = 0.8, 500 to 1000 GeV, |eta| < 2 in config.yaml): QCD " in latent
        assert ", Tbqq " in latent
        assert "Hbb" not in latent
        assert "R = 0.4, 20 to 250 GeV, |eta| < 2.5 in config.yaml): b " in simplex
    # The jets that a study with these settings reads.
    layout = {"format": "delphes", "labels": {"all": "c"}}
    assert check([str(path)], json.dumps(layout)) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    files = Files.model_validate(layout | {"files": [str(path)], "jets": 1})
    (spec,) = files.shards("samples.x", SELECTIONS["simplex"], Detector()).values()
    assert isinstance(spec, ReadDelphesSpec)
    making.write_jets(spec, tmp_path / "0.parquet", {})
    assert line.endswith(f"in config.yaml): c {tables.row_count(tmp_path / '0.parquet')}")
    assert "(samples: format: delphes, labels: {all: c})" in line
    monkeypatch.setitem(SELECTIONS, "latent", Selection(pt_min=6000, pt_max=6400))
    assert check([str(path)]) == 0
    assert "cannot be used: jets of the latent study (no event has one" in capsys.readouterr().out


def test_delphes_selections_are_those_of_the_configuration() -> None:
    loaded = load_settings(yaml.safe_load((ROOT / "config.yaml").read_text()))
    studies = {"latent": loaded.latent, "simplex": loaded.simplex}
    assert {name: study.simulation.selection for name, study in studies.items()} == SELECTIONS


def test_delphes_without_something(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "events.root"
    batches = [simulated("QCD")]
    write_delphes(path, batches, np.arange(12))
    assert check([str(path)]) == 0
    said = capsys.readouterr().out
    assert "weights: Event.Weight is read by nothing: needed is ignore_weights: true" in said
    assert check([str(path)], '{"format": "delphes"}') == 1
    assert "events.root: Event.Weight: is different" in capsys.readouterr().err
    assert check([str(path)], '{"format": "delphes", "ignore_weights": true}') == 0
    capsys.readouterr()
    write_delphes(path, batches, without=["Particle"])
    assert check([str(path)]) == 0
    said = capsys.readouterr().out
    assert "cannot be used: jets of the latent study (Particle.PID: no such branch. The" in said
    assert "cannot be used: jets of the simplex study (Particle.PID" in said
    assert "of the latent study without truth, source or target, all of one class" in said
    write_delphes(path, batches, without=["ParticleFlowCandidate"])
    assert check([str(path)]) == 1
    said = capsys.readouterr().out
    assert "can be used" not in said
    assert "add Branch EFlowMerger/eflow ParticleFlowCandidate ParticleFlowCandidate" in said
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    assert check([str(path)]) == 1
    assert f"events.root: file: is truncated: {len(content) - 100} of" in capsys.readouterr().err


def test_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def write(p: np.ndarray) -> str:
        ids, pt = np.arange(20), np.full(20, 50.0, "f4")
        made = Scores(ids, np.zeros(20, "i1"), pt, 0 * pt, p)
        made_by = {"step": "export_scores"}
        with scores.score_writer(tmp_path / "s.parquet", FLAVOURS, made_by) as writer:
            writer.write_table(made.to_table(FLAVOURS))
        return str(tmp_path / "s.parquet")

    p = np.random.default_rng(0).dirichlet(np.ones(3), 20)
    assert check([write(p)]) == 0
    text = capsys.readouterr().out
    assert "our scores, 20 jets" in text
    assert "b 20, c 0, light 0" in text
    assert "jet_pt: 50 to 50" in text
    assert (
        "can be used: scores of the simplex study, which then needs no jets (samples: format: "
        'parquet, holds: scores, labels: {"column":"label","values":{"0":"b","1":"c","2":"light"'
    ) in text
    assert "cannot" not in text
    p[7] *= 1.1
    assert check([write(p)]) == 1
    assert "p_b, p_c, p_light: sum to 1.1 instead of 1 in row 7" in capsys.readouterr().err


def test_scores_with_our_names_that_are_not_ours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whose labels need not be ours: nothing is guessed."""
    p = np.random.default_rng(0).dirichlet(np.ones(3), 20)
    made = Scores(np.arange(20), np.full(20, 5, "i1"), np.full(20, 50.0), np.zeros(20), p)
    pa.parquet.write_table(made.to_table(FLAVOURS), tmp_path / "s.parquet")
    assert check([str(tmp_path / "s.parquet")]) == 0
    text = capsys.readouterr().out
    assert "s.parquet: parquet, 20 jets" in text
    assert "scores p_b, p_c, p_light: " in text
    assert "jets of each class" not in text


def write_latents(path: Path, kind: Kind, made_by: str) -> None:
    """Write a file of latents of ours: three jets of the first class, two of the last one."""
    label = [0, 0, 0, len(kind.classes) - 1, len(kind.classes) - 1]
    columns = {"jet_id": np.arange(5), "label": label}
    columns |= {name: np.linspace(500, 540, 5) for name in kind.kinematics}
    layers = {
        name: tables.fixed_size_list(np.ones((5, width), np.float32))
        for name, width in zip(LAYERS, kind.widths, strict=True)
    }
    with latent_writer(path, {"step": made_by}, kind) as writer:
        writer.write_table(pa.table(columns | layers).cast(kind.schema))


FOREIGN = Kind(("multijet", "h_bb", "top"), (24, 12, 3), ("jet_pt",))


@pytest.mark.parametrize(
    ("kind", "made_by"),
    [(Kind(), "export_latents"), (FOREIGN, "read_latents"), (FOREIGN, "calibrate")],
)
def test_our_latents(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: Kind, made_by: str
) -> None:
    paths = [str(tmp_path / name) for name in ("source.parquet", "calibrated.parquet")]
    for path in paths:
        write_latents(Path(path), kind, made_by)
    assert check(paths) == 0  # of the same jets, which is no mistake
    said = capsys.readouterr()
    assert said.err == ""
    first = said.out.splitlines()
    assert first[0] == f"{paths[0]}: our latents, 5 jets"
    others = "".join(f"{name} 0, " for name in kind.classes[1:-1])
    assert first[1] == f"  jets of each class: {kind.classes[0]} 3, {others}{kind.classes[-1]} 2"
    assert first[2] == "  jet_pt: 500 to 540"
    use = next(line for line in first if "can be used" in line)
    z128, zp128, z10 = kind.widths
    assert f"z128 of {z128} numbers, zp128 of {zp128} numbers, z10 of {z10} numbers" in use
    assert f"made by {made_by}): the steps fit_map and calibrate read them" in use
    assert "cannot" not in said.out
    # The block that it names reads the file.
    labels = json.loads(use[use.index("labels: ") + len("labels: ") : -1])
    layout = {"format": "parquet", "holds": "latents", "labels": labels}
    assert check(paths[:1], json.dumps(layout)) == 0
    text = capsys.readouterr().out
    assert first[1] in text
    assert f"latents of {z128} numbers: source or target" in text


def test_our_latents_that_are_damaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.parquet"
    write_latents(path, FOREIGN, "read_latents")
    table = pa.parquet.read_table(path)
    for name, column, says in (
        ("zp128", tables.fixed_size_list(np.full((5, 12), np.nan, np.float32)), "zp128: has a NaN"),
        ("z10", tables.fixed_size_list(np.ones((5, 4), np.float32)), "z10: has type"),
        ("jet_id", pa.array([1, 2, 3, 3, 4]), "jet_id: 1 ids are there more than once"),
    ):
        number = table.column_names.index(name)
        pa.parquet.write_table(table.set_column(number, name, column), path)
        assert check([str(path)]) == 1
        assert says in capsys.readouterr().err


def test_scores_of_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(3), 20)
    with h5py.File(tmp_path / "s.h5", "w") as file:
        for name, values in zip("bcu", p.T, strict=True):
            file[f"model/gn_p{name}"] = values
        file["pt"], file["eta"], file["truth"] = np.full(20, 5e4), np.zeros(20), np.full(20, 5)
    assert check([str(tmp_path / "s.h5")]) == 0
    text = capsys.readouterr().out
    assert "hdf5, 20 jets" in text
    assert "columns: {p_b: model/gn_pb, p_c: model/gn_pc, p_light: model/gn_pu}" in text
    names = {name: f"model/gn_p{u}" for name, u in {"p_b": "b", "p_c": "c", "p_light": "u"}.items()}
    layout = {
        "format": "hdf5",
        "holds": "scores",
        "unit": "MeV",
        "columns": names | {"jet_pt": "pt", "jet_eta": "eta"},
        "labels": {"column": "truth", "values": {5: "b"}},
    }
    files = [str(tmp_path / "s.h5")] * 2  # ids are rows here: the same ones are no mistake
    assert check(files, json.dumps(layout)) == 0
    text = capsys.readouterr().out
    assert "b 20, c 0, light 0" in text
    assert "jet_pt: 50 to 50" in text
    layout["labels"] = {"all": "c"}
    assert check(files, json.dumps(layout)) == 0
    text = capsys.readouterr().out
    assert "b 0, c 20, light 0" in text
    assert 'holds: scores, labels: {"all":"c"})' in text
    layout["labels"] = {"column": "truth", "values": {4: "c"}}
    assert check(files, json.dumps(layout)) == 1
    assert "truth: is 5 in row 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "change", "says"),
    [
        ("p_b p_c p_light", {"p_b": np.nan}, "(p_b: has 1 NaN or infinite values (first: row 4)"),
        ("p_b p_c p_light", {"p_c": -0.1}, "(p_c: is -0.1 in row 4"),
        ("p_b p_c p_light", {"p_light": 2.0}, "(p_b, p_c, p_light: sum to"),
        (
            "gn_pb gn_pc gn_pu",
            {"gn_pu": np.inf},
            "(gn_pu: has 1 NaN or infinite values (first: row 4)",
        ),
        ("gn_pb gn_pc gn_pu", {"gn_pc": -0.1}, "(gn_pc: is -"),
    ],
)
def test_probabilities_that_are_none(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    names: str,
    change: dict[str, float],
    says: str,
) -> None:
    columns = dict(zip(names.split(), np.full((3, 20), 1 / 3), strict=True))
    path = tmp_path / "s.parquet"
    pa.parquet.write_table(pa.table(columns), path)
    assert check([str(path)]) == 0
    assert "wrong" not in capsys.readouterr().out
    for name, value in change.items():
        columns[name][4] = value
    pa.parquet.write_table(pa.table(columns), path)
    assert check([str(path)]) == 1
    text = capsys.readouterr().out
    assert f"wrong: scores {', '.join(columns)} {says}" in text
    assert "can be used" not in text


def test_jets_with_a_bad_value_are_not_saved_by_their_scores(
    tmp_path: Path, make_jets: MakeJets, capsys: pytest.CaptureFixture[str]
) -> None:
    jets = make_jets(20, 1)
    pt = jets["jet_pt"].to_numpy().copy()
    pt[3] = np.nan
    place = jets.schema.names.index("jet_pt")
    jets = jets.set_column(place, "jet_pt", pa.array(pt))
    for name in ("p_b", "p_c", "p_light"):
        jets = jets.append_column(name, pa.array(np.full(20, 1 / 3)))
    pa.parquet.write_table(jets, tmp_path / "a.parquet")
    assert check([str(tmp_path / "a.parquet")]) == 1
    text = capsys.readouterr().out
    assert "can be used: scores p_b, p_c, p_light" in text
    assert (
        "wrong: jets of the latent study (jet_pt: has 1 NaN or infinite values (first: row 3)"
        in text
    )


def test_latents_of_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    z = np.random.default_rng(0).normal(size=(20, 12)).astype("f4")
    columns = {f"z_{i}": z[:, i] for i in range(12)} | {"hits1": np.zeros(20)}
    truth = {"truth": np.repeat([0, 6], 10), "pt": np.full(20, 600.0)}
    pa.parquet.write_table(pa.table(columns | truth), tmp_path / "a.parquet")
    rows = {"latent": tables.fixed_size_list(z)}
    pa.parquet.write_table(pa.table(rows | truth), tmp_path / "b.parquet")
    for name, column in (("a", "z_{0..11}"), ("b", "latent")):
        path = str(tmp_path / f"{name}.parquet")
        assert check([path]) == 0
        assert f"latents {column} of 12 numbers" in capsys.readouterr().out
        layout = {
            "format": "parquet",
            "holds": "latents",
            "columns": {"z128": column, "jet_pt": "pt"},
            "labels": {"column": "truth", "values": {0: "qcd", 6: "top"}},
        }
        assert check([path], json.dumps(layout)) == 0
        text = capsys.readouterr().out
        assert "qcd 10, top 10" in text
        assert "jet_pt: 600 to 600" in text
        assert "can be used: latents of 12 numbers: source or target of the latent study" in text
        layout["labels"] = {"all": "data"}
        assert check([path], json.dumps(layout)) == 0
        assert "jets of each class: data 20" in capsys.readouterr().out
        layout["labels"] = {"column": "truth", "values": {0: "qcd"}}
        assert check([path], json.dumps(layout)) == 1
        assert "truth: is 6 in row 10" in capsys.readouterr().err


def test_files_that_do_not_go_together(
    tmp_path: Path, make_jets: MakeJets, capsys: pytest.CaptureFixture[str]
) -> None:
    jets = make_jets(20, 1)
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet", tmp_path / "c.parquet"]
    write_jets(paths[0], jets, {})
    write_jets(paths[1], make_jets(20, 2), {})
    pa.parquet.write_table(make_jets(20, 3).drop_columns("part_d0err"), paths[2])
    assert check([str(path) for path in paths[:2]]) == 0
    assert "differ" not in capsys.readouterr().out
    assert check([str(path) for path in (paths[0], paths[2])]) == 0
    assert "differ in their columns" in capsys.readouterr().out
    write_jets(paths[1], jets, {})
    assert check([str(path) for path in paths[:2]]) == 1
    assert "all files together: jet_id: 20 ids are there more than once" in capsys.readouterr().err


def test_bad_files_are_named_and_the_others_told(
    tmp_path: Path, make_jets: MakeJets, capsys: pytest.CaptureFixture[str]
) -> None:
    write_jetclass(tmp_path / "a.root", make_jets(20, 1))
    content = (tmp_path / "a.root").read_bytes()
    (tmp_path / "b.root").write_bytes(content[:-100])
    assert check([str(tmp_path / "b.root"), str(tmp_path / "a.root")]) == 1
    captured = capsys.readouterr()
    assert f"b.root: file: is truncated: {len(content) - 100} of" in captured.err
    assert "a.root: jetclass, 20 jets" in captured.out


def test_nothing_to_be_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pa.parquet.write_table(pa.table({"mass": [1.0, 2.0]}), tmp_path / "a.parquet")
    assert check([str(tmp_path / "a.parquet")]) == 1
    text = capsys.readouterr().out
    assert "cannot be used: jets of the latent study (jet_pt: column is missing" in text


def test_a_layout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_upp(tmp_path / "a.h5", 50)
    labels = {"column": "jets/flavour_label", "values": {0: "light", 1: "c", 2: None}}
    layout = json.dumps({"format": "upp", "labels": labels})
    assert check([str(tmp_path / "a.h5")], layout) == 0
    assert "b 0, c" in capsys.readouterr().out
    all_light = '{"format": "upp", "labels": {"all": "light"}}'
    assert check([str(tmp_path / "a.h5")], all_light) == 0
    assert "b 0, c 0, light 50" in capsys.readouterr().out
    assert check([str(tmp_path / "a.h5")], '{"format": "upp", "labels": {}}') == 1
    assert "labels need either column and values, or all" in capsys.readouterr().err
    assert check([str(tmp_path / "a.h5")], '{"format": "csv"}') == 1
    assert "--layout" in capsys.readouterr().err
