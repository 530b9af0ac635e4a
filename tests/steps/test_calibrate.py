"""The step that applies the map and runs the rest of the tagger's head again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from otcal.runtime.errors import InputError
from otcal.samples import tables
from otcal.samples.jets import JET_FLOATS
from otcal.samples.latents import LATENT_SCHEMA, LAYERS, Kind, kind_of, latent_writer, read_latents
from otcal.steps import calibrate, read_head
from otcal.transport.api import fit_map
from otcal.transport.semidual import SemidualOptions
from support.bundles import write_tagger
from support.heads import CLASSES as OTHERS
from support.heads import HIDDEN, WIDTH, write_head

N = 600


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("calibrate")
    rng = np.random.default_rng(0)
    label = (np.arange(N) % 3).astype(np.int8)
    columns = {"jet_id": pa.array(rng.choice(10**9, N, replace=False)), "label": pa.array(label)}
    columns |= {name: pa.array(rng.uniform(500, 1000, N)) for name in JET_FLOATS}
    columns |= {
        name: tables.fixed_size_list(rng.normal(size=(N, width)).astype(np.float32))
        for name, width in LAYERS.items()
    }
    table = pa.table(columns).cast(LATENT_SCHEMA)
    with tables.table_writer(path / "source.parquet", LATENT_SCHEMA, {}) as writer:
        for start in range(0, N, 250):
            writer.write_table(table.slice(start, 250))
    write_tagger(path / "tagger.safetensors")
    source, target = rng.normal(size=(300, 128)), 2.0 * rng.normal(size=(300, 128)) + 1.0
    options = SemidualOptions(hidden=(16, 16), batch=64)
    fitted = fit_map(source, target, steps=20, select=False, options=options)
    fitted.save(path / "map.safetensors", {"layer": "z128"})
    return path


def run(root: Path, output: Path, classes: list[str], transport_map: str = "map") -> None:
    calibrate.main(
        [
            *("--spec", json.dumps({"classes": classes}), "--threads", "1", "--device", "cpu"),
            *("--source", str(root / "source.parquet")),
            *("--map", str(root / f"{transport_map}.safetensors")),
            *("--tagger", str(root / "tagger.safetensors"), "--output", str(output)),
        ]
    )


def test_all_layers_follow_from_the_moved_one(root: Path, tmp_path: Path) -> None:
    run(root, tmp_path / "calibrated.parquet", ["QCD"])
    columns = LATENT_SCHEMA.names
    before = read_latents(root / "source.parquet", columns, labels=[0])
    after = read_latents(tmp_path / "calibrated.parquet", columns)
    for name in ("jet_id", "label", *JET_FLOATS):
        np.testing.assert_array_equal(after[name], before[name])
    assert len(after["jet_id"]) == N // 3
    from otcal.tagger.head import load_head
    from otcal.transport.fitted import TransportMap

    moved = TransportMap.load(root / "map.safetensors").transport(before["z128"])
    zp128, z10 = load_head(root / "tagger.safetensors").from_z128(torch.from_numpy(moved))
    np.testing.assert_allclose(after["z128"], moved, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(after["zp128"], zp128.numpy(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(after["z10"], z10.numpy(), rtol=1e-5, atol=1e-5)
    assert np.abs(after["z128"] - before["z128"]).mean() > 0.5
    provenance = tables.read_provenance(tmp_path / "calibrated.parquet")
    assert provenance["step"] == "calibrate"
    assert len(provenance["inputs"]) == 3


def test_each_jet_is_moved_at_its_own_conditions(root: Path, tmp_path: Path) -> None:
    before = read_latents(root / "source.parquet", ["z128", "jet_pt", "jet_eta"], labels=[0])
    given = np.stack([before["jet_eta"], before["jet_pt"]], axis=1)
    fitted = fit_map(
        before["z128"],
        before["z128"] + given[:, 1:] / 100.0,
        conditions=(given, given),
        method="gaussian",
        diagnostics=False,
    )
    fitted.save(root / "conditional.safetensors", {"conditions": ["jet_eta", "jet_pt"]})
    run(root, tmp_path / "calibrated.parquet", ["QCD"], "conditional")
    after = read_latents(tmp_path / "calibrated.parquet", ["z128"])["z128"]
    np.testing.assert_array_equal(after, fitted.transport(before["z128"], given))
    shift = (after - before["z128"]).mean(1)
    assert np.corrcoef(shift, before["jet_pt"])[0, 1] > 0.9
    fitted.save(root / "nameless.safetensors")
    with pytest.raises(InputError, match="the map depends on 2"):
        run(root, tmp_path / "refused.parquet", ["QCD"], "nameless")
    assert not (tmp_path / "refused.parquet").exists()


def test_several_classes_can_be_calibrated(root: Path, tmp_path: Path) -> None:
    run(root, tmp_path / "calibrated.parquet", ["QCD", "Hbb"])
    labels = read_latents(tmp_path / "calibrated.parquet", ["label"])["label"]
    assert np.bincount(labels).tolist() == [N // 3, N // 3]


def test_the_head_of_another_tagger_runs_as_an_onnx_model(tmp_path: Path) -> None:
    """Latents of any width; classes, of any names, are counted as the file says."""
    head, spec = write_head(tmp_path / "mine.onnx")
    model = tmp_path / "head.onnx"
    read_head.main(["--spec", spec.model_dump_json(), "--output", str(model)])
    rng = np.random.default_rng(1)
    kind = Kind(OTHERS, (WIDTH, HIDDEN, len(OTHERS)), ("jet_pt",))
    label = rng.choice(len(OTHERS), N).astype(np.int8)
    z = rng.normal(size=(N, WIDTH)).astype(np.float32)
    columns = {"jet_id": np.arange(N), "label": label, "jet_pt": rng.uniform(500, 1000, N)}
    layers = {"z128": z, "zp128": np.zeros((N, HIDDEN)), "z10": np.zeros((N, len(OTHERS)))}
    arrays = {name: tables.fixed_size_list(one) for name, one in layers.items()}
    with latent_writer(tmp_path / "source.parquet", {}, kind) as writer:
        writer.write_table(pa.table(columns | arrays).cast(kind.schema))
    fitted = fit_map(z, 1.5 * z + 0.3, method="gaussian", diagnostics=False)
    fitted.save(tmp_path / "map.safetensors", {"layer": "z128"})

    def calibrated(classes: list[str]) -> Path:
        calibrate.main(
            [
                *("--spec", json.dumps({"classes": classes}), "--threads", "1"),
                *("--source", str(tmp_path / "source.parquet"), "--device", "cpu"),
                *("--map", str(tmp_path / "map.safetensors"), "--tagger", str(model)),
                *("--output", str(tmp_path / "calibrated.parquet")),
            ]
        )
        return tmp_path / "calibrated.parquet"

    path = calibrated(["top"])
    assert kind_of(path) == kind
    read = read_latents(path, ["jet_id", "jet_pt", *LAYERS])
    chosen = label == OTHERS.index("top")
    assert read["jet_id"].tolist() == np.flatnonzero(chosen).tolist()
    np.testing.assert_allclose(read["z128"], fitted.transport(z[chosen]), rtol=1e-5, atol=1e-5)
    assert (read["z128"] - z[chosen]).mean() == pytest.approx(0.3, abs=0.05)
    zp128, z10 = head.from_z128(torch.from_numpy(read["z128"]))
    np.testing.assert_allclose(read["zp128"], zp128.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(read["z10"], z10.numpy(), rtol=1e-5, atol=1e-6)
    with pytest.raises(InputError, match=r"has no class QCD.*multijet, h_bb, top"):
        calibrated(["QCD"])


def test_empty_class_is_refused_and_leaves_no_file(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no jet of Tbl"):
        run(root, tmp_path / "calibrated.parquet", ["Tbl"])
    assert list(tmp_path.iterdir()) == []


def test_map_of_another_layer_is_refused(root: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    fitted = fit_map(rng.normal(size=(50, 10)), rng.normal(size=(50, 10)), method="gaussian")
    fitted.save(root / "other.safetensors", {"layer": "z10"})
    with pytest.raises(InputError, match="is a map of z10 with 10 features"):
        run(root, tmp_path / "calibrated.parquet", ["QCD"], "other")
