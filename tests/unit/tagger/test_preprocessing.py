from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.preprocessing import QuantileTransformer

from otcal.runtime.errors import InputError
from otcal.tagger.preprocessing import Preprocessing
from otcal.tagger.quantiles import LIMIT, QuantileNormal


@pytest.mark.parametrize("ties", [False, True])
def test_the_transform_is_scikit_learns(ties: bool) -> None:
    rng = np.random.default_rng(1)
    sample = rng.standard_t(2, 5000)
    if ties:
        sample = np.round(sample)
    theirs = QuantileTransformer(n_quantiles=100, output_distribution="normal", subsample=None).fit(
        sample[:, None]
    )
    ours = QuantileNormal.fit(sample, 100)
    np.testing.assert_allclose(ours.quantiles, theirs.quantiles_[:, 0], rtol=1e-12, atol=1e-12)

    values = np.concatenate([rng.standard_t(2, 2000) * 3, sample[:500], [-1e9, 1e9]])
    expected = theirs.transform(values[:, None])[:, 0]
    np.testing.assert_allclose(ours(values), expected, atol=1e-5)
    assert expected.max() == pytest.approx(LIMIT)


def test_transformed_training_values_are_standard_normal() -> None:
    values = np.random.default_rng(2).lognormal(0, 2, 100_000).astype(np.float32)
    transformed = QuantileNormal.fit(values, 500)(values)
    np.testing.assert_allclose(
        np.quantile(transformed, [0.02275, 0.15866, 0.5, 0.84134, 0.97725]),
        [-2, -1, 0, 1, 2],
        atol=0.01,
    )


def test_impact_parameters_are_fitted_on_charged_constituents_only(
    make_jets, ragged, preprocess
) -> None:
    jets = ragged(make_jets(300, 4))
    charged = ~np.isin(jets.kinds, [0, 2])
    fitted = preprocess(jets)
    d0 = jets.values[charged, 3].astype(np.float64)
    np.testing.assert_allclose(
        fitted.constituents["d0val"].quantiles, np.quantile(d0, np.linspace(0, 1, 50))
    )
    pt = jets.values[:, 0].astype(np.float64)
    np.testing.assert_allclose(
        fitted.constituents["pt"].quantiles, np.quantile(pt, np.linspace(0, 1, 50))
    )


def test_impact_parameters_of_neutrals_have_no_influence(make_jets, ragged, preprocess) -> None:
    jets = ragged(make_jets(200, 5))
    neutral = np.isin(jets.kinds, [0, 2])
    values = jets.values.copy()
    values[neutral, 3:] = 17.0
    changed = replace(jets, values=values)
    fitted = preprocess(jets)
    assert preprocess(changed).to_json() == fitted.to_json()
    np.testing.assert_array_equal(fitted(changed).values, fitted(jets).values)
    assert (fitted(jets).values[neutral, 3:] == 0).all()
    assert (fitted(jets).values[~neutral, 3:] != 0).mean() > 0.99


def test_only_leading_constituents_are_kept(make_jets, ragged, preprocess) -> None:
    jets = ragged(make_jets(100, 6))
    short = preprocess(jets, max_constituents=5)(jets)
    np.testing.assert_array_equal(short.lengths, np.minimum(jets.lengths, 5))
    for i in range(100):
        first = jets.offsets[i]
        there = jets.kinds[first : first + short.lengths[i]]
        np.testing.assert_array_equal(short.kinds[short.offsets[i] : short.offsets[i + 1]], there)


def test_json_gives_the_same_transform(make_jets, ragged, preprocess) -> None:
    jets = ragged(make_jets(100, 7))
    fitted = preprocess(jets)
    again = Preprocessing.from_json(json.loads(json.dumps(fitted.to_json())), "x.json")
    np.testing.assert_array_equal(again(jets).values, fitted(jets).values)
    np.testing.assert_array_equal(again(jets).features, fitted(jets).features)
    assert list(again.constituents) == list(fitted.constituents)


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"constituents": [], "jets": {}, "max_constituents": 3},
        {"constituents": {"pt": [1, 0]}, "jets": {}, "max_constituents": 3},
        {"constituents": {"pt": ["a", "b"]}, "jets": {}, "max_constituents": 3},
    ],
)
def test_a_foreign_preprocessing_is_refused(content) -> None:
    with pytest.raises(InputError, match=r"x\.json: preprocessing"):
        Preprocessing.from_json(content, "x.json")


def test_jets_without_tracks_cannot_be_fitted_on(make_jets, ragged, preprocess) -> None:
    jets = ragged(make_jets(20, 8))
    with pytest.raises(InputError, match="no charged constituent"):
        preprocess(replace(jets, kinds=np.zeros_like(jets.kinds)))
