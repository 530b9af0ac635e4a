"""`otcal apply` on real files of all formats: what is added, what stays, what is refused."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from otcal.__main__ import main
from otcal.bundle import root_files
from otcal.bundle.card import read_card
from otcal.bundle.exporting import export_bundle
from otcal.bundle.rewriting import Request
from otcal.config.bundle import BundleConfig, LatentBundleConfig
from otcal.runtime.errors import InputError
from otcal.runtime.files import read_json
from otcal.samples.flavours import FLAVOURS
from otcal.tagger.head import load_head
from otcal.transport.api import fit_map
from otcal.transport.fitted import TransportMap
from otcal.transport.simplex_maps import SimplexMap
from support.bundles import VARIATIONS, probabilities, write_simplex_study

N = 300
COLUMNS = [f"p_{name}" for name in FLAVOURS]
CHUNK = ("--chunk", "70")
STATUS = "calibrated_status"


def jets() -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities and labels: two jets outside, one without map, NaN, off the simplex."""
    labels = (np.arange(N) % 3).astype(np.int32)
    p = np.stack([probabilities(label, 1, 100 + i)[0] for i, label in enumerate(labels)])
    p = np.clip(p, 1e-3, None)
    p /= p.sum(axis=1, keepdims=True)
    p[4] = [1 - 2e-9, 1e-9, 1e-9]
    labels[7] = 15
    p[9, 1] = np.nan
    p[11] *= 1.01
    p[12] = [1.0, 0.0, 0.0]
    return p, labels


def expected(studies: dict[str, Path], variation: str = "nominal") -> np.ndarray:
    p, labels = jets()
    result = np.full(p.shape, np.nan)
    for k, name in enumerate(FLAVOURS):
        path = studies["simplex"] / f"maps/{name}/{variation}.safetensors"
        rows = np.flatnonzero((labels == k) & ~np.isin(np.arange(N), [9, 11, 12]))
        result[rows] = SimplexMap.load(path, name)(p[rows]).p
    return result


def check(new: dict[str, np.ndarray], studies: dict[str, Path]) -> None:
    status = new[STATUS]
    assert {i: int(status[i]) for i in (4, 7, 9, 11, 12)} == {4: 1, 7: 2, 9: 3, 11: 4, 12: 4}
    assert (status == 0).sum() > 0.9 * N
    for variation in ("nominal", *VARIATIONS):
        suffix = "" if variation == "nominal" else f"_{variation}"
        found = np.stack([new[f"calibrated_{name}{suffix}"] for name in COLUMNS], axis=1)
        np.testing.assert_allclose(found, expected(studies, variation), rtol=0, atol=2e-5)


def apply(*arguments: object) -> None:
    main(["apply", *map(str, arguments)])


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit) as stop:
        apply(*arguments)
    assert stop.value.code == 2
    return capsys.readouterr().err


def parquet(path: Path) -> pa.Table:
    p, labels = jets()
    kinds = {"nested": [{"a": i, "b": [i, None]} for i in range(N)], "name": ["x", None] * (N // 2)}
    columns = dict(zip(COLUMNS, p.astype(np.float32).T, strict=True)) | {"label": labels}
    table = pa.table({**kinds, **columns, "jet_id": pa.array(range(N), pa.uint64())})
    field = table.schema.field("jet_id").with_metadata({"unit": "none"})
    schema = table.schema.set(table.schema.names.index("jet_id"), field)
    table = table.cast(schema.with_metadata({"production": "v7"}))
    codecs = dict.fromkeys(COLUMNS, "snappy") | {"label": "gzip"}
    with pq.ParquetWriter(
        path, table.schema, compression=codecs, write_page_checksum=True
    ) as writer:
        for start, stop in ((0, 50), (50, 250), (250, N)):
            writer.write_table(table.slice(start, stop - start))
    return pq.read_table(path)


def test_parquet(bundle: Path, studies: dict[str, Path], tmp_path: Path) -> None:
    before = parquet(tmp_path / "in.parquet")
    apply(bundle, tmp_path / "in.parquet", tmp_path / "out.parquet", *CHUNK)
    file = pq.ParquetFile(tmp_path / "out.parquet")
    after = file.read()
    old = after.select(before.column_names)
    assert old.schema.equals(before.schema)
    assert repr(old.to_pylist()) == repr(before.to_pylist())  # NaN is not equal to itself
    assert after.schema.metadata[b"production"] == b"v7"
    assert after.schema.field("jet_id").metadata[b"unit"] == b"none"
    sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert sizes == [50, 70, 70, 60, 50]
    group = file.metadata.row_group(0)
    chunks = [group.column(i) for i in range(group.num_columns)]
    codecs = {chunk.path_in_schema: chunk.compression for chunk in chunks}
    assert (codecs["p_b"], codecs["label"], codecs["calibrated_p_b"]) == ("SNAPPY", "GZIP", "ZSTD")
    new = {name: after[name].to_numpy() for name in after.column_names[before.num_columns :]}
    assert len(new) == 3 * (1 + len(VARIATIONS)) + 1
    check(new, studies)
    sidecar = read_json(tmp_path / "out.parquet.provenance.json")
    assert sum(sidecar["jets"].values()) == N
    assert sidecar["jets"]["no_map"] == sidecar["jets"]["not_finite"] == 1
    assert sidecar["jets"]["not_probabilities"] == 2


def test_parquet_codecs_of_lists_whose_elements_have_an_old_name(
    bundle: Path, tmp_path: Path
) -> None:
    parquet(tmp_path / "before.parquet")
    table = pq.read_table(tmp_path / "before.parquet", columns=[*COLUMNS, "label"])
    table = table.append_column("hits", pa.array([[i] * (i % 3) for i in range(N)]))
    codecs = dict.fromkeys(COLUMNS, "snappy") | {"label": "gzip", "hits.list.item": "lz4"}
    pq.write_table(
        table, tmp_path / "in.parquet", compression=codecs, use_compliant_nested_type=False
    )
    apply(bundle, tmp_path / "in.parquet", tmp_path / "out.parquet")
    group = pq.ParquetFile(tmp_path / "out.parquet").metadata.row_group(0)
    found = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert found["hits.list.element"].compression == "LZ4"
    assert found["label"].compression == "GZIP"
    assert found[STATUS].compression == "ZSTD"


def hdf5(path: Path) -> np.ndarray:
    p, labels = jets()
    kind = [("pt", "<f4"), *((name, "<f4") for name in COLUMNS), ("label", "<i4"), ("tag", "S3")]
    rows = np.zeros(N, kind)
    rows["pt"], rows["label"], rows["tag"] = np.arange(N), labels, b"abc"
    for name, values in zip(COLUMNS, p.T, strict=True):
        rows[name] = values
    with h5py.File(path, "w") as file:
        file.attrs["version"] = "p1234"
        file.create_dataset("eventwise/count", data=np.arange(5))
        empty = np.zeros((N, 4), [("d0", "f2"), ("valid", "?")])
        tracks = file.create_dataset("tracks", data=empty)
        tracks.attrs["maximum"] = 4
        made = file.create_dataset(
            "jets",
            data=rows,
            chunks=(64,),
            maxshape=(None,),
            compression="gzip",
            compression_opts=7,
            shuffle=True,
        )
        made.attrs["flavour_label"] = ["b", "c", "light"]
        made.attrs["flag"] = np.int16(3)
        file["link"] = h5py.SoftLink("/tracks")
    return rows


def test_hdf5_compound(bundle: Path, studies: dict[str, Path], tmp_path: Path) -> None:
    before = hdf5(tmp_path / "in.h5")
    apply(bundle, tmp_path / "in.h5", tmp_path / "out.h5", *CHUNK, "--table", "jets")
    with h5py.File(tmp_path / "out.h5") as file, h5py.File(tmp_path / "in.h5") as old:
        jets = file["jets"]
        after = jets[:]
        for name in before.dtype.names:
            np.testing.assert_array_equal(after[name], before[name])
        assert jets.dtype["tag"] == before.dtype["tag"]
        assert (jets.chunks, jets.maxshape, jets.shuffle) == ((64,), (None,), True)
        assert (jets.compression, jets.compression_opts) == ("gzip", 7)
        assert list(jets.attrs["flavour_label"]) == ["b", "c", "light"]
        assert jets.attrs["flag"].dtype == np.int16
        assert set(file) == set(old)
        assert file.attrs["version"] == "p1234"
        np.testing.assert_array_equal(file["tracks"][:], old["tracks"][:])
        assert file["tracks"].attrs["maximum"] == 4
        assert file.get("link", getlink=True).path == "/tracks"
        np.testing.assert_array_equal(file["eventwise/count"][:], np.arange(5))
        check({name: after[name] for name in after.dtype.names[len(before.dtype) :]}, studies)


def test_hdf5_filters_of_any_kind_stay(bundle: Path, tmp_path: Path) -> None:
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_filter(h5py.h5z.FILTER_NBIT, h5py.h5z.FLAG_OPTIONAL, ())
    layout.set_shuffle()
    layout.set_deflate(5)
    hdf5(tmp_path / "before.h5")
    with h5py.File(tmp_path / "before.h5") as old, h5py.File(tmp_path / "in.h5", "w") as file:
        rows = old["jets"][:]
        file.create_dataset("jets", data=rows, chunks=(64,), dcpl=layout)
    apply(bundle, tmp_path / "in.h5", tmp_path / "out.h5")
    with h5py.File(tmp_path / "out.h5") as file:
        kept = file["jets"].id.get_create_plist()
        codes = [kept.get_filter(i)[0] for i in range(kept.get_nfilters())]
        assert codes == [h5py.h5z.FILTER_NBIT, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE]
        np.testing.assert_array_equal(file["jets"][:]["p_b"], rows["p_b"])


def test_hdf5_group_of_columns(bundle: Path, studies: dict[str, Path], tmp_path: Path) -> None:
    rows = hdf5(tmp_path / "compound.h5")
    with h5py.File(tmp_path / "in.h5", "w") as file:
        for name in rows.dtype.names:
            file[f"a/jets/{name}"] = rows[name]
    apply(bundle, tmp_path / "in.h5", tmp_path / "out.h5", *CHUNK, "--table", "a/jets")
    with h5py.File(tmp_path / "out.h5") as file:
        found = {name: node[:] for name, node in file["a/jets"].items()}
    for name in rows.dtype.names:
        np.testing.assert_array_equal(found.pop(name), rows[name])
    check(found, studies)


COUNTS = np.array([0, 3, 1, 2, 4] * (N // 10))  # jets per event, N in all


def root(path: Path, jagged: bool, ntuple: bool = False) -> None:
    p, labels = jets()
    columns = dict(zip(COLUMNS, p.astype(np.float32).T, strict=True)) | {"label": labels}
    shape = (lambda values: ak.unflatten(values, COUNTS)) if jagged else np.asarray
    branches = {name: shape(values) for name, values in columns.items()}
    entries = len(COUNTS) if jagged else N
    branches["run"] = np.arange(entries, dtype=np.int64)
    branches["hits"] = ak.unflatten(np.arange(2 * entries), np.full(entries, 2))
    branches["fixed"] = np.arange(3.0 * entries).reshape(-1, 3)
    with uproot.recreate(path) as file:
        if ntuple:
            branches["text"] = ak.Array(["one", "two"] * (entries // 2))
            file.mkrntuple("jets/tree", branches)
        else:
            kinds = {name: ak.type(ak.Array(one)).content for name, one in branches.items()}
            kinds = {
                name: f"var * {kind.content}"
                if isinstance(kind, ak.types.ListType)
                else np.asarray(branches[name]).dtype
                for name, kind in kinds.items()
            }
            kinds["fixed"] = np.dtype(("f8", (3,)))
            tree = file.mktree(
                "jets/tree",
                kinds,
                title="some jets",
                counter_name=lambda one: "nhits" if one == "hits" else "njets",
            )
            tree.extend(branches)
        other = file.mktree("meta", {"weight": "f8"})
        other.extend({"weight": np.arange(90.0)})
        file["cutflow"] = np.histogram([1.0, 2.0, 2.0], bins=3)


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("jagged", [False, True])
@pytest.mark.parametrize("ntuple", [False, True])
def test_root(
    bundle: Path, studies: dict[str, Path], tmp_path: Path, jagged: bool, ntuple: bool, beside: bool
) -> None:
    root(tmp_path / "in.root", jagged, ntuple)
    options = ["--table", "jets/tree", *(["--beside"] if beside else [])]
    apply(bundle, tmp_path / "in.root", tmp_path / "out.root", *CHUNK, *options)
    with uproot.open(tmp_path / "in.root") as old, uproot.open(tmp_path / "out.root") as file:
        tree, before = file["jets/tree"], old["jets/tree"]
        names = before.keys()
        assert tree.classname == before.classname
        assert ak.array_equal(tree.arrays(names), before.arrays(names), equal_nan=True)
        assert ak.type(tree.arrays(names)) == ak.type(before.arrays(names))
        if not ntuple:
            assert tree.title == "some jets"
            assert {b.name: b.typename for b in before.branches}.items() <= {
                b.name: b.typename for b in tree.branches
            }.items()
        new = file["jets/tree_calibrated"] if beside else tree
        added = [name for name in list(new.keys()) if name.startswith("calibrated_")]
        assert len(added) == 3 * (1 + len(VARIATIONS)) + 1
        arrays = new.arrays(added)
        if jagged:
            assert ak.num(arrays[STATUS]).tolist() == COUNTS.tolist()
            arrays = {name: ak.flatten(arrays[name]) for name in added}
        check({name: np.asarray(arrays[name]) for name in added}, studies)
        assert file["meta"]["weight"].array().tolist() == list(range(90))
        assert file["cutflow"].values().tolist() == old["cutflow"].values().tolist()


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("codec", [None, uproot.ZLIB(1), uproot.LZ4(4), uproot.LZMA(3)])
def test_root_files_keep_their_codec(
    bundle: Path, tmp_path: Path, codec: uproot.compression.Compression | None, beside: bool
) -> None:
    columns = dict(zip(COLUMNS, jets()[0].T, strict=True)) | {"label": jets()[1]}
    with uproot.recreate(tmp_path / "in.root", compression=codec) as file:
        file.mktree("tree", {name: one.dtype for name, one in columns.items()}).extend(columns)
    apply(bundle, tmp_path / "in.root", tmp_path / "out.root", *(["--beside"] if beside else []))
    with uproot.open(tmp_path / "out.root") as file:
        new = file["tree_calibrated" if beside else "tree"]
        assert file.file.compression == codec
        # uproot notes no codec with a branch: its size tells.
        status = new[STATUS]
        assert (status.compressed_bytes < status.uncompressed_bytes) == (codec is not None)


def test_a_counter_that_root_must_make_takes_no_other_branch_s_name(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vectors have no counter in a file; here one that is there isn't recognised as such."""
    p, labels = jets()
    branches = dict(zip(COLUMNS, p.T, strict=True)) | {"label": labels}
    branches["nx"] = np.arange(N)
    branches["x"] = ak.unflatten(np.arange(2.0 * N), np.full(N, 2))
    kinds = {name: values.dtype for name, values in branches.items() if name != "x"}
    with uproot.recreate(tmp_path / "in.root") as file:
        kinds["x"] = "var * float64"
        file.mktree("tree", kinds, counter_name=lambda one: "count").extend(branches)
    monkeypatch.setattr("otcal.bundle.root_files._counters", lambda tree: {})
    apply(bundle, tmp_path / "in.root", tmp_path / "out.root", *CHUNK)
    with uproot.open(tmp_path / "out.root") as file:
        tree = file["tree"]
        assert tree["nx"].array().tolist() == list(range(N))
        assert tree["x"].array().tolist() == branches["x"].tolist()


@pytest.mark.parametrize(
    "error",
    [
        uproot.interpretation.identify.UnknownInterpretation("no rule", "in.root", "tree;1/track"),
        uproot.interpretation.objects.CannotBeAwkward("TLorentzVector"),
    ],
)
def test_a_branch_that_cannot_be_read_is_no_traceback(
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
) -> None:
    root(tmp_path / "in.root", jagged=False, ntuple=False)

    def arrays(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(uproot.behaviors.TBranch.HasBranches, "arrays", arrays)
    options = [tmp_path / "in.root", tmp_path / "out.root", "--table", "jets/tree"]
    said = refused(capsys, bundle, *options)
    assert "in.root: tree: has a branch that uproot cannot read" in said
    assert "Use --beside" in said
    assert not (tmp_path / "out.root").exists()
    assert "Use --beside" not in refused(capsys, bundle, *options, "--beside")


def test_latents_and_the_rest_of_the_head(
    latent_bundle: Path, studies: dict[str, Path], tmp_path: Path
) -> None:
    source = studies["latent"] / "latents/source.parquet"
    apply(latent_bundle, source, tmp_path / "out.parquet")
    before, after = pq.read_table(source), pq.read_table(tmp_path / "out.parquet")
    assert after.select(before.column_names).equals(before)
    label = before["label"].to_numpy()
    status = after[STATUS].to_numpy()
    assert set(status[label == 2]) == {2}
    assert set(status[label < 2]) <= {0, 1}
    z = np.stack(before["z128"].to_numpy())
    moved = TransportMap.load(studies["latent"] / "transport/map.safetensors").transport(z)
    import torch

    zp128, z10 = load_head(studies["latent"] / "tagger/tagger.safetensors").from_z128(
        torch.from_numpy(moved)
    )
    layers = {"z128": moved, "zp128": zp128.numpy(), "z10": z10.numpy()}
    for name, expected in layers.items():
        found = np.stack(after[f"calibrated_{name}"].to_numpy())
        np.testing.assert_allclose(found[label < 2], expected[label < 2], rtol=0, atol=3e-5)
        assert np.isnan(found[label == 2]).all()


@pytest.mark.parametrize("form", ["parquet", "compound", "group", "root", "jagged"])
def test_a_latent_may_be_a_column_for_each_number(
    latent_bundle: Path,
    studies: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    form: str,
) -> None:
    source = pq.read_table(studies["latent"] / "latents/source.parquet")
    z, label = np.stack(source["z128"].to_numpy()), source["label"].to_numpy()
    last = z.shape[1] - 1
    columns = {f"z_{i}": z[:, i] for i in range(last + 1)} | {"label": label}
    suffix = {"compound": "h5", "group": "h5", "jagged": "root"}.get(form, form)
    path, out = tmp_path / f"in.{suffix}", tmp_path / f"out.{suffix}"
    if form == "parquet":
        pq.write_table(pa.table(columns), path)
    elif suffix == "h5":
        with h5py.File(path, "w") as file:
            if form == "group":
                for name, values in columns.items():
                    file[f"jets/{name}"] = values
            else:
                file["jets"] = np.rec.fromarrays(columns.values(), names=[*columns])
    else:
        branches = dict(columns)
        if form == "jagged":
            counts = [len(label) - 5, 0, 5]
            branches = {name: ak.unflatten(values, counts) for name, values in columns.items()}
        kinds = {name: ak.type(one).content for name, one in branches.items()}
        with uproot.recreate(path) as file:
            file.mktree("jets", kinds, counter_name=lambda name: "njets").extend(branches)
    options = ["--table", "jets"] if suffix != "parquet" else []
    wide = "z128=z_{0..%d}"
    said = refused(capsys, latent_bundle, path, out, *options, "--columns", wide % (last - 1))
    assert f"are {last} columns. z128 takes {last + 1} numbers per jet" in said
    said = refused(capsys, latent_bundle, path, out, *options, "--columns", wide % (last + 1))
    assert f"z_{last + 1}: column is missing" in said
    options += [*CHUNK, "--columns", wide % last]
    if form == "jagged":
        said = refused(capsys, latent_bundle, path, out, *options)
        assert "calibrated_z128: is of var * 128 * float32, which uproot cannot write" in said
        assert "one jet per entry" in said
        return
    apply(latent_bundle, path, out, *options)
    if form == "parquet":
        found = np.stack(pq.read_table(out)["calibrated_z128"].to_numpy())
    elif suffix == "h5":
        with h5py.File(out) as file:
            found = file["jets"]["calibrated_z128"][:]
    else:
        with uproot.open(out) as file:
            found = file["jets"]["calibrated_z128"].array(library="np")
    moved = TransportMap.load(studies["latent"] / "transport/map.safetensors").transport(z)
    np.testing.assert_allclose(found[label < 2], moved[label < 2], rtol=0, atol=3e-5)


def test_a_map_with_a_condition_is_exported_and_applied_with_it(
    studies: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(studies["latent"], tmp_path / "latent")
    path, source = (
        tmp_path / "latent" / name
        for name in ("transport/map.safetensors", "latents/source.parquet")
    )
    before = pq.read_table(source)
    z, pt = np.stack(before["z128"].to_numpy()), before["jet_pt"].to_numpy()[:, None]
    fitted = fit_map(z, z + pt / 100.0, conditions=(pt, pt), method="gaussian", diagnostics=False)
    notes = read_json(path.with_suffix(".json"))["notes"]
    fitted.save(path, {**notes, "conditions": ["jet_pt"]})
    export_bundle("latent", tmp_path / "latent", tmp_path / "bundle", LatentBundleConfig())
    card = read_card(tmp_path / "bundle")
    assert card.conditions == ("jet_pt",)
    assert set(card.validity["map"]) == {"z128", "jet_pt"}
    apply(tmp_path / "bundle", source, tmp_path / "out.parquet")
    after = pq.read_table(tmp_path / "out.parquet")
    kept = before["label"].to_numpy() < 2
    found = np.stack(after["calibrated_z128"].to_numpy())[kept]
    np.testing.assert_allclose(found, fitted.transport(z, pt)[kept], rtol=0, atol=1e-4)
    place = before.schema.get_field_index("jet_pt")
    pq.write_table(before.set_column(place, "jet_pt", pa.array(1e3 * pt[:, 0])), tmp_path / "m.pq")
    apply(tmp_path / "bundle", tmp_path / "m.pq", tmp_path / "mev.pq", "--unit", "MeV")
    again = np.stack(pq.read_table(tmp_path / "mev.pq")["calibrated_z128"].to_numpy())[kept]
    np.testing.assert_allclose(again, found, rtol=0, atol=1e-4)
    low = before.set_column(
        before.schema.get_field_index("jet_pt"), "jet_pt", pa.array(pt[:, 0] - 400.0)
    )
    pq.write_table(low, tmp_path / "low.parquet")
    apply(tmp_path / "bundle", tmp_path / "low.parquet", tmp_path / "flagged.parquet")
    status = pq.read_table(tmp_path / "flagged.parquet")[STATUS].to_numpy()
    assert set(status[kept & (pt[:, 0] < 800)]) == {1}  # moved, outside the range of jet_pt


def test_some_of_a_tagger_s_probabilities_are_divided_by_their_sum(tmp_path: Path) -> None:
    """As when the study read them: a tagger with a fourth class."""
    study = write_simplex_study(tmp_path, {"files": {"normalise": True}})
    export_bundle("simplex", study, tmp_path / "bundle", BundleConfig())
    assert read_card(tmp_path / "bundle").normalise
    table = parquet(tmp_path / "whole.parquet")
    parts = table
    for name in COLUMNS:
        values = pa.array(0.8 * table[name].to_numpy())
        parts = parts.set_column(parts.schema.get_field_index(name), name, values)
    pq.write_table(parts, tmp_path / "parts.parquet")
    found = []
    for name in ("whole", "parts"):
        apply(tmp_path / "bundle", tmp_path / f"{name}.parquet", tmp_path / f"{name}-out.parquet")
        found.append(pq.read_table(tmp_path / f"{name}-out.parquet"))
    np.testing.assert_array_equal(*(one[STATUS] for one in found))
    for name in COLUMNS:
        whole, part = (one[f"calibrated_{name}"].to_numpy() for one in found)
        np.testing.assert_allclose(part, whole, rtol=0, atol=1e-5)


def test_names_labels_and_variations_by_option(bundle: Path, tmp_path: Path) -> None:
    table = parquet(tmp_path / "a.parquet")
    labels = np.array([5, 4, 0])[table["label"].to_numpy() % 3]
    table = table.rename_columns({"p_b": "GN2_pb"}).append_column("truth", pa.array(labels))
    pq.write_table(table, tmp_path / "in.parquet")
    apply(
        *(bundle, tmp_path / "in.parquet", tmp_path / "out.parquet", "--columns", "p_b=GN2_pb"),
        *("--label", "truth", "--labels", "5=b", "4=c", "--prefix", "ot_"),
        *("--variations", "eigen1_up", "--copy-unmapped"),
    )
    after = pq.read_table(tmp_path / "out.parquet")
    assert [name for name in after.column_names if name.startswith("ot_")] == [
        *(f"ot_{name}" for name in COLUMNS),
        *(f"ot_{name}_eigen1_up" for name in COLUMNS),
        "ot_status",
    ]
    light = (labels == 0) & (after["ot_status"].to_numpy() == 2)
    assert light.sum() > 90
    for name, column in zip(COLUMNS, ["GN2_pb", *COLUMNS[1:]], strict=True):
        found, given = after[f"ot_{name}"].to_numpy(), after[column].to_numpy()
        np.testing.assert_allclose(found[light], given[light], rtol=1e-6)


def test_an_output_is_not_replaced_unasked(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parquet(tmp_path / "in.parquet")
    (tmp_path / "out.parquet").write_text("precious")
    paths = (bundle, tmp_path / "in.parquet", tmp_path / "out.parquet")
    assert "out.parquet: file: exists" in refused(capsys, *paths)
    assert (tmp_path / "out.parquet").read_text() == "precious"
    apply(*paths, "--force")
    assert pq.read_table(tmp_path / "out.parquet").num_rows == N
    same = (bundle, tmp_path / "in.parquet", tmp_path / "in.parquet", "--force")
    assert "is the input" in refused(capsys, *same)


@pytest.mark.parametrize("suffix", ["parquet", "h5", "root"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.98])
def test_a_file_that_is_cut_off_leaves_nothing(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str, share: float
) -> None:
    path = tmp_path / f"in.{suffix}"
    {"parquet": parquet, "h5": hdf5, "root": lambda path: root(path, True)}[suffix](path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    table = {"parquet": [], "h5": ["--table", "jets"], "root": ["--table", "jets/tree"]}[suffix]
    message = refused(capsys, bundle, path, tmp_path / f"out.{suffix}", *table)
    assert f"in.{suffix}: file: cannot be read" in message
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", ["parquet", "h5", "root"])
@pytest.mark.parametrize("space", ["none", "the input's", "nearly enough"])
def test_a_full_disk_is_named_and_leaves_nothing(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str, space: str
) -> None:
    path, out = tmp_path / f"in.{suffix}", tmp_path / f"out.{suffix}"
    {"parquet": parquet, "h5": hdf5, "root": lambda path: root(path, True)}[suffix](path)
    content = path.read_bytes()
    table = {"parquet": [], "h5": ["--table", "jets"], "root": ["--table", "jets/tree"]}[suffix]
    apply(bundle, path, out, *table)
    enough = out.stat().st_size
    for made in (out, out.with_name(f"{out.name}.provenance.json")):
        made.unlink()
    most = {"none": 0, "the input's": len(content), "nearly enough": enough - 1}[space]
    assert most < enough
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        message = refused(capsys, bundle, path, out, *table)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert message.count("\n") == 1
    assert f"out.{suffix}: file: cannot be written (File too large)" in message
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == content
    apply(bundle, path, out, *table)  # nothing of the failure is left in the process either
    assert out.stat().st_size == enough


def test_a_flipped_byte_is_found_by_the_checksum_of_its_page(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "in.parquet"
    parquet(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 1
    path.write_bytes(content)
    message = refused(capsys, bundle, path, tmp_path / "out.parquet")
    assert "in.parquet: file: cannot be read" in message
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("ntuple", [False, True])
def test_a_damaged_root_file_is_no_traceback(tmp_path: Path, ntuple: bool) -> None:
    """Damage can look like anything: a codec, a length, a type that there is not."""
    path = tmp_path / "in.root"
    root(path, True, ntuple)
    content = path.read_bytes()
    request = Request({"p": "p_b"}, {"p": 1}, lambda given: {"new": given["p"]}, "jets/tree")
    rng = np.random.default_rng(3)
    refusals = []
    for _ in range(40):
        start = int(rng.integers(len(content) - 64))
        path.write_bytes(content[:start] + rng.bytes(64) + content[start + 64 :])
        try:
            root_files.rewrite(path, tmp_path / "out.root", request)
        except InputError as error:  # some bytes mean nothing
            refusals.append(error)
    assert len(refusals) > 5
    assert {error.where for error in refusals} == {str(path)}


def test_what_does_not_fit_is_named(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = parquet(tmp_path / "in.parquet")
    hdf5(tmp_path / "in.h5")
    root(tmp_path / "in.root", False)
    out = tmp_path / "out.parquet"
    pq.write_table(table.drop_columns(["p_c"]), tmp_path / "less.parquet")
    message = refused(capsys, bundle, tmp_path / "less.parquet", out)
    assert "less.parquet: p_c: column is missing" in message
    taken = table.append_column("calibrated_p_b", table["p_b"])
    pq.write_table(taken, tmp_path / "taken.parquet")
    message = refused(capsys, bundle, tmp_path / "taken.parquet", out)
    assert "calibrated_p_b: exists already. Choose another --prefix" in message
    twice = table.append_column("p_c", table["p_c"])
    pq.write_table(twice, tmp_path / "twice.parquet")
    message = refused(capsys, bundle, tmp_path / "twice.parquet", out)
    assert "twice.parquet: p_c: is there more than once" in message
    with h5py.File(tmp_path / "names.h5", "w") as file:
        file["jets"] = np.zeros(3, [*((name, "f4") for name in COLUMNS), ("label", "i4")])
        file["old"] = file["jets"]
        for name in (*COLUMNS, "label"):
            file[f"group/{name}"] = np.zeros(3)
        file["group/one"] = 4
    paths = (tmp_path / "names.h5", tmp_path / "out.h5")
    message = refused(capsys, bundle, *paths, "--table", "jets")
    assert "jets: has other names (hard links)" in message
    message = refused(capsys, bundle, *paths, "--table", "group", "--label", "one")
    assert "names.h5: one: is a single value" in message
    message = refused(capsys, bundle, tmp_path / "in.parquet", out, "--label", "name")
    assert "name: has values of object" in message
    message = refused(capsys, bundle, tmp_path / "in.parquet", out, "--labels", "5=tau")
    assert "tau: is no map of the bundle. It has: b, c, light" in message
    message = refused(capsys, bundle, tmp_path / "in.parquet", out, "--variations", "x")
    assert "variation x: is unknown" in message
    message = refused(capsys, bundle, tmp_path / "in.root", tmp_path / "out.root")
    assert "Choose one with --table" in message
    message = refused(capsys, bundle, tmp_path / "in.h5", tmp_path / "out.root")
    assert "out.root: suffix" in message
    shutil.copytree(bundle, tmp_path / "older")
    card = read_json(tmp_path / "older/card.json")
    (tmp_path / "older/card.json").write_text(json.dumps({**card, "format": "otcal.bundle/1"}))
    message = refused(capsys, tmp_path / "older", tmp_path / "in.parquet", out)
    assert 'card.json: format: is "otcal.bundle/1", this version' in message
    message = refused(capsys, bundle, tmp_path / "none.h5", tmp_path / "out.h5")
    assert "none.h5: file: does not exist" in message
    message = refused(capsys, bundle, tmp_path / "in.csv", tmp_path / "out.csv")
    assert "suffix: is '.csv'" in message
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize("suffix", ["parquet", "h5", "root"])
def test_files_without_jets_get_the_columns_too(bundle: Path, tmp_path: Path, suffix: str) -> None:
    source, output = tmp_path / f"in.{suffix}", tmp_path / f"out.{suffix}"
    kinds = dict.fromkeys(COLUMNS, "f4") | {"label": "i4"}
    empty = {name: np.empty(0, kind) for name, kind in kinds.items()}
    if suffix == "parquet":
        pq.write_table(pa.table(empty), source)
    elif suffix == "h5":
        with h5py.File(source, "w") as file:
            file["jets"] = np.empty(0, list(kinds.items()))
    else:
        with uproot.recreate(source) as file:
            file.mktree("tree", kinds)
    apply(bundle, source, output)
    if suffix == "parquet":
        names = pq.read_table(output).column_names
    elif suffix == "h5":
        with h5py.File(output) as file:
            names = file["jets"].dtype.names
    else:
        with uproot.open(output) as file:
            names = file["tree"].keys()
    assert {*kinds, "calibrated_p_light_eigen2_down", STATUS} <= set(names)


FORBIDDEN = """
import importlib.abc, sys
class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in {forbidden}:
            raise ModuleNotFoundError(f"{{name}} is forbidden", name=name)
sys.meta_path.insert(0, Finder())
from otcal.__main__ import main
main(sys.argv[1:])
"""
LIBRARIES = {"parquet": {"pyarrow"}, "h5": {"h5py"}, "root": {"uproot", "awkward"}}


def with_requirements(distributions: set[str]) -> set[str]:
    """Return distributions with all that they require, by canonical name."""
    found: set[str] = set()
    waiting = [canonicalize_name(name) for name in distributions]
    while waiting:
        name = waiting.pop()
        if name in found or not list(metadata.distributions(name=name)):
            continue  # a requirement of another platform is not installed
        found.add(name)
        needed = map(Requirement, metadata.requires(name) or ())
        waiting += [
            canonicalize_name(one.name)
            for one in needed
            if one.marker is None or one.marker.evaluate({"extra": ""})
        ]
    return found


@pytest.mark.parametrize("suffix", ["parquet", "h5", "root"])
def test_numpy_onnxruntime_and_the_format_s_library_are_enough(
    bundle: Path, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"in.{suffix}"
    {"parquet": parquet, "h5": hdf5, "root": lambda path: root(path, False)}[suffix](path)
    enough = with_requirements({"numpy", "onnxruntime", *LIBRARIES[suffix]}) | {"otcal"}
    others = {
        module
        for module, names in metadata.packages_distributions().items()
        if enough.isdisjoint(map(canonicalize_name, names))
        and module not in sys.stdlib_module_names
    }
    assert {"torch", "pydantic", "scipy", "pandas", "snakemake", "onnx", "yaml", "tqdm"} <= others
    code = FORBIDDEN.format(forbidden=others)
    table = {"parquet": [], "h5": ["--table", "jets"], "root": ["--table", "jets/tree"]}[suffix]
    command = [sys.executable, "-c", code, "apply", bundle, path, tmp_path / f"out.{suffix}"]
    done = subprocess.run([*command, *table], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "5 of 300 jets are not calibrated" not in done.stderr
    assert "4 of 300 jets are not calibrated" in done.stderr
