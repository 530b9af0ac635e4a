from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from otcal.closure.metrics import auc
from otcal.closure.scores import Scores, read_scores, write_scores
from otcal.closure.tables import Outcome, auc_table, roc_table, score_table
from otcal.runtime.errors import InputError


def scores(jets: int = 4000) -> Scores:
    r = np.random.default_rng(1)
    sample = np.repeat([0, 1, 2], jets).astype(np.int8)
    shift = np.repeat([0.0, 1.0, 0.9], jets)
    score = r.normal(size=(3, 3 * jets)) + shift
    fold = (1 + (r.random(3 * jets) < 0.8)).astype(np.int8)
    return Scores(fold, sample, np.arange(3 * jets), score.astype(np.float32))


def outcome(layer: str = "z128") -> Outcome:
    content = scores()
    evaluations = {}
    for name, other in (("nominal", "source"), ("calibrated", "calibrated")):
        area = auc(content.of(other), content.of("target"))
        evaluations[name] = {
            "other": other,
            "auc": area.mean,
            "std": area.std,
            "stat": area.stat,
            "per_fit": area.per_fit.tolist(),
        }
    return Outcome(layer, "nominal", "mlp", evaluations, content)


def test_scores_survive_the_file(tmp_path: Path) -> None:
    content = scores(500)
    write_scores(tmp_path / "s.parquet", content, {"step": "test"})
    found = read_scores(tmp_path / "s.parquet")
    for name in ("fold", "sample", "jet_id", "score"):
        np.testing.assert_array_equal(getattr(found, name), getattr(content, name))
    # Samples and folds select what was put there.
    chosen = (content.sample == 1) & (content.fold == 1)
    np.testing.assert_array_equal(found.of("target", "validation"), content.score[:, chosen])
    np.testing.assert_array_equal(found.ids("target", "validation"), content.jet_id[chosen])


def test_files_with_different_jets_per_fit_are_refused(tmp_path: Path) -> None:
    write_scores(tmp_path / "s.parquet", scores(100), {})
    table = pq.read_table(tmp_path / "s.parquet")
    pq.write_table(table.slice(1), tmp_path / "short.parquet")
    with pytest.raises(InputError, match=r"899 rows of 3 fits"):
        read_scores(tmp_path / "short.parquet")
    ids = table["jet_id"].to_numpy().copy()
    ids[-1] += 1
    place = table.schema.get_field_index("jet_id")
    pq.write_table(table.set_column(place, "jet_id", [ids]), tmp_path / "other.parquet")
    with pytest.raises(InputError, match="differs between the fits"):
        read_scores(tmp_path / "other.parquet")


def test_auc_table_has_each_fit(tmp_path: Path) -> None:
    table = auc_table([outcome()])
    assert table["evaluation"].tolist() == ["nominal", "calibrated"]
    per_fit = table[["auc_fit0", "auc_fit1", "auc_fit2"]].to_numpy()
    np.testing.assert_allclose(per_fit.mean(1), table["auc"])
    np.testing.assert_allclose(per_fit.std(1, ddof=1), table["std"])
    content = scores()
    assert table["n_target"].tolist() == [content.of("target").shape[1]] * 2
    assert table["n_other"].tolist() == [
        content.of(name).shape[1] for name in ("source", "calibrated")
    ]


def test_roc_table_encloses_the_auc() -> None:
    table = roc_table([outcome(), outcome("z10")], points=301)
    assert len(table) == 4 * 301
    areas = {
        key: np.trapezoid(curve["tpr"], curve["fpr"])
        for key, curve in table.groupby(["layer", "evaluation"])
    }
    for _, row in auc_table([outcome()]).iterrows():
        assert areas["z128", row["evaluation"]] == pytest.approx(row["auc"], abs=1e-3)
    assert (table["tpr_std"] >= 0).all()
    assert table["tpr_std"].max() > 0


def test_score_histograms_hold_every_jet_once() -> None:
    content = scores()
    table = score_table(content, bins=25)
    width = table["high"] - table["low"]
    for (quantity, sample), rows in table.groupby(["quantity", "sample"]):
        assert rows["count"].sum() == content.of(sample).shape[1]
        assert (rows["density"] * width[rows.index]).sum() == pytest.approx(1.0)
        np.testing.assert_allclose(rows["error"] ** 2 * rows["count"], rows["density"] ** 2)
        if quantity == "probability":
            mean = content.of(sample).mean(0)
            above = rows.loc[rows["low"] >= 0.52 - 1e-9, "count"].sum()
            assert above == (1 / (1 + np.exp(-mean.astype(np.float64))) >= 0.52).sum()
