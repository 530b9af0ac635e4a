from __future__ import annotations

import json

import numpy as np
import pytest

from otcal.closure.discriminants import log_ratio
from otcal.config.closure import DISCRIMINANTS
from otcal.figures import tables
from otcal.runtime.errors import InputError
from otcal.samples.classes import CLASSES
from otcal.samples.jets import read_jets
from otcal.samples.latents import read_latents
from otcal.samples.tables import read_provenance, to_numpy
from otcal.steps import tabulate_inputs, tabulate_latents
from otcal.tagger.preprocessing import Preprocessing

FRACTIONS = {"train": 0.25, "test": 0.75}


@pytest.fixture(scope="module")
def latents(study):
    """Jets of the test split and the calibrated class, read by other code than the step's."""
    return {
        name: read_latents(
            study / f"latents/{name}.parquet", ["jet_id", "z128", "z10"], FRACTIONS, "test", [0]
        )
        for name in ("source", "target", "calibrated")
    }


def test_logits_are_numpys_histograms_of_the_test_split(study, latents):
    table = tables.read_marginals(study / "tables/logits.parquet")
    assert list(table.titles) == list(CLASSES)
    for sample, arrays in latents.items():
        for k, name in enumerate(CLASSES):
            histogram = table.pick(name, sample)
            expected, _ = np.histogram(arrays["z10"][:, k], histogram.edges[0])
            np.testing.assert_array_equal(histogram.weights, expected)
            np.testing.assert_array_equal(histogram.variances, expected)


def test_axes_span_all_samples_but_for_the_tails(study, latents):
    table = tables.read_marginals(study / "tables/logits.parquet")
    for sample, arrays in latents.items():
        outside = 1.0 - table.pick("Hgg", sample).weights.sum() / len(arrays["z10"])
        assert 0.0 < outside < 0.006


def test_pairs_are_numpys_histograms(study, latents):
    pairs = tables.read_pairs(study / "tables/logits_pairs.parquet")
    assert len(pairs) == 3 * 45
    histogram = pairs["Hbb", "Tbl", "calibrated"]
    z10 = latents["calibrated"]["z10"]
    expected, _, _ = np.histogram2d(z10[:, 1], z10[:, 9], histogram.edges)
    np.testing.assert_array_equal(histogram.weights, expected)


def test_components_are_whitened_by_the_target(study, latents):
    table = tables.read_marginals(study / "tables/pca.parquet")
    assert list(table.titles) == ["pc1", "pc2", "pc3", "pc4", "pc5"]
    for name in table.titles:
        target = table.pick(name, "target")
        centres = 0.5 * (target.edges[0][1:] + target.edges[0][:-1])
        mean = np.average(centres, weights=target.weights)
        spread = np.sqrt(np.average((centres - mean) ** 2, weights=target.weights))
        assert mean == pytest.approx(0.0, abs=0.05)
        assert spread == pytest.approx(1.0, abs=0.05)
    # The source differs where its latents were moved.
    source, target = table.pick("pc1", "source"), table.pick("pc1", "target")
    assert abs(source.density()[0] - target.density()[0]).max() > 0.1


def test_discriminants_and_weights_of_the_baseline(study, latents):
    table = tables.read_marginals(study / "tables/discriminants.parquet")
    weights = tables.read(study / "closure/weights.parquet", ["jet_id", "weight"])
    of_jet = dict(zip(weights["jet_id"], weights["weight"], strict=True))
    source = latents["source"]
    found = np.array([jet in of_jet for jet in source["jet_id"]])
    assert 0.4 < found.mean() < 0.6
    w = np.array([of_jet[jet] for jet in source["jet_id"][found]])
    for entry in DISCRIMINANTS:
        values = log_ratio(source["z10"], entry)
        plain, weighted = table.pick(entry.name, "source"), table.pick(entry.name, "reweighted")
        edges = plain.edges[0]
        np.testing.assert_array_equal(plain.weights, np.histogram(values, edges)[0])
        expected = np.histogram(values[found], edges, weights=w)[0]
        np.testing.assert_allclose(weighted.weights, expected)
        expected = np.histogram(values[found], edges, weights=w**2)[0]
        np.testing.assert_allclose(weighted.variances, expected)


def latent_arguments(study, output, spec, **files):
    names = {name: study / f"latents/{name}.parquet" for name in tabulate_latents.SAMPLES}
    names |= {"weights": study / "closure/weights.parquet"} | files
    outputs = ("pca", "pca-pairs", "logits", "logits-pairs", "discriminants")
    return [
        f"--spec={json.dumps(spec)}",
        *(f"--{name}={path}" for name, path in names.items()),
        *(f"--{name}={output}/{name}.parquet" for name in outputs),
    ]


def test_split_without_jets_is_an_input_error(study, tmp_path):
    spec = {"fractions": {"train": 1.0, "test": 0.0}}
    with pytest.raises(InputError, match=r"target\.parquet: z128: cannot take"):
        tabulate_latents.main(latent_arguments(study, tmp_path, spec))
    assert not list(tmp_path.iterdir())


def test_class_without_jets_is_an_input_error(study, tmp_path):
    spec = {"fractions": FRACTIONS, "classes": ["Hbb"]}
    with pytest.raises(InputError, match=r"target\.parquet"):
        tabulate_latents.main(latent_arguments(study, tmp_path, spec))


def test_classes_that_the_tagger_does_not_know_are_input_errors(study, tmp_path):
    known = {"fractions": FRACTIONS, "classes": ["QCD"]}
    zbb = {"name": "x", "signal": ["Zbb"], "background": ["QCD"]}
    for spec in (known | {"classes": ["Zbb"]}, known | {"discriminants": [zbb]}):
        with pytest.raises(InputError, match=r"target\.parquet: label: has no class Zbb\. .*Hbb"):
            tabulate_latents.main(latent_arguments(study, tmp_path, spec))
    assert not list(tmp_path.iterdir())


def test_weights_of_other_jets_are_an_input_error(study, tmp_path):
    path = tmp_path / "weights.csv"
    tables.write_csv(path, {"jet_id": np.array([77_000_000]), "weight": np.array([1.0])})
    spec = {"fractions": FRACTIONS}
    with pytest.raises(InputError, match=r"weights\.csv: jet_id: has no jet of the source"):
        tabulate_latents.main(latent_arguments(study, tmp_path, spec, weights=path))


def test_unknown_split_and_unknown_key_are_input_errors(study, tmp_path):
    with pytest.raises(InputError, match="split 'test' is none of train"):
        tabulate_latents.main(latent_arguments(study, tmp_path, {"fractions": {"train": 1.0}}))
    with pytest.raises(InputError, match=r"bins_pca: is not a known key.*corner_bins"):
        tabulate_latents.main(
            latent_arguments(study, tmp_path, {"fractions": FRACTIONS, "bins_pca": 3})
        )


def test_inputs_are_numpys_histograms_before_and_after(study):
    table = tables.read_marginals(study / "tables/inputs.parquet")
    jets = read_jets([study / "jets/target/a.parquet"], ["jet_pt", "part_d0val", "part_charge"])
    preprocessing = Preprocessing.from_json(
        json.loads((study / "tagger/preprocessing.json").read_text()), "preprocessing.json"
    )
    pt = to_numpy(jets["jet_pt"])
    for name, values in {"jet.pt": pt, "jet.pt.transformed": preprocessing.jets["pt"](pt)}.items():
        histogram = table.pick(name, "target")
        expected = np.histogram(values, histogram.edges[0])[0]
        np.testing.assert_array_equal(histogram.weights, expected)
    # Impact parameters: charged constituents among the 64 of highest pT.
    total = table.pick("constituent.d0val.transformed", "target").weights.sum()
    charge = to_numpy(jets["part_charge"].combine_chunks().flatten())
    assert 0.9 * (charge != 0).sum() < total <= (charge != 0).sum()
    assert table.pick("constituent.pt.transformed", "target").weights.sum() > 1.5 * total


def test_figure_1_does_not_need_the_tagger_to_read_what_it_shows(study, tmp_path):
    content = json.loads((study / "tagger/preprocessing.json").read_text())
    del content["jets"]["nparticles"], content["constituents"]["d0val"]
    (tmp_path / "preprocessing.json").write_text(json.dumps(content))
    arguments = [
        "--spec={}",
        *(f"--{name}={study}/jets/{name}/a.parquet" for name in ("training", "source", "target")),
        f"--preprocessing={tmp_path}/preprocessing.json",
        f"--output={tmp_path}/inputs.parquet",
    ]
    tabulate_inputs.main(arguments)
    table = tables.read_marginals(tmp_path / "inputs.parquet")
    whole = tables.read_marginals(study / "tables/inputs.parquet")
    assert set(whole.titles) - set(table.titles) == {
        "jet.nparticles.transformed",
        "constituent.d0val.transformed",
    }
    for name in table.titles:
        for sample in ("source", "target"):
            expected = whole.pick(name, sample)
            np.testing.assert_array_equal(table.pick(name, sample).weights, expected.weights)
            np.testing.assert_array_equal(table.pick(name, sample).edges[0], expected.edges[0])


def test_inputs_read_the_same_number_of_jets_from_each_file(study, tmp_path):
    arguments = [
        '--spec={"max_jets": 101}',
        "--training",
        *(str(study / f"jets/training/{name}.parquet") for name in "ab"),
        *(f"--{name}={study}/jets/{name}/a.parquet" for name in ("source", "target")),
        f"--preprocessing={study}/tagger/preprocessing.json",
        f"--output={tmp_path}/inputs.parquet",
    ]
    tabulate_inputs.main(arguments)
    table = tables.read_marginals(tmp_path / "inputs.parquet")
    assert table.pick("jet.phi", "training").weights.sum() == 2 * 51
    assert table.pick("jet.phi", "source").weights.sum() == 101
    provenance = read_provenance(tmp_path / "inputs.parquet")
    assert provenance["spec"]["max_jets"] == 101
    assert len(provenance["inputs"]) == 5
