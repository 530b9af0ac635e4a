"""Latents in foreign files become latents of ours, with the layers that their head makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import uproot

from otcal.config.head import HeadConfig
from otcal.config.outputs import ReadLatentsSpec
from otcal.config.samples import Files
from otcal.runtime.errors import InputError
from otcal.samples import latents
from otcal.samples.readers.files import open_columns
from otcal.samples.readers.latents import LatentView
from otcal.samples.tables import fixed_size_list, read_provenance
from otcal.steps import read_head, read_latents
from otcal.tagger.head import Head
from otcal.tagger.head_model import LogitCheck, load_head_model
from support.heads import CLASSES, HIDDEN, OUTPUTS, WIDTH, write_head

N = 90
VALUES = {0: "multijet", 25: "h_bb", 6: "top", -1: None}
KINDS = ("lists", "fixed", "scalars", "root lists", "root arrays", "root scalars")
HDF = ("compound", "field of arrays", "group")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Head, HeadConfig, Path]:
    """A head in torch, its settings, and what read_head made of it."""
    root = tmp_path_factory.mktemp("head")
    head, spec = write_head(root / "mine.onnx")
    output = root / "study/head.onnx"
    read_head.main(["--spec", spec.model_dump_json(), "--output", str(output)])
    return head, spec, output


def content() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    made = {
        "event": 3 * np.arange(N),
        "pt": rng.uniform(3e5, 9e5, N),
        "eta": rng.uniform(-2, 2, N),
        "truth": rng.choice(list(VALUES), N).astype(np.int32),
        "z": rng.normal(size=(N, WIDTH)).astype(np.float32),
    }
    made["truth"][70] = 25  # kept, for what is wrong with it to matter
    return made


def write(path: Path, kind: str, columns: dict[str, np.ndarray]) -> dict[str, Any]:
    """Write latents in a layout, and return the block that reads them."""
    plain = {name: one for name, one in columns.items() if name != "z"}
    z = columns["z"]
    names = {"jet_id": "event", "jet_pt": "pt", "jet_eta": "eta", "z128": "z"}
    scalars = {f"z_{i}": z[:, i] for i in range(z.shape[1])}
    if kind in ("lists", "fixed", "scalars"):
        parts: dict[str, Any] = {
            "lists": {"z": pa.array(list(z))},
            "fixed": {"z": fixed_size_list(z)},
            "scalars": scalars,
        }[kind]
        pq.write_table(pa.table(plain | parts), path, row_group_size=37)
    elif kind.startswith("root"):
        with uproot.recreate(path) as file:
            if kind == "root lists":
                branches = plain | {"z": ak.Array(list(z))}
                types: dict[str, Any] = {name: one.dtype for name, one in plain.items()}
                file.mktree("tree", types | {"z": "var * float32"}).extend(branches)
            else:
                branches = plain | (scalars if kind == "root scalars" else {"z": z})
                types = {name: (one.dtype, one.shape[1:]) for name, one in branches.items()}
                file.mktree("tree", {k: np.dtype(t) for k, t in types.items()}).extend(branches)
    else:
        with h5py.File(path, "w") as file:
            if kind == "group":  # beside a compound data set of the jets
                file["taggers/mine/z"] = z
            fields = plain if kind == "group" else plain | {"z": z}
            if kind == "compound":
                fields = plain | scalars
            jets = np.empty(N, [(name, one.dtype, one.shape[1:]) for name, one in fields.items()])
            for name, one in fields.items():
                jets[name] = one
            file["jets"] = jets
        names = {ours: f"jets/{theirs}" for ours, theirs in names.items()}
        names |= {"z128": "taggers/mine/z"} if kind == "group" else {}
    if "scalars" in kind or kind == "compound":
        names["z128"] = names["z128"].replace("z", f"z_{{0..{WIDTH - 1}}}")
    format_ = "root" if "root" in kind else "hdf5" if kind in HDF else "parquet"
    column = "jets/truth" if kind in HDF else "truth"
    return {
        "format": format_,
        "holds": "latents",
        "files": [str(path)],
        "jets": N,
        "unit": "MeV",
        "columns": names,
        "labels": {"column": column, "values": VALUES},
    }


def run(output: Path, block: dict[str, Any], head: Path) -> None:
    spec = ReadLatentsSpec(where="latent.samples.source", files=Files.model_validate(block))
    read_latents.main(
        [
            *("--spec", spec.model_dump_json(), "--head", str(head)),
            *("--output", str(output), "--threads", "1"),
        ]
    )


@pytest.mark.parametrize("kind", [*KINDS, *HDF])
def test_each_layout_is_read_and_the_head_run(
    tmp_path: Path, model: tuple[Head, HeadConfig, Path], kind: str
) -> None:
    head, _, path = model
    columns = content()
    block = write(tmp_path / "latents", kind, columns)
    run(tmp_path / "out.parquet", block, path)
    read = latents.read_latents(
        tmp_path / "out.parquet", ["jet_id", "label", "jet_pt", "jet_eta", *latents.LAYERS]
    )
    kept = columns["truth"] != -1
    assert 0 < kept.sum() < N
    assert read["jet_id"].tolist() == columns["event"][kept].tolist()
    names = [CLASSES[label] for label in read["label"]]
    assert names == [VALUES[value] for value in columns["truth"][kept]]
    np.testing.assert_allclose(read["jet_pt"], columns["pt"][kept] / 1e3, rtol=1e-6)
    np.testing.assert_allclose(read["jet_eta"], columns["eta"][kept], rtol=1e-6)
    np.testing.assert_array_equal(read["z128"], columns["z"][kept])
    # The ONNX model and the head in torch agree.
    zp128, z10 = head.from_z128(torch.from_numpy(columns["z"][kept]))
    np.testing.assert_allclose(read["zp128"], zp128.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(read["z10"], z10.numpy(), rtol=1e-5, atol=1e-6)
    inputs = read_provenance(tmp_path / "out.parquet")["inputs"]
    assert set(inputs) == {str(tmp_path / "latents"), str(path)}


def test_a_file_says_what_it_holds(tmp_path: Path, model: tuple[Head, HeadConfig, Path]) -> None:
    block = write(tmp_path / "latents", "fixed", content())
    run(tmp_path / "out.parquet", block, model[2])
    kind = latents.kind_of(tmp_path / "out.parquet")
    assert kind == latents.Kind(CLASSES, (WIDTH, HIDDEN, 3), ("jet_pt", "jet_eta"))
    assert latents.labels_of(tmp_path / "out.parquet", ["top", "multijet"]) == [2, 0]
    with pytest.raises(InputError, match=r"has no class QCD.*multijet, h_bb, top"):
        latents.labels_of(tmp_path / "out.parquet", ["QCD"])
    with pytest.raises(InputError, match=r"jet_phi: column is missing.*jet_pt, jet_eta"):
        latents.read_latents(tmp_path / "out.parquet", ["jet_phi"])


@pytest.mark.parametrize("size", [1, 32, 1000])
def test_rows_pass_through_in_pieces(tmp_path: Path, size: int) -> None:
    columns = content()
    block = write(tmp_path / "latents", "lists", columns)
    with open_columns(tmp_path / "latents") as file:
        view = LatentView(file, Files.model_validate(block), CLASSES)
        pieces = list(view.iterate((10, 80), 0, size))
    assert max(rows for _, rows in pieces) <= size
    jets = pa.concat_tables([table for table, _ in pieces if len(table)])
    kept = columns["truth"][10:80] != -1
    assert jets["jet_id"].to_pylist() == columns["event"][10:80][kept].tolist()
    z = np.stack(jets["z128"].to_pylist())
    np.testing.assert_array_equal(z, columns["z"][10:80][kept])


def at(row: int, value: float, name: str) -> dict[str, np.ndarray]:
    columns = content()
    columns[name] = columns[name].astype(np.float64)
    columns[name][row] = value
    return columns


BAD: dict[str, tuple[dict[str, np.ndarray], str, str]] = {
    "nan": (at(70, np.nan, "z"), "lists", rf"z: has {WIDTH} NaN or infinite .*first: row 70"),
    "nan of one": (at(70, np.nan, "z"), "scalars", r"z_0: has 1 NaN or infinite .*row 70"),
    "large": (at(70, 1e300, "z"), "scalars", r"z_0: is 1e\+300 in row 70, .* single precision"),
    "label": (at(70, 7, "truth"), "fixed", r"truth: is 7.* in row 70.*25 = h_bb"),
    "no id": (at(70, 0.5, "event"), "fixed", r"event: is 0\.5 in row 70"),
    "repeated": (at(70, 3, "event") | {"truth": np.zeros(N)}, "fixed", r"jet_id: 1 ids.*: 3"),
    "empty": (content() | {"truth": np.full(N, -1)}, "fixed", r"have no jets of multijet, h_bb"),
    "width": (
        content() | {"z": np.zeros((N, WIDTH + 1), np.float32)},
        "fixed",
        rf"z: has {WIDTH + 1} numbers for each jet. The input of .*onnx takes {WIDTH}",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_named(
    tmp_path: Path, model: tuple[Head, HeadConfig, Path], case: str
) -> None:
    columns, kind, says = BAD[case]
    block = write(tmp_path / "bad", kind, columns)
    with pytest.raises(InputError, match=says) as caught:
        run(tmp_path / "out.parquet", block, model[2])
    assert caught.value.where in (str(tmp_path / "bad"), "latent.samples.source")
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize("kind", [*KINDS, *HDF])
def test_weights_are_refused_unless_they_are_to_be_ignored(
    tmp_path: Path, model: tuple[Head, HeadConfig, Path], kind: str
) -> None:
    columns = content() | {"evt_weight": np.linspace(0.5, 2.0, N)}
    block = write(tmp_path / "latents", kind, columns)
    with pytest.raises(InputError, match=r"latents: (jets/)?evt_weight: .*ignore_weights: true"):
        run(tmp_path / "out.parquet", block, model[2])
    assert not (tmp_path / "out.parquet").exists()
    run(tmp_path / "out.parquet", block | {"ignore_weights": True}, model[2])
    read = latents.read_latents(tmp_path / "out.parquet", ["jet_id"])
    assert read["jet_id"].tolist() == columns["event"][columns["truth"] != -1].tolist()


@pytest.mark.parametrize("kind", [*KINDS, *HDF])
def test_all_jets_may_be_of_one_class(
    tmp_path: Path, model: tuple[Head, HeadConfig, Path], kind: str
) -> None:
    columns = content()
    del columns["truth"]
    block = write(tmp_path / "latents", kind, columns) | {"labels": {"all": "top"}}
    run(tmp_path / "out.parquet", block, model[2])
    read = latents.read_latents(tmp_path / "out.parquet", ["jet_id", "label", "z128"])
    assert read["jet_id"].tolist() == columns["event"].tolist()
    assert set(read["label"].tolist()) == {CLASSES.index("top")}
    np.testing.assert_array_equal(read["z128"], columns["z"])
    with pytest.raises(InputError, match=r"labels\.all: labels jets as Hbb.*multijet, h_bb, top"):
        run(tmp_path / "out.parquet", block | {"labels": {"all": "Hbb"}}, model[2])


def test_lists_of_different_lengths(tmp_path: Path, model: tuple[Head, HeadConfig, Path]) -> None:
    columns = content()
    block = write(tmp_path / "bad", "lists", columns)
    table = pq.read_table(tmp_path / "bad")
    first, odd = np.flatnonzero(columns["truth"] != -1)[[0, 4]]
    z = [one[:-1] if i == odd else one for i, one in enumerate(columns["z"])]
    pq.write_table(
        table.set_column(table.column_names.index("z"), "z", pa.array(z)), block["files"][0]
    )
    says = rf"z: has {WIDTH - 1} numbers in row {odd}, {WIDTH} in row {first}"
    with pytest.raises(InputError, match=says):
        run(tmp_path / "out.parquet", block, model[2])


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"z128": "y"}, r"y: column is missing, which is to be z128"),
        ({"z128": "z_{0..30}"}, r"z_0: column is missing"),
        ({"z128": "z_{3..0}"}, r"columns: z_\{3\.\.0\}: counts down"),
        ({"z128": "z", "p_b": "pt"}, r"columns: p_b: is not a name of ours here"),
        ({"z128": "z", "jet_phi": "phi"}, r"phi: column is missing, which is to be jet_phi"),
    ],
)
def test_columns_that_are_not_there(
    tmp_path: Path,
    model: tuple[Head, HeadConfig, Path],
    columns: dict[str, str],
    says: str,
) -> None:
    block = write(tmp_path / "bad", "fixed", content()) | {"columns": columns}
    with pytest.raises(InputError, match=says):
        run(tmp_path / "out.parquet", block, model[2])


@pytest.mark.parametrize("with_ids", ["a", "b"])
def test_ids_in_some_files_only(
    tmp_path: Path, model: tuple[Head, HeadConfig, Path], with_ids: str
) -> None:
    block = write(tmp_path / "a.parquet", "fixed", content())
    block["columns"].pop("jet_id", None)
    table = pq.read_table(tmp_path / "a.parquet")
    for name in "ab":
        ids = {"jet_id": np.arange(N)} if name == with_ids else {}
        columns = {one: table[one] for one in table.column_names if one != "jet_id"}
        pq.write_table(pa.table(columns | ids), tmp_path / f"{name}.parquet")
    block["files"] = [str(tmp_path / "*.parquet")]
    says = rf"b\.parquet: jet_id: is in .*{with_ids}\.parquet, but not in"
    with pytest.raises(InputError, match=says):
        run(tmp_path / "out.parquet", block, model[2])


def test_files_with_different_columns(tmp_path: Path, model: tuple[Head, HeadConfig, Path]) -> None:
    block = write(tmp_path / "a.parquet", "fixed", content())
    table = pq.read_table(tmp_path / "a.parquet").append_column("jet_phi", pa.array(np.zeros(N)))
    pq.write_table(table, tmp_path / "b.parquet")
    block["files"] = [str(tmp_path / "*.parquet")]
    with pytest.raises(InputError, match=r"b\.parquet: jet_phi: is not in all files"):
        run(tmp_path / "out.parquet", block, model[2])


def edited(path: Path, spec: HeadConfig, **changes: Any) -> HeadConfig:
    """Write a head after an edit of its graph: another input width, type or fixed rows."""
    graph = onnx.load(spec.file)
    shape = graph.graph.input[0].type.tensor_type.shape
    if "rows" in changes:
        for one in (*graph.graph.input, *graph.graph.output):
            one.type.tensor_type.shape.dim[0].dim_value = changes["rows"]
    if "free" in changes:
        shape.dim[1].dim_param = "width"
    if "nan" in changes:
        for constant in graph.graph.initializer:
            if constant.dims == [3]:
                constant.CopyFrom(
                    onnx.numpy_helper.from_array(np.full(3, np.nan, np.float32), constant.name)
                )
    onnx.save(graph, path)
    return spec.model_copy(update={"file": str(path)})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rows": 1}, r"model: cannot be run on 2 jets.*free first dimension"),
        ({"free": True}, r"inputs: are z128: tensor\(float\).*with a fixed width"),
        ({"nan": True}, r"logits: is NaN or infinite for 2 of 2 jets"),
    ],
)
def test_heads_that_cannot_be_used(
    tmp_path: Path, model: tuple[Head, HeadConfig, Path], changes: dict[str, Any], says: str
) -> None:
    spec = edited(tmp_path / "bad.onnx", model[1], **changes)
    with pytest.raises(InputError, match=says):
        read_head.main(["--spec", spec.model_dump_json(), "--output", str(tmp_path / "head.onnx")])
    assert not (tmp_path / "head.onnx").exists()


def test_settings_that_do_not_fit_the_head(
    tmp_path: Path, model: tuple[Head, HeadConfig, Path]
) -> None:
    text = tmp_path / "text.onnx"
    text.write_text("no model")
    for changes, says in (
        ({"classes": ("a", "b")}, r"logits: has 3 numbers for each jet.*names 2: a, b"),
        ({"zp128": "last"}, r"last: is no output, but latent\.head\.zp128.*logits, hidden"),
        ({"file": "no.onnx"}, r"no\.onnx: file: does not exist"),
        ({"file": str(text)}, r"text\.onnx: file: is no ONNX model"),
    ):
        spec = model[1].model_copy(update=changes)
        with pytest.raises(InputError, match=says):
            read_head.main(["--spec", spec.model_dump_json(), "--output", str(tmp_path / "h.onnx")])
    for wrong, why in (
        ({"classes": ["a", "a"]}, "twice"),
        ({"classes": ["a", "b.c"]}, "pattern"),
        ({"zp128": "logits", "z10": "logits"}, "two outputs"),
    ):
        with pytest.raises(ValueError, match=why):
            HeadConfig.model_validate(model[1].model_dump() | wrong)


@pytest.mark.parametrize(
    ("layer", "says"),
    [("Softmax", "they sum to one.*without its softmax"), ("Sigmoid", "do not sum.*its sigmoids")],
)
def test_a_head_of_probabilities_is_refused(
    tmp_path: Path,
    model: tuple[Head, HeadConfig, Path],
    monkeypatch: pytest.MonkeyPatch,
    layer: str,
    says: str,
) -> None:
    graph = onnx.load(model[1].file)
    graph.graph.node.append(onnx.helper.make_node(layer, ["logits"], ["p"]))
    graph.graph.output.append(onnx.helper.make_tensor_value_info("p", 1, ["jets", len(CLASSES)]))
    onnx.save(graph, tmp_path / "more.onnx")
    for output in ("logits", "p"):
        spec = model[1].model_copy(update={"file": str(tmp_path / "more.onnx"), "z10": output})
        head = tmp_path / output / "head.onnx"
        read_head.main(["--spec", spec.model_dump_json(), "--output", str(head)])
    # A spread of latents as wide as makes some probabilities vanish in single precision. Of single
    # jets, sigmoids may sum to one.
    block = write(tmp_path / "latents", "fixed", content() | {"z": 300 * content()["z"]})
    monkeypatch.setattr(LatentView.iterate, "__defaults__", (1,))
    run(tmp_path / "out.parquet", block, tmp_path / "logits/head.onnx")
    kept = pq.read_metadata(tmp_path / "out.parquet").num_rows
    (tmp_path / "out.parquet").unlink()
    says = rf"head\.onnx: p: are probabilities: .*{says}"
    with pytest.raises(InputError, match=says) as caught:
        run(tmp_path / "out.parquet", block, tmp_path / "p/head.onnx")
    assert f"for each of {kept} jets" in caught.value.problem
    assert not (tmp_path / "out.parquet").exists()


def test_logits_may_look_like_probabilities_of_some_jets(
    model: tuple[Head, HeadConfig, Path],
) -> None:
    head = load_head_model(model[2], 1)
    rng = np.random.default_rng(0)
    softmax = rng.dirichlet(np.ones(200), 5000).astype(np.float32)
    sigmoids = rng.uniform(size=(5000, 3)).astype(np.float32)
    sigmoids[:2] = [[0, 0, 1], [1, 1, 1]]

    def told(*pieces: np.ndarray) -> str:
        check = LogitCheck(head)
        for piece in pieces:
            check.add(piece)
        try:
            check.require()
        except InputError as error:
            return error.problem
        return ""

    assert "they sum to one for each of 5000 jets" in told(softmax)
    assert "do not sum to one for each of 5000 jets" in told(sigmoids)
    assert "do not sum to one" in told(sigmoids[:1], sigmoids[1:])
    assert "do not sum to one" in told(softmax, 0.5 * softmax[:1])
    assert told() == told(softmax[:0]) == ""
    for outputs in (softmax, sigmoids):
        negative = np.where(np.arange(outputs.shape[1]) == 0, -0.01, outputs)
        for other in (np.log(outputs[5:]), negative, 1.01 + outputs):
            assert told(outputs, other[:1]) == told(other[:1], outputs) == ""


def test_a_head_is_one_file(tmp_path: Path, model: tuple[Head, HeadConfig, Path]) -> None:
    path = tmp_path / "parts.onnx"
    graph = onnx.load(model[1].file)
    onnx.save(graph, path, save_as_external_data=True, location="weights", size_threshold=0)
    spec = model[1].model_copy(update={"file": str(path)})
    output = tmp_path / "study/head.onnx"
    with pytest.raises(InputError, match=r"parts\.onnx: file: has weights in other files"):
        read_head.main(["--spec", spec.model_dump_json(), "--output", str(output)])
    assert not output.exists()


def test_model_and_description_belong_together(
    tmp_path: Path, model: tuple[Head, HeadConfig, Path]
) -> None:
    for suffix in (".onnx", ".json"):
        (tmp_path / f"head{suffix}").write_bytes(model[2].with_suffix(suffix).read_bytes())
    loaded = load_head_model(tmp_path / "head.onnx", 1)
    assert (loaded.width, loaded.widths) == (WIDTH, (HIDDEN, len(CLASSES)))
    assert {"zp128": loaded.spec.zp128, "z10": loaded.spec.z10} == OUTPUTS
    with (tmp_path / "head.onnx").open("ab") as stream:
        stream.write(b" ")
    with pytest.raises(InputError, match=r"head\.onnx: file: is not the one that head\.json"):
        load_head_model(tmp_path / "head.onnx", 1)
