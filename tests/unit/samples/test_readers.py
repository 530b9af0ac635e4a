"""Jets of the public formats become jets of ours, and what is wrong with a file is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
from uproot.containers import AsVector
from uproot.interpretation.objects import AsObjects

from otcal.config.samples import Files, Layout, ReadSpec
from otcal.config.selection import Selection
from otcal.config.simulation import Detector
from otcal.runtime.errors import InputError
from otcal.samples.classes import CLASSES
from otcal.samples.flavours import FLAVOURS
from otcal.samples.jets import (
    CONSTITUENT_FLAGS,
    CONSTITUENT_FLOATS,
    JET_SCHEMA,
    jet_schema,
    write_jets,
)
from otcal.samples.readers import files as readers
from otcal.samples.readers import jets as reading
from otcal.samples.readers.recipes import COLUMNS, RECIPES, resolve
from otcal.samples.tables import to_numpy
from otcal.steps import read_jets
from support.layouts import write_ftag, write_jetclass, write_tree, write_upp

N = 300
MakeJets = Callable[..., pa.Table]


def read(path: Path, output: Path, classes: tuple[str, ...], **layout: Any) -> pa.Table:
    """Run the step on a whole file, and return what it wrote."""
    spec = ReadSpec(
        file=str(path),
        like=str(layout.pop("like", path)),
        layout=Layout.model_validate(layout),
        classes=classes,
        part=layout.pop("part", 0),
        parts=1,
        first_id=7 << 32,
        jets=1,
    )
    read_jets.main(["--spec", spec.model_dump_json(), "--output", str(output)])
    return pq.read_table(output)


def flat(table: pa.Table, name: str) -> np.ndarray:
    return to_numpy(table[name].combine_chunks().flatten())


@pytest.fixture
def jets(make_jets: MakeJets) -> pa.Table:
    return make_jets(N, seed=3)


@pytest.mark.parametrize("size", [1, 64, 1000])
def test_jetclass_comes_back_as_it_is(tmp_path: Path, jets: pa.Table, size: int) -> None:
    path = tmp_path / "HToBB_000.root"
    write_jetclass(path, jets)
    layout = Layout(format="jetclass")
    with readers.open_columns(path) as file:
        view = reading.View(file, layout, CLASSES)
        assert view.absent == []
        pieces = [table for table, _ in view.iterate(0, file.rows, 100, size)]
    assert max(len(piece) for piece in pieces) <= size
    back = pa.concat_tables(pieces)
    assert back.schema == JET_SCHEMA
    assert to_numpy(back["jet_id"]).tolist() == list(range(100, 100 + N))
    assert back.drop_columns("jet_id").equals(jets.drop_columns("jet_id"))


def test_lists_that_are_vectors(
    tmp_path: Path, jets: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The public files have vector<float> and vector<int>, each list with a header of its own."""
    write_jetclass(tmp_path / "arrays.root", jets)
    write_jetclass(tmp_path / "vectors.root", jets, vectors=True)
    expected = read(tmp_path / "arrays.root", tmp_path / "a.parquet", CLASSES, format="jetclass")
    interpret = uproot.interpretation.identify.interpretation_of
    vectors = {name: AsVector(True, np.dtype(">f4")) for name in CONSTITUENT_FLOATS}
    vectors |= {name: AsVector(True, np.dtype(">i4")) for name in CONSTITUENT_FLAGS}
    told = []

    def interpretation_of(branch: Any, *more: Any) -> Any:
        if branch.name not in vectors:
            return interpret(branch, *more)
        told.append(AsObjects(vectors[branch.name]).simplify())  # as for a branch of this class
        return told[-1]

    monkeypatch.setattr(uproot.interpretation.identify, "interpretation_of", interpretation_of)
    with readers.open_columns(tmp_path / "vectors.root") as file:
        assert file.columns["part_px"] == pa.list_(pa.float32())
        assert file.columns["part_isMuon"] == pa.list_(pa.int32())
    found = read(tmp_path / "vectors.root", tmp_path / "v.parquet", CLASSES, format="jetclass")
    assert {type(one).__name__ for one in told} == {"AsJagged"}
    assert {one.header_bytes for one in told} == {10}
    assert found.equals(expected)


def test_jetclass_by_the_step(tmp_path: Path, jets: pa.Table) -> None:
    write_jetclass(tmp_path / "a.root", jets)
    back = read(tmp_path / "a.root", tmp_path / "0.parquet", CLASSES, format="jetclass")
    assert back.drop_columns("jet_id").equals(jets.drop_columns("jet_id"))
    assert to_numpy(back["jet_id"])[-1] == (7 << 32) + N - 1


@pytest.mark.parametrize("parts", [1, 3, 7])
@pytest.mark.parametrize("kind", ["root", "parquet"])
def test_parts_of_a_file_are_the_file(
    tmp_path: Path, jets: pa.Table, parts: int, kind: str
) -> None:
    path = tmp_path / f"jets.{kind}"
    if kind == "root":
        write_jetclass(path, jets)
    else:
        pq.write_table(jets, path, row_group_size=77)
    files = Files(files=(str(path),), format="jetclass", jets=N, parts=parts)
    pieces = []
    with readers.open_columns(path) as file:
        view = reading.View(file, Layout(format="jetclass"), CLASSES)
        for spec in files.shards("samples.x", Selection(), Detector()).values():
            assert isinstance(spec, ReadSpec)
            first, last = spec.entries(file.rows)
            pieces += [table for table, _ in view.iterate(first, last, spec.first_id, 50)]
    back = pa.concat_tables(pieces)
    assert back.drop_columns("jet_id").equals(jets.drop_columns("jet_id"))
    assert len(set(to_numpy(back["jet_id"]).tolist())) == N


def test_our_own_parquet_keeps_its_ids(tmp_path: Path, jets: pa.Table) -> None:
    write_jets(tmp_path / "ours.parquet", jets, {})
    back = read(tmp_path / "ours.parquet", tmp_path / "0.parquet", CLASSES, format="parquet")
    assert back.cast(JET_SCHEMA).equals(jets)


def test_top_pairs(tmp_path: Path) -> None:
    path = tmp_path / "pp_output_train.h5"
    data = write_upp(path, N)
    back = read(path, tmp_path / "0.parquet", FLAVOURS, format="upp")
    there, tracks = data["jets"], data["consts"]
    valid = tracks["valid"]
    lengths = valid.sum(axis=1)
    np.testing.assert_array_equal(to_numpy(back["jet_pt"]), there["pt"])
    np.testing.assert_array_equal(to_numpy(back["jet_nparticles"]), lengths)
    for flavour, code in {"b": 5, "c": 4, "light": 0}.items():
        np.testing.assert_array_equal(to_numpy(back[f"label_{flavour}"]), there["flavour"] == code)
    np.testing.assert_array_equal(flat(back, "part_d0val"), tracks["d0"][valid])
    np.testing.assert_array_equal(flat(back, "part_dphi"), tracks["phi_rel"][valid])
    np.testing.assert_allclose(flat(back, "part_d0err"), 0.02, rtol=1e-5)
    jet_pt, jet_eta = (np.repeat(there[name].astype(float), lengths) for name in ("pt", "eta"))
    pt = np.hypot(flat(back, "part_px"), flat(back, "part_py"))
    np.testing.assert_allclose(pt, tracks["pt_frac"][valid] * jet_pt, rtol=1e-5)
    eta = np.arcsinh(flat(back, "part_pz") / pt)
    np.testing.assert_allclose(eta, tracks["eta_rel"][valid] + jet_eta, atol=1e-5)
    side = np.where(jet_eta > 0, 1, -1)
    np.testing.assert_allclose(flat(back, "part_deta"), tracks["eta_rel"][valid] * side)
    assert (flat(back, "part_isChargedHadron") == 1).all()
    assert (flat(back, "part_isElectron") == 0).all()
    absent = {"part_dzerr", "part_energy", "jet_phi", "jet_energy"}
    assert set(jet_schema(FLAVOURS).names) - set(back.column_names) == absent | {
        name for name in COLUMNS if name.startswith("aux_")
    }


def test_atlas_variables(tmp_path: Path) -> None:
    path = tmp_path / "ftag.h5"
    data = write_ftag(path, N)
    with pytest.raises(InputError, match=r"jets/mcEventWeight: .*ignore_weights: true"):
        read(path, tmp_path / "0.parquet", FLAVOURS, format="ftag")
    assert not (tmp_path / "0.parquet").exists()
    back = read(path, tmp_path / "0.parquet", FLAVOURS, format="ftag", ignore_weights=True)
    kept = data["jets"]["HadronConeExclTruthLabelID"] != 15  # jets of tau leptons are dropped
    assert 0 < kept.sum() < N
    there, tracks = data["jets"][kept], data["tracks"][kept]
    valid = tracks["valid"]
    assert to_numpy(back["jet_id"]).tolist() == ((7 << 32) + np.flatnonzero(kept)).tolist()
    np.testing.assert_allclose(to_numpy(back["jet_pt"]), there["pt"] / 1e3, rtol=1e-6)
    jet_eta = np.repeat(there["eta"].astype(float), valid.sum(axis=1))
    eta = tracks["deta"][valid] + jet_eta
    pt = np.hypot(flat(back, "part_px"), flat(back, "part_py"))
    momentum = pt * np.cosh(eta)
    np.testing.assert_allclose(momentum, 1e-3 / np.abs(tracks["qOverP"][valid]), rtol=1e-5)
    np.testing.assert_array_equal(flat(back, "part_charge"), np.sign(tracks["qOverP"][valid]))
    z0 = tracks["z0SinTheta"][valid] * np.cosh(eta)
    np.testing.assert_allclose(flat(back, "part_dzval"), z0, rtol=1e-5)
    np.testing.assert_allclose(flat(back, "part_d0err"), 0.02, rtol=1e-5)
    np.testing.assert_allclose(flat(back, "part_dzerr"), 0.04 * np.cosh(eta), rtol=1e-5)
    for flag, code in {"part_isElectron": 11, "part_isMuon": 13}.items():
        np.testing.assert_array_equal(flat(back, flag), np.abs(tracks["leptonID"][valid]) == code)
    kinds = sum(flat(back, name).astype(int) for name in CONSTITUENT_FLAGS)
    assert (kinds == 1).all()


NTUPLE = {
    "jet_pt": "pt",
    "jet_eta": "eta",
    "jet_phi": "phi",
    "jet_id": "number",
    "part_pt": "trk_pt",
    "part_eta": "trk_eta",
    "part_phi": "trk_phi",
    "part_d0val": "trk_d0",
    "part_d0err": "trk_d0err",
    "part_charge": "trk_q",
}
LABELS = {"column": "truth", "values": {"3": "b", "2": "c", "1": "light", "-1": None}}


def write_ntuple(path: Path, jets: pa.Table) -> np.ndarray:
    """Write a foreign ntuple with momenta in MeV, and return its labels."""
    px, py, pz = (flat(jets, f"part_p{axis}").astype(float) for axis in "xyz")
    pt = np.hypot(px, py)
    lists = {
        "trk_pt": 1e3 * pt,
        "trk_eta": np.arcsinh(pz / pt),
        "trk_phi": np.arctan2(py, px),
        "trk_d0": flat(jets, "part_d0val"),
        "trk_d0err": flat(jets, "part_d0err"),
        "trk_q": flat(jets, "part_charge").astype(np.int32),
    }
    offsets = jets["part_px"].combine_chunks().offsets.to_numpy()
    truth = np.random.default_rng(1).choice([3, 2, 1, -1], len(jets))
    columns: dict[str, Any] = {
        "number": np.arange(len(jets)) * 11,
        "pt": 1e3 * to_numpy(jets["jet_pt"]).astype(float),
        "eta": to_numpy(jets["jet_eta"]),
        "phi": to_numpy(jets["jet_phi"]),
        "truth": truth.astype(np.int32),
        "weight": np.ones(len(jets)),
    } | {
        name: pa.ListArray.from_arrays(pa.array(offsets), pa.array(one))
        for name, one in lists.items()
    }
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
    else:
        branches = {
            name: ak.unflatten(to_numpy(one.flatten()), np.diff(offsets))
            if isinstance(one, pa.ListArray)
            else one
            for name, one in columns.items()
        }
        with uproot.recreate(path) as file:
            write_tree(file, "events", branches)
    return truth


@pytest.mark.parametrize("kind", ["root", "parquet"])
def test_ntuples_by_a_mapping_of_columns(tmp_path: Path, jets: pa.Table, kind: str) -> None:
    path = tmp_path / f"ntuple.{kind}"
    truth = write_ntuple(path, jets)
    layout: dict[str, Any] = {"format": kind, "columns": NTUPLE, "labels": LABELS, "unit": "MeV"}
    with pytest.raises(InputError, match=rf"ntuple\.{kind}: weight: .*ignore_weights: true"):
        read(path, tmp_path / "0.parquet", FLAVOURS, tree="events", **layout)
    assert not (tmp_path / "0.parquet").exists()
    layout["ignore_weights"] = True
    back = read(path, tmp_path / "0.parquet", FLAVOURS, tree="events", **layout)
    kept = jets.filter(pa.array(truth != -1))
    assert to_numpy(back["jet_id"]).tolist() == (np.flatnonzero(truth != -1) * 11).tolist()
    for name in ("part_px", "part_py", "part_pz", "part_d0val", "part_d0err", "part_charge"):
        np.testing.assert_allclose(flat(back, name), flat(kept, name), rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(to_numpy(back["jet_pt"]), to_numpy(kept["jet_pt"]), rtol=1e-6)
    turned = np.abs(flat(back, "part_dphi") - flat(kept, "part_dphi"))
    np.testing.assert_allclose(np.minimum(turned, np.abs(turned - 2 * np.pi)), 0, atol=1e-5)
    assert to_numpy(back["label_c"]).tolist() == (truth[truth != -1] == 2).tolist()
    assert "part_dzval" not in back.column_names


def jets_without_truth(directory: Path, jets: pa.Table, kind: str) -> Path:
    """Write a file of a format whose jets have no label."""
    if kind == "jetclass":
        labels = [f"label_{name}" for name in CLASSES]
        write_jetclass(directory / "data.root", jets.drop_columns(labels))
        return directory / "data.root"
    if kind == "parquet":
        names = [name for name in jets.column_names if not name.startswith("label_")]
        pq.write_table(jets.select(names), directory / "data.parquet")
        return directory / "data.parquet"
    if kind == "upp":
        write_upp(directory / "data.h5", N, jets_flavour=None)
    else:
        write_ftag(
            directory / "data.h5",
            N,
            jets_HadronConeExclTruthLabelID=None,
            jets_mcEventWeight=None,
        )
    return directory / "data.h5"


@pytest.mark.parametrize("kind", ["jetclass", "parquet", "upp", "ftag"])
def test_data_without_truth_are_of_one_class(tmp_path: Path, jets: pa.Table, kind: str) -> None:
    path = jets_without_truth(tmp_path, jets, kind)
    classes = CLASSES if kind in ("jetclass", "parquet") else FLAVOURS
    with pytest.raises(InputError, match=r"missing.*labels.*\{all: <class>\}"):
        read(path, tmp_path / "0.parquet", classes, format=kind)
    chosen = classes[1]
    back = read(path, tmp_path / "0.parquet", classes, format=kind, labels={"all": chosen})
    assert len(back) == N
    for name in classes:
        assert set(to_numpy(back[f"label_{name}"]).tolist()) == {int(name == chosen)}
    other = FLAVOURS[0] if classes == CLASSES else CLASSES[0]
    says = rf"labels\.all: labels jets as {other}.*classes are {classes[0]}, .*name one of them"
    with pytest.raises(InputError, match=says):
        read(path, tmp_path / "1.parquet", classes, format=kind, labels={"all": other})


def test_recipes_do_not_go_in_circles() -> None:
    for name in RECIPES:
        assert resolve(name, ()) is None
    assert resolve("part_px", {"part_pt", "part_phi"}) is not None
    assert resolve("part_deta", {"part_pt", "jet_eta"}) is None


def test_jets_without_constituents_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    valid = np.zeros((N, 50), dtype=bool)
    valid[10:, :3] = True
    write_upp(path, N, consts_valid=valid)
    back = read(path, tmp_path / "0.parquet", FLAVOURS, format="upp")
    assert to_numpy(back["jet_id"])[0] == (7 << 32) + 10
    assert len(back) == N - 10


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["jetclass", "upp", "parquet"])
def test_a_truncated_file(tmp_path: Path, jets: pa.Table, kind: str, share: float) -> None:
    path = tmp_path / "cut"
    if kind == "upp":
        write_upp(path, N)
    elif kind == "jetclass":
        write_jetclass(path, jets)
    else:
        write_jets(path.with_suffix(".parquet"), jets, {})
        path = path.with_suffix(".parquet")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    classes = FLAVOURS if kind == "upp" else CLASSES
    output = tmp_path / "0.parquet"
    with pytest.raises(InputError) as caught:
        read(path, output, classes, format=kind)
    assert caught.value.where == str(path)
    assert not output.exists()


def test_other_files_are_refused(tmp_path: Path, jets: pa.Table) -> None:
    path = tmp_path / "jets.csv"
    path.write_text("pt,eta\n1,2\n")
    with pytest.raises(InputError, match=r"jets\.csv: file: is none of ROOT, HDF5 and Parquet"):
        read(path, tmp_path / "0.parquet", CLASSES, format="jetclass")
    with pytest.raises(InputError, match=r"no\.root: file: does not exist"):
        read(tmp_path / "no.root", tmp_path / "0.parquet", CLASSES, format="jetclass")
    write_jetclass(tmp_path / "a.root", jets)
    with uproot.recreate(tmp_path / "b.root") as file:
        file["tree"] = {"x": np.zeros(3)}
    with pytest.raises(InputError, match=r"b\.root: tree: no such TTree\. The file has: none"):
        read(tmp_path / "b.root", tmp_path / "0.parquet", CLASSES, format="jetclass")
    with pytest.raises(InputError, match=r"a\.root: events: no such TTree\. The file has: tree"):
        read(tmp_path / "a.root", tmp_path / "0.parquet", CLASSES, format="root", tree="events")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"consts_charge": None}, ["consts/charge", "is missing", "consts/d0"]),
        ({"jets_pt": None}, ["jets/pt", "is missing"]),
        ({"consts_pt_frac": None}, ["part_px", "is missing", "part_pt and part_phi"]),
        ({"jets_flavour": None}, ["jets/flavour", "labels is missing", "{all: <class>}"]),
        ({"jets_flavour": np.full(N, 15.5)}, ["jets/flavour", "is 15.5 in row 0", "4 = c"]),
        ({"jets_eta": np.full(N, np.nan, "f4")}, ["jets/eta", f"{N} NaN", "row 0"]),
        ({"consts_signed_2d_ip": np.zeros((N, 50))}, ["part_d0err", "cannot be computed"]),
        ({"consts_valid": None}, ["is missing"]),
    ],
)
def test_a_bad_column_is_named(tmp_path: Path, changes: dict[str, Any], says: list[str]) -> None:
    path = tmp_path / "bad.h5"
    write_upp(path, N, **changes)
    with pytest.raises(InputError) as caught:
        read(path, tmp_path / "0.parquet", FLAVOURS, format="upp")
    for text in ["bad.h5", *says]:
        assert text in str(caught.value)


def test_labels_that_are_none_or_two(tmp_path: Path, jets: pa.Table) -> None:
    doubled = jets.set_column(
        jets.column_names.index("label_Hbb"), "label_Hbb", pa.array(np.ones(N, dtype=np.int8))
    )
    write_jetclass(tmp_path / "a.root", doubled)
    with pytest.raises(InputError, match=r"label_\*: \d+ jets do not have exactly one class .*row"):
        read(tmp_path / "a.root", tmp_path / "0.parquet", CLASSES, format="jetclass")
    write_jetclass(tmp_path / "b.root", jets.drop_columns("label_Tbl"))
    with pytest.raises(InputError, match="label_Tbl: column is missing"):
        read(tmp_path / "b.root", tmp_path / "0.parquet", CLASSES, format="jetclass")


def test_ids_that_repeat(tmp_path: Path, jets: pa.Table) -> None:
    ids = to_numpy(jets["jet_id"]).copy()
    ids[7] = ids[299]
    pq.write_table(jets.set_column(0, "jet_id", pa.array(ids)), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=f"jet_id: 1 ids are there more than once.*{ids[7]}"):
        read(tmp_path / "a.parquet", tmp_path / "0.parquet", CLASSES, format="parquet")


def test_lists_of_different_lengths(tmp_path: Path, jets: pa.Table) -> None:
    name = "part_d0val"
    shorter = [one[:-1] if i == 5 else one for i, one in enumerate(jets[name].to_pylist())]
    column = pa.array(shorter, jets.schema.field(name).type)
    pq.write_table(
        jets.set_column(jets.column_names.index(name), name, column), tmp_path / "a.parquet"
    )
    with pytest.raises(InputError, match=r"part_\w+: has \d+ values in row 5"):
        read(tmp_path / "a.parquet", tmp_path / "0.parquet", CLASSES, format="parquet")


def test_files_of_a_dataset_that_differ(tmp_path: Path) -> None:
    write_upp(tmp_path / "a.h5", N)
    write_upp(tmp_path / "b.h5", N, consts_z0=None)
    for one, other in (("a.h5", "b.h5"), ("b.h5", "a.h5")):
        with pytest.raises(InputError, match=rf"{one}: part_dzval: is offered by .*a\.h5, but not"):
            read(
                tmp_path / one,
                tmp_path / "0.parquet",
                FLAVOURS,
                format="upp",
                like=tmp_path / other,
            )


def test_ids_in_some_files_of_a_dataset(tmp_path: Path, jets: pa.Table) -> None:
    pq.write_table(jets, tmp_path / "a.parquet")
    pq.write_table(jets.drop_columns("jet_id"), tmp_path / "b.parquet")
    for one, other in (("a", "b"), ("b", "a")):
        says = rf"{one}\.parquet: jet_id: is in .*a\.parquet, but not in .*b\.parquet"
        with pytest.raises(InputError, match=says):
            read(
                tmp_path / f"{one}.parquet",
                tmp_path / "0.parquet",
                CLASSES,
                format="parquet",
                like=tmp_path / f"{other}.parquet",
            )


def test_a_name_that_means_nothing(tmp_path: Path) -> None:
    write_upp(tmp_path / "a.h5", N)
    for columns, says in (
        ({"jet_bt": "jets/pt"}, "jet_bt: is not a name of ours"),
        ({"jet_pt": "jets/PT"}, "jets/PT: column is missing, which is to be jet_pt"),
    ):
        with pytest.raises(InputError, match=says):
            read(tmp_path / "a.h5", tmp_path / "0.parquet", FLAVOURS, format="upp", columns=columns)


def test_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a/x.root", "a/y.root", "b/x.root"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def found(*patterns: str) -> list[str]:
        return list(Files(files=patterns, format="jetclass", jets=1).found("latent.samples.source"))

    assert found("*/x.root") == ["a/x.root", "b/x.root"]
    assert found("a/*.root") == found("a/x.root", "a/y.root") == ["x.root", "y.root"]
    assert found("a/*.root", "a/x.root") == ["x.root", "y.root"]
    assert found("**/x.root") == ["a/x.root", "b/x.root"]
    with pytest.raises(InputError, match=r"latent\.samples\.source: c/\*\.root: matches no file"):
        found("a/*.root", "c/*.root")
    with pytest.raises(InputError, match=r"'a/x\.root' and 'b/x\.root' are both named x\.root"):
        found("a/x.root", "b/x.root")


def test_ids_stay_when_files_move(tmp_path: Path) -> None:
    ids = []
    for place in ("here", "there"):
        for name in ("train/HToBB_000.root", "train/HToBB_001.root"):
            (tmp_path / place / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / place / name).touch()
        files = Files(
            files=(str(tmp_path / place / "*/HToBB_*.root"),), format="jetclass", jets=10, parts=2
        )
        shards = files.shards("samples", Selection(), Detector())
        assert list(shards) == [("files", number) for number in range(4)]
        ids.append([(spec.first_id, spec.part) for spec in shards.values()])
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 4
    assert ids[0][0][0] == ids[0][1][0] != ids[0][2][0]
