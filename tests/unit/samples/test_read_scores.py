"""Probabilities in foreign files become scores of ours, and what is wrong with a file is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

from otcal.config.outputs import ReadScoresSpec
from otcal.config.samples import Files, Layout
from otcal.runtime.errors import InputError
from otcal.samples.flavours import FLAVOURS
from otcal.samples.readers.files import open_columns
from otcal.samples.readers.outputs import iterate_scores
from otcal.samples.scores import Scores, read_scores
from otcal.samples.tables import read_provenance
from otcal.steps import read_scores as step
from support.layouts import write_ftag, write_tree

N = 100
CODES = {5: "b", 4: "c", 0: "light", 15: None}
Columns = dict[str, np.ndarray]


def columns(**changes: Any) -> Columns:
    """Return the columns of an ntuple: momenta in MeV, and a few jets of tau leptons."""
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), N).astype(np.float32)
    made = {
        "number": 7 * np.arange(N),
        "pt": rng.uniform(2e4, 2e5, N),
        "eta": rng.uniform(-2, 2, N).astype(np.float32),
        "truth": rng.choice(list(CODES), N).astype(np.int32),
    } | {f"prob_{name}": p[:, i] for i, name in enumerate("bcu")}
    made["truth"][70] = 5  # kept, for what is wrong with it to matter
    return {name: one for name, one in (made | changes).items() if one is not None}


def write(path: Path, kind: str, content: Columns) -> dict[str, str]:
    """Write columns in a format, and return their names in the file."""
    if kind == "parquet":
        pq.write_table(pa.table(content), path, row_group_size=30)
    elif kind == "root":
        with uproot.recreate(path) as file:
            write_tree(file, "tree", content)
    else:
        with h5py.File(path, "w") as file:
            file["metadata"] = np.arange(3.0)  # no row per jet: not a column
            if kind == "compound":
                data = np.empty(N, [(name, one.dtype) for name, one in content.items()])
                for name, one in content.items():
                    data[name] = one
                file["nominal"] = data
                return {name: f"nominal/{name}" for name in content}
            for name, one in content.items():
                file[f"a/group/{name}"] = one
            return {name: f"a/group/{name}" for name in content}
    return {name: name for name in content}


def files(path: Path, kind: str, names: dict[str, str], **changes: Any) -> Files:
    ours = {"jet_id": "number", "jet_pt": "pt", "jet_eta": "eta"}
    ours |= {f"p_{name}": f"prob_{letter}" for name, letter in zip(FLAVOURS, "bcu", strict=True)}
    return Files.model_validate(
        {
            "format": kind if kind in ("parquet", "root") else "hdf5",
            "holds": "scores",
            "files": [str(path)],
            "jets": N,
            "unit": "MeV",
            "columns": {name: names[theirs] for name, theirs in ours.items() if theirs in names},
            "labels": {"column": names["truth"], "values": CODES},
        }
        | changes
    )


def run(output: Path, what: Files, floor: float | None = None) -> Scores:
    spec = ReadScoresSpec(where="simplex.samples.data", files=what, floor=floor)
    step.main(["--spec", spec.model_dump_json(), "--output", str(output)])
    return read_scores(output, FLAVOURS)


@pytest.mark.parametrize("kind", ["parquet", "root", "compound", "group"])
def test_each_format_is_read(tmp_path: Path, kind: str) -> None:
    content = columns()
    path = tmp_path / "scores"
    names = write(path, kind, content)
    scores = run(tmp_path / "out.parquet", files(path, kind, names))
    kept = content["truth"] != 15
    assert 0 < kept.sum() < N
    assert scores.ids.tolist() == content["number"][kept].tolist()
    assert [FLAVOURS[label] for label in scores.labels] == [
        CODES[k] for k in content["truth"][kept]
    ]
    np.testing.assert_allclose(scores.pt, content["pt"][kept] / 1e3, rtol=1e-6)
    np.testing.assert_array_equal(scores.eta, content["eta"][kept])
    expected = np.stack([content[f"prob_{letter}"][kept] for letter in "bcu"], axis=1)
    np.testing.assert_allclose(scores.p, expected, rtol=1e-6)
    assert list(read_provenance(tmp_path / "out.parquet")["inputs"]) == [str(path)]


@pytest.mark.parametrize("with_ids", ["a", "b"])
def test_ids_in_some_files_only(tmp_path: Path, with_ids: str) -> None:
    """Whose numbers could be those of the other files' rows."""
    for name in "ab":
        ids = {"jet_id": np.arange(N)} if name == with_ids else {}
        names = write(tmp_path / f"{name}.parquet", "parquet", columns(number=None, **ids))
    block = files(tmp_path / "*.parquet", "parquet", names)
    says = rf"b\.parquet: jet_id: is in .*{with_ids}\.parquet, but not in"
    with pytest.raises(InputError, match=says):
        run(tmp_path / "out.parquet", block)
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize("size", [1, 33, 1000])
def test_rows_pass_through_in_pieces(tmp_path: Path, size: int) -> None:
    content = columns()
    names = write(tmp_path / "a.parquet", "parquet", content)
    layout = files(tmp_path / "a.parquet", "parquet", names)
    with open_columns(tmp_path / "a.parquet") as file:
        pieces = list(iterate_scores(file, layout, (10, 90), 0, size=size))
    assert max(piece.rows for piece in pieces) <= size
    assert sum(piece.rows for piece in pieces) == 80
    ids = np.concatenate([piece.scores.ids for piece in pieces])
    assert ids.tolist() == content["number"][10:90][content["truth"][10:90] != 15].tolist()


def test_parts_of_several_files_have_ids_of_their_own(tmp_path: Path) -> None:
    content = columns(number=None)
    for name in ("a", "b"):
        names = write(tmp_path / f"{name}.root", "root", content)
    both = {"files": [str(tmp_path / "*.root")], "parts": 4}
    first, second = (
        run(tmp_path / "out.parquet", files(tmp_path, "root", names, **both, take=take))
        for take in ([0, 1], [1, 4])
    )
    whole = run(tmp_path / "out.parquet", files(tmp_path, "root", names, **both))
    assert sorted([*first.ids, *second.ids]) == sorted(whole.ids)
    assert len(set(whole.ids.tolist())) == 2 * int((content["truth"] != 15).sum())


def test_atlas_files_need_the_names_of_the_probabilities_only(tmp_path: Path) -> None:
    data = write_ftag(tmp_path / "a.h5", N)["jets"]
    names = {
        f"p_{name}": f"jets/MockTagger_p{letter}"
        for name, letter in zip(FLAVOURS, "bcu", strict=True)
    }
    layout = {"format": "ftag", "holds": "scores", "files": [str(tmp_path / "a.h5")], "jets": N}
    layout["ignore_weights"] = True
    scores = run(
        tmp_path / "out.parquet",
        Files.model_validate(layout | {"columns": names, "normalise": True}),
    )
    kept = data["HadronConeExclTruthLabelID"] != 15
    p = np.stack([data[f"MockTagger_p{letter}"][kept] for letter in "bcu"], axis=1)
    np.testing.assert_allclose(scores.p, p / p.sum(axis=1, keepdims=True), rtol=1e-6)
    np.testing.assert_allclose(scores.pt, data["pt"][kept] / 1e3, rtol=1e-6)
    with pytest.raises(InputError, match=r"sum to .* instead of 1 in row 0"):
        run(tmp_path / "out.parquet", Files.model_validate(layout | {"columns": names}))


def test_a_floor_raises_zeros(tmp_path: Path) -> None:
    p = {"prob_b": np.full(N, 1.0), "prob_c": np.zeros(N), "prob_u": np.zeros(N)}
    names = write(tmp_path / "a.parquet", "parquet", columns(**p))
    what = files(tmp_path / "a.parquet", "parquet", names)
    with pytest.raises(InputError, match=r"prob_c: is 0 in row 0.*Set a floor"):
        run(tmp_path / "out.parquet", what)
    np.testing.assert_allclose(run(tmp_path / "out.parquet", what, 1e-4).p[:, 1], 1e-4, rtol=1e-3)


def test_jets_that_are_dropped_need_not_be_in_order(tmp_path: Path) -> None:
    content = columns()
    content["truth"] = np.where(np.arange(N) == 70, 15, content["truth"])
    for name, value in (("prob_c", np.nan), ("pt", -1.0), ("number", 0.5)):
        content[name] = at(70, value, name)
    names = write(tmp_path / "a.parquet", "parquet", content)
    scores = run(tmp_path / "out.parquet", files(tmp_path / "a.parquet", "parquet", names))
    assert len(scores) == int((content["truth"] != 15).sum())
    content["truth"][70] = 5
    write(tmp_path / "a.parquet", "parquet", content)
    with pytest.raises(InputError, match="row 70"):
        run(tmp_path / "out.parquet", files(tmp_path / "a.parquet", "parquet", names))


def at(row: int, value: float, name: str) -> np.ndarray:
    changed = columns()[name].astype(float)
    changed[row] = value
    return changed


BAD: dict[str, tuple[Columns, str]] = {
    "missing": ({"prob_c": None}, "p_c: column is missing, which is to be p_c"),
    "nan": ({"prob_c": at(70, np.nan, "prob_c")}, "prob_c: has 1 NaN or infinite values .*row 70"),
    "negative": ({"prob_b": at(70, -0.1, "prob_b")}, "prob_b: is -0.1 in row 70"),
    "sum": (
        {"prob_b": at(70, 1.5, "prob_b")},
        r"prob_b, \S*prob_c, \S*prob_u: sum to .* in row 70",
    ),
    "label": ({"truth": at(70, 6, "truth")}, r"truth: is 6(\.0)? in row 70 .*labels.values"),
    "momentum": ({"pt": at(70, 0.0, "pt")}, "pt: is 0 in row 70.*momentum is positive"),
    "lists": ({"pt": [[1.0]] * N}, "pt: has type .*a number for each jet"),
    "text": ({"prob_b": ["0.5"] * N}, "prob_b: column is missing"),
    "no id": ({"number": at(70, 0.5, "number")}, "number: is 0.5 in row 70, which is no"),
    "repeated": ({"number": at(70, 7, "number")}, "jet_id: 1 ids are there more than once.*: 7"),
    "empty": ({"truth": np.full(N, 15)}, "files: have no jets of b, c, light"),
}


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        (case, kind)
        for case in BAD
        for kind in ("parquet", "root", "compound", "group")
        if kind == "parquet" or case not in ("lists", "text")  # Python's lists, for Arrow
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, case: str, kind: str) -> None:
    changes, says = BAD[case]
    names = write(tmp_path / "bad", kind, columns(**changes))
    # A jet that is dropped has an id all the same, but no influence.
    truth = {"labels": {"column": names["truth"], "values": {**CODES, 15: "light"}}}
    more = truth if case == "repeated" else {}
    output = tmp_path / "out.parquet"
    with pytest.raises(InputError, match=says) as caught:
        run(output, files(tmp_path / "bad", kind, names, **more))
    assert caught.value.where in (str(tmp_path / "bad"), "simplex.samples.data")
    assert not output.exists()


@pytest.mark.parametrize("kind", ["parquet", "root", "compound", "group"])
def test_all_jets_may_be_of_one_class(tmp_path: Path, kind: str) -> None:
    content = columns()
    names = write(tmp_path / "a", kind, content)
    scores = run(tmp_path / "out.parquet", files(tmp_path / "a", kind, names, labels={"all": "c"}))
    assert scores.ids.tolist() == content["number"].tolist()  # no jet is dropped
    assert set(scores.labels.tolist()) == {FLAVOURS.index("c")}
    with pytest.raises(InputError, match=r"labels\.all: labels jets as QCD.* are b, c, light"):
        run(tmp_path / "out.parquet", files(tmp_path / "a", kind, names, labels={"all": "QCD"}))


def test_names_that_mean_nothing(tmp_path: Path) -> None:
    names = write(tmp_path / "a.parquet", "parquet", columns())
    what = files(tmp_path / "a.parquet", "parquet", names)
    wrong = what.model_copy(update={"columns": {**what.columns, "part_pt": "pt"}})
    with pytest.raises(InputError, match=r"columns: part_pt: is not a name of ours here.*p_light"):
        run(tmp_path / "out.parquet", wrong)


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ({"format": "hdf5"}, "format hdf5 is not one of jets"),
        ({"format": "root", "normalise": True}, "normalise .* needs holds: scores"),
        ({"format": "root", "holds": "tracks"}, "'jets'"),
        (
            {"format": "root", "labels": {"column": "y", "values": {5: "beauty"}}},
            "labels name beauty, which is not one of QCD",
        ),
        ({"format": "root", "labels": {"all": "beauty"}}, "labels name beauty, which is not"),
        *(
            ({"format": "root", "labels": labels}, "either column and values, or all")
            for labels in (
                {},
                {"column": "y"},
                {"values": {5: "b"}},
                {"all": "b", "column": "y"},
                {"all": "b", "column": "y", "values": {5: "b"}},
            )
        ),
    ],
)
def test_layouts_that_make_no_sense(block: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Layout.model_validate(block)


@pytest.mark.parametrize("kind", ["parquet", "root", "compound", "group"])
def test_weights_are_refused_unless_they_are_to_be_ignored(tmp_path: Path, kind: str) -> None:
    content = columns(mcEventWeight=np.linspace(0.5, 2.0, N))
    names = write(tmp_path / "a", kind, content)
    what = files(tmp_path / "a", kind, names)
    with pytest.raises(InputError, match=r"unweighted jets.*`ignore_weights: true`") as caught:
        run(tmp_path / "out.parquet", what)
    assert (caught.value.where, caught.value.field) == (
        str(tmp_path / "a"),
        names["mcEventWeight"],
    )
    assert not (tmp_path / "out.parquet").exists()
    ignored = files(tmp_path / "a", kind, names, ignore_weights=True)
    assert len(run(tmp_path / "out.parquet", ignored)) == int((content["truth"] != 15).sum())
