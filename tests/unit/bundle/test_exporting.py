"""Bundles of finished studies: models against torch, the card's content, what is refused."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path

import correctionlib
import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pytest
import torch

from otcal.bundle import exporting
from otcal.bundle.calibration import Calibration
from otcal.bundle.card import CARD, NOMINAL, read_card
from otcal.bundle.exporting import AGREEMENT, SCALE_FACTORS, export_bundle
from otcal.bundle.graph import OPSET
from otcal.bundle.scale_factors import correction_set, latent_correction_set
from otcal.closure.discriminants import log_ratio
from otcal.config.bundle import (
    BundleConfig,
    LatentBundleConfig,
    LatentWorkingPoints,
    WorkingPoints,
)
from otcal.config.closure import DISCRIMINANTS
from otcal.runtime.errors import InputError
from otcal.runtime.files import read_json, write_json
from otcal.samples import splits
from otcal.samples.classes import CLASSES
from otcal.samples.flavours import FLAVOURS
from otcal.samples.latents import Kind, read_latents
from otcal.samples.tables import fixed_size_list, write_table
from otcal.simplex import discriminant
from otcal.steps import read_head
from otcal.tagger.head import load_head
from otcal.transport.fitted import TransportMap
from otcal.transport.simplex_maps import SimplexMap
from support.bundles import JETS, SPLITS, VARIATIONS, probabilities, some_map
from support.heads import CLASSES as OTHERS
from support.heads import HIDDEN, WIDTH, write_head


def run(path: Path, x: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(path)
    return session.run(None, {session.get_inputs()[0].name: x.astype(np.float32)})


def test_every_model_is_the_map_of_its_flavour_and_variation(
    bundle: Path, studies: dict[str, Path]
) -> None:
    card = read_card(bundle)
    assert list(card.maps) == list(FLAVOURS)
    assert card.variations == list(VARIATIONS)
    for k, flavour in enumerate(FLAVOURS):
        p = probabilities(k, 400, 5)
        images = []
        for variation, file in card.maps[flavour].items():
            path = studies["simplex"] / f"maps/{flavour}/{variation}.safetensors"
            expected = SimplexMap.load(path, flavour)(p).p
            np.testing.assert_allclose(run(bundle / file, p)[0], expected, rtol=0, atol=1e-5)
            images.append(expected)
        assert np.abs(images[1] - images[0]).max() > 0.01
    # Variations that leave a flavour alone have the nominal model.
    assert card.maps["c"]["eigen2_up"] == card.maps["c"][NOMINAL]
    assert card.maps["b"]["eigen2_up"] != card.maps["b"][NOMINAL]


def test_models_of_the_latent_study_are_its_map_and_head(
    latent_bundle: Path, studies: dict[str, Path]
) -> None:
    card = read_card(latent_bundle)
    assert card.labels == {0: "map", 1: "map"}
    assert card.head is not None
    assert card.head.outputs == {"zp128": 128, "z10": 10}
    z = np.random.default_rng(8).normal(size=(300, 128)).astype(np.float32)
    study = studies["latent"]
    moved = TransportMap.load(study / "transport/map.safetensors").transport(z)
    (found,) = run(latent_bundle / card.maps["map"][NOMINAL], z)
    assert np.abs(found - moved).max() < 1e-5 * np.abs(moved).max()
    layers = load_head(study / "tagger/tagger.safetensors").from_z128(torch.from_numpy(moved))
    for one, expected in zip(run(latent_bundle / card.head.file, moved), layers, strict=True):
        np.testing.assert_allclose(one, expected.numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("opset", [13, OPSET, 20])
def test_the_head_of_another_tagger_comes_along(
    studies: dict[str, Path], tmp_path: Path, opset: int
) -> None:
    """Its outputs keep their names, in the order of the card, whatever the model's order is."""
    study = tmp_path / "latent"
    shutil.copytree(studies["latent"], study, ignore=shutil.ignore_patterns("tagger"))
    head, spec = write_head(tmp_path / "mine.onnx", opset)
    read_head.main(["--spec", spec.model_dump_json(), "--output", str(study / "head/head.onnx")])
    kind = Kind(OTHERS, (WIDTH, HIDDEN, len(OTHERS)), ())
    z = np.random.default_rng(2).normal(size=(JETS, WIDTH))
    columns = {"jet_id": pa.array(np.arange(JETS)), "label": pa.array(np.arange(JETS) % 3)}
    logits = np.random.default_rng(4).normal(size=(JETS, len(OTHERS)))
    layers = {"z128": z, "zp128": np.zeros((JETS, HIDDEN)), "z10": logits}
    columns |= {name: fixed_size_list(one.astype(np.float32)) for name, one in layers.items()}
    for name in ("source", "calibrated", "target"):
        path, origin = study / f"latents/{name}.parquet", {"step": "read_latents"}
        write_table(path, pa.table(columns), kind.schema, origin)
    mine = {"name": "mine", "signal": OTHERS[:1], "background": OTHERS[1:]}
    origin = {"provenance": {"spec": {"discriminants": [mine]}}}
    write_json(study / "closure/reweighting.json", origin)
    fitted = some_map(z, 0.5, 1)
    provenance = {"spec": {"layer": "z128", "classes": ["top"], "splits": SPLITS}, "seed": 7}
    fitted.save(study / "transport/map.safetensors", {"layer": "z128", "provenance": provenance})
    export_bundle("latent", study, tmp_path / "bundle", LatentBundleConfig())
    shutil.rmtree(study)
    card = read_card(tmp_path / "bundle")
    assert (card.width, card.labels, card.notes["classes"]) == (WIDTH, {2: "map"}, {"2": "top"})
    assert card.head is not None
    assert card.head.outputs == {"hidden": HIDDEN, "logits": len(OTHERS)}
    model = onnx.load(tmp_path / "bundle" / card.head.file)
    assert model.opset_import[0].version == max(opset, OPSET)
    x = z[:60].astype(np.float32)
    new = Calibration(tmp_path / "bundle", card)({"z128": x, "label": np.full(60, 2)})
    moved = fitted.transport(x)
    np.testing.assert_allclose(new["calibrated_z128"], moved, rtol=1e-4, atol=1e-4)
    hidden, logits = head.from_z128(torch.from_numpy(moved))
    np.testing.assert_allclose(new["calibrated_hidden"], hidden.numpy(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(new["calibrated_logits"], logits.numpy(), rtol=1e-4, atol=1e-4)


def test_models_take_any_number_of_jets_in_a_language_that_is_known(
    bundle: Path, latent_bundle: Path
) -> None:
    paths = [*bundle.glob("*.onnx"), *latent_bundle.glob("*.onnx")]
    assert len(paths) > len(VARIATIONS)
    for path in paths:
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        (language,) = model.opset_import
        assert (language.domain, language.version) == ("", OPSET)
        for one in (*model.graph.input, *model.graph.output):
            assert one.type.tensor_type.shape.dim[0].dim_param
        width = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
        for jets in (0, 1, 1000):
            assert all(len(one) == jets for one in run(path, np.full((jets, width), 1 / width)))


@pytest.mark.parametrize("bad", [0, 1])
def test_an_output_that_is_not_finite_agrees_with_nothing(latent_bundle: Path, bad: int) -> None:
    path = latent_bundle / "head.onnx"
    z = np.zeros((5, 128), np.float32)
    expected = run(path, z)
    assert exporting._difference(path, [z], expected) == 0.0
    expected[bad][2, 3] = np.nan
    with pytest.raises(InputError, match=r"outputs: differ from the map's by inf"):
        exporting._difference(path, [z], expected)


def test_validity_is_the_range_of_the_jets_that_fitted_the_map(
    bundle: Path, latent_bundle: Path, studies: dict[str, Path]
) -> None:
    ids = np.arange(JETS)
    train = splits.select(ids, SPLITS, "train")
    p = probabilities(0, JETS, 1)[train]
    found = read_card(bundle).validity["b"]["p_c"]
    assert found.low[0] == pytest.approx(p[:, 1].min(), rel=1e-6)
    assert found.high[0] == pytest.approx(p[:, 1].max(), rel=1e-6)
    z = read_latents(
        studies["latent"] / "latents/source.parquet", ["z128"], SPLITS, "train", [0, 1]
    )["z128"]
    found = read_card(latent_bundle).validity["map"]["z128"]
    np.testing.assert_array_equal(found.low, z.min(axis=0))
    np.testing.assert_array_equal(found.high, z.max(axis=0))


def test_the_card_says_where_the_maps_come_from_and_how_good_they_are(bundle: Path) -> None:
    notes = read_card(bundle).notes
    assert notes["closure"] == {"simplex.closure.w1_ratio.b_c.1": 0.15}
    assert notes["uncertainties"]["composition"] == {"simplex.composition.error.r.b": 0.01}
    assert [one["name"] for one in notes["uncertainties"]["variations"]] == list(VARIATIONS)
    assert notes["provenance"]["seeds"] == dict.fromkeys(FLAVOURS, 7)
    jets = notes["provenance"]["jets"]["b"]
    train = splits.select(np.arange(JETS), SPLITS, "train")
    assert jets["train"] == int(train.sum())
    assert 0 < notes["agreement"]["largest_difference"] < AGREEMENT
    assert "NaN" in read_json(bundle / CARD)["outside"]


def test_equal_studies_give_equal_bytes(
    bundle: Path, studies: dict[str, Path], tmp_path: Path
) -> None:
    export_bundle("simplex", studies["simplex"], tmp_path / "again", BundleConfig())
    for path in bundle.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes(), path.name


def test_an_output_is_replaced_only_by_force_and_as_a_whole(
    studies: dict[str, Path], tmp_path: Path
) -> None:
    output = tmp_path / "bundle"
    output.mkdir()
    (output / "stale.onnx").write_text("old")
    with pytest.raises(InputError, match=r"exists.*--force"):
        export_bundle("latent", studies["latent"], output, LatentBundleConfig())
    broken = tmp_path / "latent"
    shutil.copytree(studies["latent"], broken)
    (broken / "summary.json").unlink()
    with pytest.raises(InputError, match=r"summary\.json.*does not exist"):
        export_bundle("latent", broken, output, LatentBundleConfig(), force=True)
    assert [path.name for path in output.iterdir()] == ["stale.onnx"]
    export_bundle("latent", studies["latent"], output, LatentBundleConfig(), force=True)
    assert not (output / "stale.onnx").exists()
    read_card(output)
    assert {path.name for path in tmp_path.iterdir()} == {"bundle", "latent"}


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    shutil.copytree(bundle, tmp_path / "copy")
    return tmp_path / "copy"


def test_a_copied_bundle_is_a_bundle(copy: Path, bundle: Path) -> None:
    assert read_card(copy).maps == read_card(bundle).maps


def test_a_changed_or_missing_file_is_named(copy: Path) -> None:
    path = copy / "b-nominal.onnx"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"b-nominal\.onnx: SHA-256.*Copy the whole bundle"):
        read_card(copy)
    path.unlink()
    with pytest.raises(InputError, match=r"b-nominal\.onnx: file: does not exist"):
        read_card(copy)


def test_an_edited_card_and_another_version_are_refused(copy: Path) -> None:
    content = read_json(copy / CARD)
    content["labels"]["maps"]["0"] = "c"
    write_json(copy / CARD, content)
    with pytest.raises(InputError, match=r"card\.json: sha256: is not that of the card"):
        read_card(copy)
    write_json(copy / CARD, {**content, "format": "otcal.bundle/1"})
    with pytest.raises(InputError, match=r'format: is "otcal.bundle/1", this version.*Export'):
        read_card(copy)
    (copy / CARD).unlink()
    with pytest.raises(InputError, match=r"card\.json: is not there"):
        read_card(copy)


def test_scale_factors_are_those_of_the_maps(bundle: Path, studies: dict[str, Path]) -> None:
    corrections = correctionlib.CorrectionSet.from_file(str(bundle / SCALE_FACTORS))
    assert set(corrections) == {"b_c_kappa1", "c_l_kappa1", "hf_l_kappa1"}
    correction = corrections["b_c_kappa1"]
    test = splits.select(np.arange(3 * JETS), SPLITS, "test")
    p = {
        name: probabilities(k, JETS, 1)[test[k * JETS : (k + 1) * JETS]]
        for k, name in enumerate(FLAVOURS)
    }
    values = discriminant("b_c", p["b"], 1.0)
    edges = np.quantile(values, 1 - np.array(WorkingPoints().efficiencies))
    for name in ("b", "c", "light"):
        found = {}
        for variation in (NOMINAL, *VARIATIONS):
            path = studies["simplex"] / f"maps/{name}/{variation}.safetensors"
            moved = SimplexMap.load(path, name)(p[name]).p
            before, after = (discriminant("b_c", one, 1.0) for one in (p[name], moved))
            tight = [(one > edges[-1]).mean() for one in (before, after)]
            found[variation] = tight[1] / tight[0]
            result = correction.evaluate(variation, name, 0.5 * (1 + edges[-1]))
            # A jet next to an edge may be on its other side in single precision.
            assert result == pytest.approx(found[variation], abs=2 / (before > edges[-1]).sum())
        shifts = np.array([found[one] - found[NOMINAL] for one in VARIATIONS]).reshape(2, 2)
        up = np.sqrt((shifts.max(axis=1).clip(0) ** 2).sum())
        total = correction.evaluate("up", name, 0.5 * (1 + edges[-1])) - found[NOMINAL]
        assert total == pytest.approx(up, abs=4 / (p[name].shape[0] * 0.01))
    # Weights leave the number of jets of a flavour as it is.
    weights = correction.evaluate("nominal", "b", values)
    assert weights.mean() == pytest.approx(1.0, abs=1e-6)


def test_latent_scale_factors_are_the_shares_of_their_jets(
    latent_bundle: Path, studies: dict[str, Path]
) -> None:
    corrections = correctionlib.CorrectionSet.from_file(str(latent_bundle / SCALE_FACTORS))
    assert set(corrections) == {entry.name for entry in DISCRIMINANTS}
    entry = DISCRIMINANTS[0]
    efficiencies = np.array(LatentWorkingPoints().efficiencies)
    values = {}
    for name in ("source", "calibrated", "target"):
        path = studies["latent"] / f"latents/{name}.parquet"
        found = read_latents(path, ["label", "z10"], SPLITS, "test", [0, CLASSES.index("Hbb")])
        d = log_ratio(found["z10"], entry)
        values[name] = {one: d[found["label"] == CLASSES.index(one)] for one in ("QCD", "Hbb")}
    edges = np.quantile(np.concatenate(list(values["source"].values())), 1 - efficiencies)
    bins = [-np.inf, *edges, np.inf]
    for name in ("QCD", "Hbb"):
        before, after, there = (values[one][name] for one in ("source", "calibrated", "target"))
        for low, high in pairwise(bins):
            inside = [(one >= low) & (one < high) for one in (before, after)]
            place = min(max(low + 1e-6, edges[0] - 5.0), edges[-1] + 5.0)

            def value(systematic: str, at: float = place, of: str = name) -> float:
                return corrections[entry.name].evaluate(systematic, of, float(at))

            factor = inside[1].sum() / inside[0].sum()
            assert value("nominal") == pytest.approx(factor)
            share = ((there >= low) & (there < high)).mean() / inside[0].mean()
            off = abs(share - factor)
            assert value("closure_up") - factor == pytest.approx(off)
            assert value("closure_down") == pytest.approx(max(0.0, factor - off))
            stat = value("stat_up") - factor
            assert value("up") - factor == pytest.approx(np.hypot(stat, off))
            # The same jets are before and after: the error is less than that of two samples.
            counts = np.array([one.sum() for one in inside])
            assert stat > 0
            if counts.all():
                assert stat < factor * np.sqrt((1 / counts).sum())


def test_the_error_of_a_latent_scale_factor_is_its_spread_over_samples() -> None:
    rng = np.random.default_rng(8)
    found = []
    for _ in range(400):
        before = {"QCD": rng.normal(size=(500, len(CLASSES)))}
        after = {"QCD": before["QCD"] + 0.5 * rng.normal(size=(500, len(CLASSES)))}
        text = latent_correction_set(
            before, after, before, DISCRIMINANTS[3:4], CLASSES, LatentWorkingPoints()
        )
        correction = correctionlib.CorrectionSet.from_string(text)[DISCRIMINANTS[3].name]
        found.append([correction.evaluate(one, "QCD", 0.0) for one in ("nominal", "stat_up")])
    nominal, up = np.transpose(found)
    # The bin's lower edge follows the sample, hence a spread that is a little smaller.
    assert nominal.std() == pytest.approx((up - nominal).mean(), rel=0.15)


def test_a_map_that_moves_nothing_is_not_known_to_do_so_exactly() -> None:
    z = {"QCD": np.random.default_rng(5).normal(size=(1000, len(CLASSES)))}
    text = latent_correction_set(z, z, z, DISCRIMINANTS[:1], CLASSES, LatentWorkingPoints())
    (correction,) = correctionlib.CorrectionSet.from_string(text).values()
    assert correction.evaluate("nominal", "QCD", 100.0) == 1.0
    jets = 10
    assert correction.evaluate("stat_up", "QCD", 100.0) == pytest.approx(1.0 + 1.0 / jets)


def test_a_bin_without_simulated_jets_says_that_nothing_is_known() -> None:
    z = np.zeros((50, len(CLASSES)))
    z[:, 0] = np.linspace(0.0, 1.0, 50)
    samples = {"QCD": z, "Hbb": z - 5.0}
    samples["Hbb"][:, 1] = -20.0
    text = latent_correction_set(
        samples, samples, samples, DISCRIMINANTS[4:5], CLASSES, LatentWorkingPoints()
    )
    (correction,) = correctionlib.CorrectionSet.from_string(text).values()
    names = ("nominal", "up", "down", "stat_up", "closure_up")
    assert [correction.evaluate(one, "Hbb", 0.0) for one in names] == [1.0, 2.0, 0.0, 2.0, 1.0]


def test_latents_that_do_not_belong_together_have_no_scale_factors(
    studies: dict[str, Path], tmp_path: Path
) -> None:
    study = tmp_path / "latent"
    shutil.copytree(studies["latent"], study)
    shutil.copy(study / "latents/target.parquet", study / "latents/calibrated.parquet")
    with pytest.raises(InputError, match=r"calibrated\.parquet: jet_id: is not that of"):
        export_bundle("latent", study, tmp_path / "bundle", LatentBundleConfig())
    (study / "closure/reweighting.json").write_text("{}")
    shutil.copy(studies["latent"] / "latents/calibrated.parquet", study / "latents")
    with pytest.raises(InputError, match=r"reweighting\.json: provenance.spec.discriminants"):
        export_bundle("latent", study, tmp_path / "bundle", LatentBundleConfig())
    assert not (tmp_path / "bundle").exists()


def test_working_points_that_coincide_are_refused() -> None:
    p = {name: np.full((10, 3), 1 / 3) for name in FLAVOURS}
    moved = {name: {NOMINAL: values} for name, values in p.items()}
    with pytest.raises(InputError, match="efficiencies: give equal working points"):
        correction_set(p, moved, WorkingPoints())


def test_the_card_is_plain_json(bundle: Path) -> None:
    text = (bundle / CARD).read_text()
    content = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in the card"))
    assert set(content["files"]) == {one.name for one in bundle.iterdir()} - {CARD}
