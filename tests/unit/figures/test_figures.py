from __future__ import annotations

import importlib
import os
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from otcal.config.figures import FiguresConfig
from otcal.figures import comparison, corner, drawing, style, tables
from otcal.figures.catalogue import FIGURES, figure
from otcal.figures.contours import levels, smooth
from otcal.figures.histograms import ratio
from otcal.runtime.errors import InputError
from otcal.steps import draw_learning_curve, draw_marginals, draw_rocs, draw_tagger

pytestmark = pytest.mark.heavy


def options(study, name, outputs, spec="{}"):
    entry = figure(name)
    inputs = [f"--{option}={study / path}" for option, path in entry.inputs.items()]
    return [f"--spec={spec}", f"--figure={name}", *inputs, f"--outputs={outputs}"]


@pytest.fixture(scope="module")
def drawn(study, tmp_path_factory):
    """Draw every figure once; return the directory and the figures by panel."""
    directory = tmp_path_factory.mktemp("figures")
    figures = {}
    patch = pytest.MonkeyPatch()
    patch.setattr(
        drawing.style,
        "save",
        lambda made, stem, save=style.save: figures.update({stem.name: made}) or save(made, stem),
    )
    for entry in FIGURES:
        step = importlib.import_module(f"otcal.steps.{entry.step}")
        step.main(options(study, entry.name, directory))
    patch.undo()
    return directory, figures


def test_catalogue_lists_exactly_what_is_written(drawn):
    directory, _ = drawn
    expected = {
        f"{panel}.{suffix}"
        for entry in FIGURES
        for panel in entry.panels
        for suffix in ("pdf", "png", "csv")
    }
    assert {path.name for path in directory.iterdir()} == expected


@pytest.mark.parametrize("panel", [panel for entry in FIGURES for panel in entry.panels])
def test_panel_is_legible_and_nothing_is_cut_off(drawn, panel):
    directory, figures = drawn
    made = figures[panel]
    pixels = plt.imread(directory / f"{panel}.png")[..., :3]
    assert pixels.shape[1] >= 1200
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert (border == 1.0).all()
    texts = [text for text in made.findobj(Text) if text.get_visible() and text.get_text().strip()]
    assert texts
    for text in texts:
        # Height of an em in pixels when the picture is 400 pixels wide.
        assert text.get_fontsize() * 400 / (72 * made.get_figwidth()) >= 6.3, text


@pytest.mark.parametrize("panel", ["fig05a_hbb", "fig05b_hcc", "fig11_hbb_hcc"])
def test_written_table_is_the_histogram_that_is_drawn(study, drawn, panel):
    directory, figures = drawn
    variable = {"a": "Hbb", "b": "Hcc", "_": "HbbHcc"}[panel[5]]
    table = tables.read_marginals(study / "tables/discriminants.parquet")
    written = pd.read_csv(directory / f"{panel}.csv")
    assert set(written["variable"]) == {variable}
    target = table.pick(variable, "target")
    for sample, rows in written.groupby("sample"):
        density, error = table.pick(variable, sample).density()
        np.testing.assert_allclose(rows["density"], density, rtol=1e-5)
        np.testing.assert_allclose(rows["error"], error, rtol=1e-5)
        if sample != "target":
            value, value_error, _ = ratio(table.pick(variable, sample), target)
            np.testing.assert_allclose(rows["ratio"], value, rtol=1e-5)
            np.testing.assert_allclose(rows["ratio_error"], value_error, rtol=1e-5)
    main = figures[panel].axes[0]
    steps = {patch.get_edgecolor(): patch.get_data().values for patch in main.patches}
    red = style.LOOKS["calibrated"].colour
    (values,) = [v for colour, v in steps.items() if _hex(colour) == red]
    drawn_rows = written[written["sample"] == "calibrated"]
    np.testing.assert_allclose(drawn_rows["density"], values, rtol=1e-5)


def _hex(colour):
    return "#" + "".join(f"{round(255 * part):02x}" for part in colour[:3])


def test_corner_table_is_the_blurred_histogram(study, drawn):
    directory, _ = drawn
    pairs = tables.read_pairs(study / "tables/pca_pairs.parquet")
    written = pd.read_csv(directory / "fig03b_pca_calibrated.csv")
    assert set(written["sample"]) == {"target", "calibrated"}
    rows = written[(written.x == "pc1") & (written.y == "pc4") & (written["sample"] == "target")]
    blurred = smooth(pairs["pc1", "pc4", "target"].density()[0], 1.0)
    shown = blurred[blurred > 1e-3 * blurred.max()]
    np.testing.assert_allclose(rows["density"], shown, rtol=1e-4)
    # What was left out of the table does not move the contours.
    np.testing.assert_allclose(
        levels(rows["density"].to_numpy(), (0.5, 0.9)), levels(blurred, (0.5, 0.9)), rtol=0.05
    )


def test_corner_contours_of_the_config_are_drawn(study):
    marginals = tables.read_marginals(study / "tables/pca.parquet")
    pairs = tables.read_pairs(study / "tables/pca_pairs.parquet")
    config = FiguresConfig(contours=(0.4, 0.7))
    made, _ = corner.draw(marginals, pairs, "source", config)
    panel = made.axes[1]  # second row, first column: pc1 and pc2
    blue = style.LOOKS["source"].colour
    lines = [c for c in panel.collections if {_hex(e) for e in c.get_edgecolor()} == {blue}]
    blurred = smooth(pairs["pc1", "pc2", "source"].density()[0], config.smoothing_bins)
    expected = levels(blurred, config.contours)[::-1]
    np.testing.assert_allclose(lines[0].levels, expected)
    assert "contours hold\n40, 70 %" in made.legends[0].get_title().get_text()


def test_roc_tables_hold_the_areas_with_both_uncertainties(drawn):
    directory, _ = drawn
    written = pd.read_csv(directory / "fig04a_roc.csv")
    assert set(written["evaluation"]) == {"nominal", "calibrated"}
    z128 = written[(written.layer == "z128") & (written.evaluation == "nominal")]
    np.testing.assert_allclose(z128["auc"], 1 / 1.2, rtol=1e-5)
    np.testing.assert_allclose(z128["auc_error"], 0.005)  # 0.004 and 0.003 in quadrature
    assert set(pd.read_csv(directory / "fig09a_roc_linear.csv")["model"]) == {"linear"}


def test_ratios_outside_the_panel_are_marked(study):
    table = tables.read_marginals(study / "tables/logits.parquet")
    made = style.new(5.0)
    (main, below), *_ = style.ratio_axes(made)
    histograms = {name: table.pick("Hgg", name) for name in ("source", "target")}
    columns = comparison.draw(main, below, histograms, (0.9, 1.1))
    rows = columns["sample"] == "source"
    outside = (columns["ratio"][rows] > 1.1).sum()
    assert outside > 0
    marks = [line for line in below.lines if line.get_marker() == "^"]
    assert len(marks[0].get_xdata()) == outside


def test_same_table_gives_the_same_bytes_in_another_process(study, drawn, tmp_path):
    directory, _ = drawn
    command = [sys.executable, "-m", "otcal.steps.draw_marginals"]
    subprocess.run(
        [*command, *options(study, "fig11", tmp_path)],
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "123", "SOURCE_DATE_EPOCH": "86400"},
    )
    for suffix in ("pdf", "png", "csv"):
        name = f"fig11_hbb_hcc.{suffix}"
        assert (tmp_path / name).read_bytes() == (directory / name).read_bytes()
    assert b"CreationDate" not in (tmp_path / "fig11_hbb_hcc.pdf").read_bytes()


def test_drawing_steps_do_not_load_the_heavy_libraries():
    steps = ", ".join(f"otcal.steps.{entry.step}" for entry in FIGURES)
    heavy = ("torch", "sklearn", "pandas", "scipy", "pythia8mc")
    code = f"import sys, {steps}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_missing_column_is_one_line_for_the_user(study, tmp_path):
    (tmp_path / "roc.csv").write_text("layer,evaluation,model,fpr\nz128,nominal,mlp,0\n")
    arguments = options(study, "fig09", tmp_path)
    arguments[2] = f"--curves={tmp_path}/roc.csv"
    done = subprocess.run(
        [sys.executable, "-m", "otcal.steps.draw_rocs", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "roc.csv: tpr: column is missing" in done.stderr


def test_missing_curves_and_histograms_are_input_errors(study, tmp_path):
    auc = (study / "closure/auc.csv").read_text().splitlines()
    kept = [line for line in auc if not line.startswith("z10,retrained,linear")]
    (tmp_path / "auc.csv").write_text("\n".join(kept) + "\n")
    arguments = options(study, "fig09", tmp_path)
    arguments[3] = f"--areas={tmp_path}/auc.csv"
    with pytest.raises(InputError, match="has no curve z10, retrained, linear"):
        draw_rocs.main(arguments)
    arguments = options(study, "fig05", tmp_path)
    arguments[1:3] = ["--figure=fig11", f"--marginals={study}/tables/logits.parquet"]
    with pytest.raises(InputError, match="no histogram of HbbHcc for source"):
        draw_marginals.main(arguments)
    confusion = (study / "tagger/confusion.csv").read_text().splitlines()
    (tmp_path / "confusion.csv").write_text("\n".join(confusion[:-1]) + "\n")
    arguments = options(study, "tagger", tmp_path)
    arguments[4] = f"--confusion={tmp_path}/confusion.csv"
    with pytest.raises(InputError, match=r"has no row for Tbl taken for Tbl"):
        draw_tagger.main(arguments)


def test_learning_curve_of_a_method_without_dual_value(study, tmp_path):
    rows = (study / "transport/learning_curve.csv").read_text().splitlines()
    cut = [rows[0], rows[1], *(",".join(row.split(",")[:6]) + ",," for row in rows[2:])]
    (tmp_path / "curve.csv").write_text("\n".join(cut) + "\n")
    arguments = [*options(study, "learning", tmp_path)]
    arguments[2] = f"--curve={tmp_path}/curve.csv"
    draw_learning_curve.main(arguments)
    written = pd.read_csv(tmp_path / "learning_curve.csv")
    assert "dual" not in written
    assert len(written) == len(rows) - 1


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ('{"contour": [0.5]}', "contour: is not a known key.*contours"),
        ('{"contours": [0.9, 0.5]}', "ascending"),
        ('{"contours": [1.5]}', "contours.0"),
        ('{"ratio_half_width": 0}', "ratio_half_width"),
    ],
)
def test_wrong_settings_are_input_errors(study, tmp_path, spec, message):
    with pytest.raises(InputError, match=message):
        draw_marginals.main(options(study, "fig05", tmp_path, spec))
