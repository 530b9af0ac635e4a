"""Figures of the mixture fit show what its tables say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from otcal.config.figures import FiguresConfig
from otcal.figures import mixture_components, mixture_scores, starts, style
from otcal.figures.extraction import Extraction
from otcal.figures.feedback import Feedback
from otcal.figures.simplex_style import FLAVOURS
from otcal.figures.simplex_tables import COMPONENTS
from otcal.figures.tables import read
from otcal.runtime.errors import InputError
from otcal.steps import draw_mixture
from support.drawn import arguments, assert_complete, draw
from support.simplex_study import write_extraction, write_study

NAMES = ("simplex_fig01", "simplex_fig06", "simplex_starts", "simplex_convergence")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    return root, write_study(root, jets=3000)


@pytest.fixture(scope="module")
def drawn(study, tmp_path_factory):
    directory = tmp_path_factory.mktemp("figures")
    return directory, draw(study[0], NAMES, directory)


def steps(axes):
    """Return the step functions of axes by colour and whether they are dashed."""
    found = {}
    for patch in axes.patches:
        if hasattr(patch, "get_data"):
            colour = "#" + "".join(f"{round(255 * part):02x}" for part in patch.get_edgecolor()[:3])
            found[colour, patch.get_linestyle() not in ("-", "solid")] = patch.get_data().values
    return found


def test_files_are_those_of_the_catalogue_and_legible(drawn):
    assert_complete(NAMES, *drawn)


def test_mixture_is_the_sum_of_its_flavours_and_is_what_is_drawn(study, drawn):
    directory, figures = drawn
    written = pd.read_csv(directory / "fig01_scores_c.csv").query("feature == 'z2'")
    table = pd.read_parquet(study[0] / "tables/mixture.parquet")
    table = table.query("enriched == 'c' and feature == 'z2'")
    lines = steps(figures["fig01_scores_c"].axes[1])
    for stage, sample, dashed in (("before", "source", True), ("after", "calibrated", False)):
        total = table[table["sample"] == stage].groupby("low")["jets"].sum()
        rows = written[written["sample"] == stage]
        np.testing.assert_allclose(rows[rows["flavour"] == "all"]["jets"], total, rtol=1e-5)
        np.testing.assert_allclose(lines[style.LOOKS[sample].colour, dashed], total)
        one = table[(table["sample"] == stage) & (table["flavour"] == "light")]["jets"]
        np.testing.assert_allclose(lines[FLAVOURS["light"].colour, dashed], one)
    data = table[table["sample"] == "data"]["jets"].to_numpy()
    rows = written[(written["sample"] == "after") & (written["flavour"] == "all")]
    with np.errstate(divide="ignore"):
        expected = np.where(data > 0, total / data, np.nan)
    np.testing.assert_allclose(rows["ratio"], expected, rtol=1e-5)


def test_chi_squared_leaves_out_bins_that_expect_little():
    value, bins = mixture_scores.chi2(np.array([12.0, 9.0, 1.0]), np.array([9.0, 9.0, 0.1]))
    assert (value, bins) == (1.0, 2)


def test_components_are_drawn_with_both_bands_and_the_truth(study, drawn):
    directory, figures = drawn
    written = pd.read_csv(directory / "fig06_components_c.csv")
    table = pd.read_parquet(study[0] / "tables/components.parquet").query("enriched == 'c'")
    assert len(written) == len(table)
    ratio = figures["fig06_components_c"].axes[1]  # z1, b
    rows = table.query("feature == 'z1' and flavour == 'b'")
    enough = (rows["extracted"] >= mixture_components.FEWEST).to_numpy()
    filled = [patch.get_data() for patch in ratio.patches]
    for data, name in zip(filled, mixture_components.BANDS, strict=True):
        expected = rows[[f"{name}_up", f"{name}_down"]].div(rows["extracted"], axis=0)[enough]
        np.testing.assert_allclose(data.values[enough], expected.iloc[:, 0])
        np.testing.assert_allclose(data.baseline[enough], expected.iloc[:, 1])
        assert np.isnan(data.values[~enough]).all()
    shown = written.query("feature == 'z1' and flavour == 'b'")["ratio"]
    expected = np.where(enough, rows["truth"] / rows["extracted"], np.nan)
    np.testing.assert_allclose(shown, expected, rtol=1e-5)


def test_components_without_truth_are_drawn_without_points(study):
    table = read(study[0] / "tables/components.parquet", COMPONENTS.names)
    table["truth"] = np.full_like(table["truth"], np.nan)
    made, columns = mixture_components.draw(table, "b", FiguresConfig())
    assert np.isnan(columns["ratio"]).all()
    assert made.axes[0].get_ylim()[1] > table["extracted"].max()


def test_starts_table_holds_every_end_over_its_nominal_value(study, drawn):
    directory, figures = drawn
    _, extraction = study
    written = pd.read_csv(directory / "starts.csv")
    feedback = Feedback.read(
        study[0] / "uncertainty/feedback.json", study[0] / "mixture/extraction.json"
    )
    rows = written.query("region == 'light_enriched' and flavour == 'c'").set_index("point")
    values = rows["over_nominal"] * rows["nominal"]
    assert values["start-2"] == pytest.approx(extraction.starts[2]["pi"][2, 1], rel=1e-5)
    assert values["truth"] == pytest.approx(0.0887, rel=1e-5)
    error = values["used + sigma"] - values["used"]
    assert error == pytest.approx(feedback.sigma[2, 1], rel=1e-4)
    low, high = figures["starts"].axes[0].get_xlim()
    assert low < written["over_nominal"].min()
    assert written["over_nominal"].max() < high


def test_convergence_shows_each_start_and_only_backgrounds(study, drawn):
    _, figures = drawn
    axes = figures["convergence"].axes
    assert len(axes[0].lines) == 3
    assert max(line.get_ydata().max() for line in axes[0].lines) == 0.0
    table = pd.read_parquet(study[0] / "tables/convergence.parquet")
    rows = table.query("region == 'c_enriched' and flavour == 'b' and start == 'start-1'")
    curves = [line for line in axes[2].lines if line.get_color() == FLAVOURS["b"].colour]
    np.testing.assert_allclose(curves[1].get_ydata(), 100 * rows["fraction"])
    colours = {line.get_color() for line in axes[2].lines if len(line.get_xdata()) > 1}
    assert colours == {FLAVOURS[name].colour for name in ("b", "light")}


def test_study_without_truth_has_no_stars(study, tmp_path):
    root, extraction = study
    write_extraction(tmp_path / "extraction.json", extraction.pi, 2, truth=False)
    unknown = Extraction.read(tmp_path / "extraction.json")
    table = read(
        root / "tables/convergence.parquet",
        ["start", "iteration", "objective", "region", "flavour", "fraction"],
    )
    made, _ = starts.convergence(table, unknown, FiguresConfig())
    assert not [line for axes in made.axes for line in axes.lines if line.get_marker() == "*"]
    assert "truth" not in [text.get_text() for text in made.legends[0].get_texts()]


def test_missing_tables_and_regions_are_input_errors(study, tmp_path):
    line = arguments(study[0], "simplex_convergence", tmp_path)
    with pytest.raises(InputError, match="is needed for simplex_convergence"):
        draw_mixture.main([part for part in line if not part.startswith("--convergence")])
    table = read(study[0] / "tables/components.parquet", COMPONENTS.names)
    table["enriched"] = np.full_like(table["enriched"], "b")
    with pytest.raises(InputError, match="has no row of c"):
        mixture_components.draw(table, "c", FiguresConfig())
