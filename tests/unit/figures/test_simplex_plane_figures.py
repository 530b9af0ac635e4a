"""Logit planes and maps: contours, directions and arrows are where they belong."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from otcal.config.figures import FiguresConfig
from otcal.figures import displacement, logit_plane, ternary
from otcal.figures.contours import levels, smooth
from otcal.figures.feedback import Feedback
from otcal.figures.tables import read_pairs
from otcal.runtime.errors import InputError
from support.drawn import assert_complete, draw
from support.simplex_study import TABLE_1, moved, write_study

NAMES = ("simplex_fig02", "simplex_fig08", "simplex_fig09")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    write_study(root, jets=3000)
    return root


@pytest.fixture(scope="module")
def drawn(study, tmp_path_factory):
    directory = tmp_path_factory.mktemp("figures")
    return directory, draw(study, NAMES, directory)


@pytest.fixture
def feedback(study):
    return read_feedback(study, study / "uncertainty/feedback.json")


def read_feedback(study, path):
    return Feedback.read(path, study / "mixture/extraction.json")


def changed(study, tmp_path, change):
    """Read the study's feedback after `change` has altered its JSON."""
    content = json.loads((study / "uncertainty/feedback.json").read_text())
    change(content)
    (tmp_path / "feedback.json").write_text(json.dumps(content))
    return read_feedback(study, tmp_path / "feedback.json")


def test_files_are_those_of_the_catalogue_and_legible(drawn):
    assert_complete(NAMES, *drawn)


def test_contours_have_the_distance_that_their_name_says(drawn, feedback):
    written = pd.read_csv(drawn[0] / "fig02_logits_b.csv")
    for kind in ("statistical", "effective"):
        for radius in (1.0, 2.0):
            rows = written[written["curve"] == f"{kind}, {radius:g} sigma"]
            shift = rows[["x", "y"]].to_numpy() - feedback.fitted[0]
            precision = np.linalg.inv(feedback.block(kind, 0))
            distance = np.sqrt(np.einsum("ni,ij,nj->n", shift, precision, shift))
            np.testing.assert_allclose(distance, radius, rtol=1e-3)
            # The shadow on an axis is the standard deviation.
            extent = np.ptp(rows["x"]) / 2
            sigma = radius * np.sqrt(feedback.block(kind, 0)[0, 0])
            assert extent == pytest.approx(sigma, rel=1e-3)


def test_legend_tells_how_far_the_truth_is(drawn, feedback):
    shift = np.log(TABLE_1[0, :2] / TABLE_1[0, 2]) - feedback.fitted[0]
    distance = np.sqrt(shift @ np.linalg.solve(feedback.block("effective", 0), shift))
    texts = [text.get_text() for text in drawn[1]["fig02_logits_b"].legends[0].get_texts()]
    assert rf"effective (truth at {distance:.1f} $\sigma$)" in texts


def test_lengths_of_a_direction_add_up_to_one_over_the_regions(feedback):
    for side in ("u", "v"):
        lengths = np.array([feedback.projected(side, region)[1] for region in range(3)])
        np.testing.assert_allclose((lengths**2).sum(axis=0), 1.0)
        vectors = [feedback.projected(side, region)[0] for region in range(3)]
        whole = np.concatenate(vectors, axis=1)
        precision = np.linalg.inv(feedback.prior)
        np.testing.assert_allclose(whole @ precision @ whole.T, np.eye(6), atol=1e-8)


def test_directions_below_the_threshold_are_not_drawn(study, tmp_path):
    def turn(content):
        u = np.array(content["projected"]["u"])
        u[:2, 5] *= 1e-3  # nearly nothing of the last one in the first region
        content["projected"]["u"] = u.tolist()

    made, columns = logit_plane.draw(changed(study, tmp_path, turn), "b", FiguresConfig())
    assert "u5" in columns["curve"]
    assert "u6" not in columns["curve"]
    assert "–" in [text.get_text() for text in made.axes[1].texts]


def test_recipes_that_agree_or_differ_are_told_apart(study, tmp_path):
    def legend(change):
        made, columns = logit_plane.draw(changed(study, tmp_path, change), "b", FiguresConfig())
        titles = [text.get_text() for text in made.legends[0].get_texts()]
        return next(t for t in titles if "paper" in t), set(columns["curve"])

    def same(content):
        content["plain"]["V_eff"] = content["projected"]["V_eff"]

    def wide(content):
        content["plain"]["V_eff"] = (100 * np.array(content["projected"]["V_eff"])).tolist()

    title, curves = legend(same)
    assert title.endswith("the same")
    assert "plain, 1 sigma" not in curves
    title, curves = legend(wide)
    assert title.endswith("(wider than this)")
    assert "plain, 1 sigma" in curves


def test_common_shifts_have_no_finite_amplification(feedback):
    assert np.isinf(feedback.amplifications[:2]).all()
    assert np.isfinite(feedback.amplifications[2:]).all()
    assert feedback.owners[:2] == ("prior: common shift",) * 2


def test_feedback_of_another_fit_is_an_input_error(study, tmp_path):
    def shift(content):
        content["pi"] = TABLE_1[::-1].tolist()

    with pytest.raises(InputError, match="pi: is not that of"):
        changed(study, tmp_path, shift)
    with pytest.raises(InputError, match="V0: is not an array of 6 x 6 numbers"):
        changed(study, tmp_path, lambda content: content.update(V0=[[1.0]]))


def test_arrows_end_at_the_mean_of_the_images(drawn):
    directory, figures = drawn
    written = pd.read_csv(directory / "fig08_plane_c.csv")
    (quiver,) = [c for c in figures["fig08_plane_c"].axes[0].collections if hasattr(c, "U")]
    np.testing.assert_allclose(quiver.U, written["moved_z1"] - written["z1"], atol=1e-4)
    np.testing.assert_allclose(quiver.V, written["moved_z2"] - written["z2"], atol=1e-4)
    assert (quiver.scale, quiver.angles, quiver.scale_units) == (1.0, "xy", "xy")
    # The map is smooth, so that the mean image is about the image of the mean.
    images = moved(written[["z1", "z2"]].to_numpy())
    np.testing.assert_allclose(images, written[["moved_z1", "moved_z2"]], atol=0.03)


def test_contours_hold_the_shares_of_the_caption(study, drawn):
    pairs = read_pairs(study / "tables/displacements_density.parquet")
    blurred = smooth(pairs["z1", "z2", "b/calibrated"].density()[0], 1.0)
    expected = levels(blurred, displacement.SHARES)[::-1]
    axes = drawn[1]["fig08_plane_b"].axes[0]
    found = [c.levels for c in axes.collections if hasattr(c, "levels")]
    np.testing.assert_allclose(found[-1], expected)


def test_simplex_table_is_what_the_triangles_and_arrows_show(drawn):
    directory, figures = drawn
    written = pd.read_csv(directory / "fig09_simplex_light.csv")
    assert written["share_percent"].sum() == pytest.approx(100.0, rel=1e-4)
    axes = figures["fig09_simplex_light"].axes[0]
    assert len(axes.patches) == len(written)
    arrows = written[written["shown"] == 1]
    (quiver,) = [c for c in axes.collections if hasattr(c, "U")]
    assert len(quiver.U) == len(arrows)
    # Upwards is b, to the right light; the length along an edge is its probability.
    up = (arrows["moved_b"] - arrows["p_b"]) * arrows["magnification"]
    right = (arrows["moved_light"] - arrows["p_light"]) * arrows["magnification"] + 0.5 * up
    ratio = quiver.V / up
    np.testing.assert_allclose(ratio, ratio.iloc[0], rtol=1e-3)
    np.testing.assert_allclose(quiver.U, right * ratio.iloc[0] * 2 / np.sqrt(3), atol=1e-4)


@pytest.mark.parametrize(("size", "factor"), [(1e-4, 10), (0.05, 3), (0.2, 1), (0.5, 1)])
def test_arrows_are_magnified_up_to_a_triangle(size, factor):
    shift = size / np.sqrt(2) * np.array([[1.0], [-1.0], [0.0]]) * np.ones(50)
    assert ternary.magnification(shift, 10) == factor
