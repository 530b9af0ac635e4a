"""Files of events that Delphes wrote become files of jets."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from otcal.config.samples import Files, ReadDelphesSpec
from otcal.config.selection import Selection
from otcal.config.simulation import Detector, ShardSpec
from otcal.runtime.errors import InputError
from otcal.runtime.fingerprint import closure
from otcal.samples.classes import CLASSES
from otcal.samples.flavours import FLAVOURS
from otcal.samples.jets import TRUTH_FLOATS, jet_schema
from otcal.samples.tables import read_provenance, to_numpy
from otcal.simulation.delphes import jets as making
from otcal.simulation.delphes.reader import open_delphes
from otcal.simulation.detector.particles import Candidates
from otcal.simulation.generator import Events
from otcal.simulation.output import labelled_jets
from otcal.steps import read_delphes
from support.delphes import simulated, write_delphes

Batch = tuple[Events, Candidates]

TOP = Selection.model_validate(
    {
        **{"radius": 0.4, "pt_min": 20, "pt_max": 250, "abs_eta_max": 2.5},
        **{"flavours": {}, "tracks": {}},
    }
)
EVENTS = 12
"""Of each process."""


@pytest.fixture(scope="module")
def mixed() -> list[Batch]:
    """Events of all classes of jets."""
    return [simulated(process, EVENTS) for process in CLASSES]


@pytest.fixture(scope="module")
def file(mixed: list[Batch], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("delphes") / "mixed.root"
    write_delphes(path, mixed)
    return path


def read(path: Path, **block: Any) -> list[pa.Table]:
    """Run the step on each part of a file, with settings of the block of samples and of jets."""
    selection = block.pop("selection", Selection())
    detector = Detector(position_eta=block.pop("position_eta", True))
    files = Files.model_validate({"format": "delphes", "files": [str(path)], "jets": 10} | block)
    made = []
    for number, spec in enumerate(files.shards("samples.x", selection, detector).values()):
        output = path.with_name(f"{path.stem}-{number}.parquet")
        read_delphes.main(["--spec", spec.model_dump_json(), "--output", str(output)])
        made.append(pq.read_table(output))
    return made


def assert_same(found: pa.Table, expected: pa.Table) -> None:
    """Compare jets from a file, whose numbers are of single precision, with those in memory."""
    assert found.column_names == expected.column_names
    assert len(found) == len(expected)
    for name in expected.column_names:
        ours, theirs = (table[name].combine_chunks() for table in (expected, found))
        if pa.types.is_list(ours.type):
            assert_array_equal(np.diff(theirs.offsets), np.diff(ours.offsets), name)
            ours, theirs = ours.flatten(), theirs.flatten()
        if name.startswith(("label_", "part_is", "aux_truth", "aux_genpart_pid")):
            assert_array_equal(to_numpy(theirs), to_numpy(ours), name)
        close = {"rtol": 2e-5, "atol": 2e-6 if "val" not in name else 1e-4}
        assert_allclose(to_numpy(theirs), to_numpy(ours), err_msg=name, **close)


def of_process(batches: list[Batch], process: str, **more: Any) -> pa.Table:
    """Return the jets of a process's class as they are made when it is simulated."""
    spec = ShardSpec.model_validate({"process": process, "jets": 1, "seed": 1, **more})
    return pa.concat_tables(labelled_jets(*batch, spec) for batch in batches)


def test_each_jet_of_a_mixture_has_the_class_that_a_simulated_one_has(
    file: Path, mixed: list[Batch]
) -> None:
    (found,) = read(file)
    assert found.schema.equals(jet_schema(CLASSES))
    labels = np.stack([to_numpy(found[f"label_{name}"]) for name in CLASSES], axis=1)
    assert (labels.sum(axis=1) == 1).all()
    for name in CLASSES:
        # Whatever the events: those of QCD have jets of QCD alone, others may have several kinds.
        expected = of_process(mixed, name)
        assert len(expected) > 3, name
        mine = found.filter(pa.array(to_numpy(found[f"label_{name}"]) == 1))
        assert_same(mine.drop_columns("jet_id"), expected)


@pytest.mark.parametrize("position_eta", [True, False])
def test_jets_are_made_with_the_settings_of_the_study(
    file: Path, mixed: list[Batch], position_eta: bool
) -> None:
    selection = Selection(radius=1.0, pt_min=550, pt_max=800, abs_eta_max=1.5)
    (found,) = read(file, selection=selection, position_eta=position_eta)
    batches = mixed
    if not position_eta:
        batches = [(record, replace(c, eta_position=c.eta)) for record, c in mixed]
    expected = of_process(batches, "Tbqq", selection=selection.model_dump())
    assert len(expected) > 3
    mine = found.filter(pa.array(to_numpy(found["label_Tbqq"]) == 1))
    assert_same(mine.drop_columns("jet_id"), expected)


def test_flavours_are_those_of_the_simulation(tmp_path: Path) -> None:
    batches = [simulated("ttbar_charm", 20), simulated("ttbar", 20)]
    write_delphes(tmp_path / "top.root", batches)
    (found,) = read(tmp_path / "top.root", selection=TOP)
    assert found.schema.equals(jet_schema(FLAVOURS))
    counts = [int(to_numpy(found[f"label_{name}"]).sum()) for name in FLAVOURS]
    assert min(counts) > 10
    expected = of_process(batches, "ttbar", selection=TOP.model_dump())
    assert_same(found.drop_columns("jet_id"), expected)


def test_a_jet_is_numbered_by_file_entry_and_its_place_in_the_event(
    file: Path,
) -> None:
    (found,) = read(file)
    ids = to_numpy(found["jet_id"])
    first_id = Files(format="delphes", files=(str(file),), jets=1).with_ids("x")[file.name][1]
    entry, number = np.divmod(ids - first_id, 256)
    assert len(set(ids.tolist())) == len(ids)
    # Events of a process follow each other.
    assert (entry[to_numpy(found["label_Tbl"]) == 1] >= EVENTS * CLASSES.index("Tbl")).all()
    assert (np.diff(entry) >= 0).all()
    assert set(number.tolist()) == {0, 1}
    # A jet without a label counts, so that a number does not depend on what labels the jets.
    (every,) = read(file, labels={"all": "QCD"})
    assert set(ids.tolist()) < set(to_numpy(every["jet_id"]).tolist())
    with open_delphes(file) as one:
        pieces = list(making.iterate(one, Selection(), first_id=first_id, batch=7))
    assert max(len(piece) for piece in pieces) <= 7 * 2
    assert pa.concat_tables(pieces).select(found.column_names).equals(found)
    for parts, take in ((1, None), (4, None), (7, (2, 6)), (500, (0, 10))):
        tables = read(file, parts=parts, **({"take": take} if take else {}))
        first, last = take or (0, parts)
        events = 10 * EVENTS
        inside = (entry >= events * first // parts) & (entry < events * last // parts)
        back = pa.concat_tables(tables)
        assert back.equals(found.filter(pa.array(inside)))


def test_all_jets_may_be_of_one_class_without_any_truth(tmp_path: Path, mixed: list[Batch]) -> None:
    path = tmp_path / "data.root"
    write_delphes(path, mixed, without=["Particle"])
    (found,) = read(path, labels={"all": "Zqq"})
    assert found.column_names == [
        name for name in jet_schema(CLASSES).names if name not in TRUTH_FLOATS
    ]
    assert (to_numpy(found["label_Zqq"]) == 1).all()
    assert (to_numpy(found["label_QCD"]) == 0).all()
    qcd = of_process(mixed[:1], "QCD")  # the first events
    pt = to_numpy(found["jet_pt"])[: len(qcd)]
    assert_allclose(pt, to_numpy(qcd["jet_pt"]), rtol=2e-5)
    with pytest.raises(InputError, match=r"data\.root: labels\.all: labels jets as b.*QCD, Hbb"):
        read(path, labels={"all": "b"})
    with pytest.raises(InputError, match=r"data\.root: Particle\.PID: no such branch") as why:
        read(path)
    assert "Delphes/allParticles Particle GenParticle" in why.value.remedy


def test_the_output_says_what_it_was_made_from(file: Path) -> None:
    read(file, parts=2)
    record = read_provenance(file.with_name("mixed-1.parquet"))
    assert record["step"] == "read_delphes"
    assert record["spec"]["part"] == 1
    assert record["spec"]["selection"] == Selection().model_dump(mode="json")
    assert list(record["inputs"]) == [str(file)]


def test_row_groups_are_larger_than_pieces(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = read(file)
    output = file.with_name("mixed-0.parquet")
    monkeypatch.setattr(making, "iterate", partial(making.iterate, batch=10))
    for rows, groups in ((4096, 1), (len(found) // 2, 2), (1, 12)):
        monkeypatch.setattr(making, "_ROWS_PER_WRITE", rows)
        assert read(file)[0].equals(found)
        assert pq.read_metadata(output).num_row_groups == groups


def test_files_without_jets_leave_a_warning(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    (found,) = read(file, selection=Selection(pt_min=6000, pt_max=6400))
    assert len(found) == 0
    assert found.schema.equals(jet_schema(CLASSES))
    (line,) = [one for one in caplog.records if one.levelname == "WARNING"]
    assert "mixed.root: 0 jets in the events from 0 to 120" in line.getMessage()


def few() -> list[Batch]:
    return [simulated("QCD", 4)]


def test_weights_that_differ_are_refused_unless_they_are_to_be_ignored(tmp_path: Path) -> None:
    for name, weights in {
        "equal": [0.125] * 4,
        "signs": [1, 1, -1, 1],
        "slice": [3] * 4,
        "nan": [1, 1, np.nan, 1],
    }.items():
        write_delphes(tmp_path / f"{name}.root", few(), weights)
    write_delphes(tmp_path / "none.root", few(), without=["Event"])
    (plain,) = read(tmp_path / "equal.root")
    assert len(plain) > 0
    assert len(read(tmp_path / "none.root")[0]) == len(plain)
    for name in ("signs", "nan"):
        path = tmp_path / f"{name}.root"
        says = rf"{name}\.root: Event\.Weight: is different.*`ignore_weights: true`"
        with pytest.raises(InputError, match=says):
            read(path, parts=4, take=(0, 1))  # whatever the part's own weights are
        assert len(read(path, ignore_weights=True)[0]) == len(plain)
    # Of slices of a spectrum each has a weight of its own.
    several = tmp_path / "*.root"
    for name in ("signs", "nan"):
        (tmp_path / f"{name}.root").unlink()
    with pytest.raises(InputError, match=r"slice\.root and .*equal\.root: .*from 0\.125 to 3"):
        read(several)
    assert [len(one) for one in read(several, ignore_weights=True)] == 3 * [len(plain)]
    (tmp_path / "slice.root").unlink()
    assert [len(one) for one in read(several)] == 2 * [len(plain)]


def test_bad_files_are_named(file: Path, tmp_path: Path) -> None:
    cut, text = tmp_path / "cut.root", tmp_path / "text.root"
    cut.write_bytes(file.read_bytes()[:-1000])
    text.write_text("no ROOT file")
    write_delphes(tmp_path / "other.root", few(), tree="events")
    write_delphes(tmp_path / "old.root", few(), EtaOuter=None)
    write_delphes(tmp_path / "nan.root", few(), ErrorD0=np.nan)
    write_delphes(tmp_path / "pt.root", few(), PT=np.nan)
    for name, says in {
        "cut": r"file: is truncated: \d+ of \d+ bytes",
        "text": "file: cannot be read",
        "other": r"Delphes: no such TTree. The file has: events. .*`format`",
        "old": r"ParticleFlowCandidate\.EtaOuter: no such branch.*add Branch EFlowMerger/eflow",
        "nan": r"ParticleFlowCandidate\.ErrorD0: has NaN or infinite values \(first: entry 0\)",
        "pt": r"ParticleFlowCandidate\.PT: has NaN",
    }.items():
        path = tmp_path / f"{name}.root"
        with pytest.raises(InputError, match=rf"{name}\.root: {says}"):
            read(path)
        assert not path.with_name(f"{name}-0.parquet").exists()


@pytest.mark.parametrize(("ours", "theirs"), [("px", "Px"), ("energy", "E"), ("z", "Z")])
def test_particles_that_would_label_nothing_are_named(
    tmp_path: Path, ours: str, theirs: str
) -> None:
    events, candidates = few()[0]
    values = getattr(events, ours).copy()
    values[events.offsets[2] + 7] = np.nan
    write_delphes(tmp_path / "a.root", [(replace(events, **{ours: values}), candidates)])
    says = rf"a\.root: Particle\.{theirs}: has NaN or infinite values \(first: entry 2\)"
    with pytest.raises(InputError, match=says):
        read(tmp_path / "a.root")


def test_damage_inside_is_named(file: Path, tmp_path: Path) -> None:
    """Of a file whose size is right: what is in the place of the first baskets is no data."""
    content = bytearray(file.read_bytes())
    content[2000:200_000] = bytes(198_000)
    (tmp_path / "bad.root").write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.root: file: cannot be read"):
        read(tmp_path / "bad.root")


def test_more_events_and_jets_than_ids_are_for(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "EVENT_BITS", 6)
    with pytest.raises(InputError, match=r"has 120 events; jets can be numbered of 64"):
        read(file)
    monkeypatch.undo()
    monkeypatch.setattr(making, "JET_BITS", 0)
    with pytest.raises(InputError, match=r"makes 2 jets or more of entry \d+; 1 can be numbered"):
        read(file)


def test_pieces_hold_the_events_that_are_asked_for(file: Path) -> None:
    with open_delphes(file) as one:
        pieces = list(one.iterate(5, 40, 15))
        assert [(piece.first, piece.events) for piece in pieces] == [(5, 15), (20, 15), (35, 5)]
        (whole,) = one.iterate(5, 40, 100)
    assert whole.record is not None
    assert len(whole.record) == 35
    assert sum(len(piece.candidates) for piece in pieces) == len(whole.candidates)
    pids = [piece.record.pid for piece in pieces if piece.record]
    assert_array_equal(np.concatenate(pids), whole.record.pid)


def test_other_readers_need_no_code_that_makes_jets() -> None:
    """An edit of that code must not read files of other formats again."""
    others = {
        name for step in ("read_jets", "read_scores") for name in closure(f"otcal.steps.{step}")
    }
    assert not [name for name in others if name.startswith("otcal.simulation")]
    mine = closure("otcal.steps.read_delphes")
    assert "otcal.simulation.jets" in mine
    # Nor does this one need what measures or generates.
    for name in ("detector.response", "detector.calorimeter", "delphes.run", "delphes.card"):
        assert f"otcal.simulation.{name}" not in mine


def test_a_spec_has_just_what_decides_the_jets() -> None:
    assert set(ReadDelphesSpec.model_fields) == {
        *("file", "like", "part", "parts", "first_id", "jets"),
        *("selection", "position_eta", "label", "ignore_weights"),
    }
