"""Closure figures of the simplex study, and what holds for all of its figures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from otcal.config.figures import FiguresConfig
from otcal.figures import closure_strips, kappa_closure, simplex_style
from otcal.figures.catalogue import FIGURES, SIMPLEX_FIGURES
from otcal.figures.tables import read
from otcal.report import prose
from otcal.runtime.errors import InputError
from otcal.steps import draw_kappa_closure, draw_logit_planes, draw_mixture
from support.drawn import arguments, assert_complete, draw
from support.simplex_study import KAPPAS, write_closure

NAMES = ("simplex_fig11", "simplex_closure", "simplex_methods")
CAPTIONS = Path(__file__).parents[3] / "workflow/report/captions"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    write_closure(root / "closure", 3000)
    return root


@pytest.fixture(scope="module")
def drawn(study, tmp_path_factory):
    directory = tmp_path_factory.mktemp("figures")
    return directory, draw(study, NAMES, directory)


@pytest.fixture
def discriminants(study):
    names = kappa_closure.COLUMNS
    return read(study / "closure/discriminants.csv", names, gaps=kappa_closure.EDGES)


def test_files_are_those_of_the_catalogue_and_legible(drawn):
    assert_complete(NAMES, *drawn)


def test_ratio_and_bands_are_those_of_the_table(study, drawn):
    written = pd.read_csv(drawn[0] / "fig11b_kappa2.csv")
    table = pd.read_csv(study / "closure/discriminants.csv")
    table = table.query("region == 'validation' and discriminant == 'c_l' and kappa == 2")
    rows = {name: part.reset_index() for name, part in table.groupby("sample")}
    total = {name: part["count"].sum() for name, part in rows.items()}
    shown = {name: part.reset_index() for name, part in written.groupby("sample")}
    assert set(shown) == {"simulation", "data", "calibrated"}
    ratio = (rows["calibrated"]["count"] / total["calibrated"]) / (
        rows["data"]["count"] / total["data"]
    )
    np.testing.assert_allclose(shown["calibrated"]["ratio"], ratio, rtol=1e-4)
    up = rows["calibrated"]["up"] / total["calibrated"] / 0.05
    np.testing.assert_allclose(shown["calibrated"]["up"], up, rtol=1e-4)
    assert shown["simulation"]["up"].isna().all()
    bands = [patch.get_data() for patch in drawn[1]["fig11b_kappa2"].axes[1].patches]
    reference = rows["data"]["count"] / total["data"] / 0.05
    assert any(np.allclose(data.values, up / reference, rtol=1e-4) for data in bands)
    sigma = np.sqrt(rows["calibrated"]["variance"]) / total["calibrated"] / 0.05
    density = rows["calibrated"]["count"] / total["calibrated"] / 0.05
    outer = (density + np.hypot(up - density, sigma)) / reference
    assert any(np.allclose(data.values, outer, rtol=1e-4) for data in bands)


def test_closure_without_a_band_or_kappa_is_an_input_error(discriminants):
    with pytest.raises(InputError, match="has no simulation for this discriminant and kappa"):
        kappa_closure.draw(discriminants, "b_c", 3.0, FiguresConfig())
    with pytest.raises(InputError, match="has no band"):
        kappa_closure.draw(
            {**discriminants, "up": np.full_like(discriminants["up"], np.nan)},
            "b_c",
            2.0,
            FiguresConfig(),
        )


def test_strips_show_every_ratio_and_floor(study, drawn):
    directory, figures = drawn
    written = pd.read_csv(directory / "closure_w1.csv")
    assert len(written) == 4 * 3 * len(KAPPAS)
    metrics = pd.read_csv(study / "closure/metrics.csv").set_index(
        ["region", "discriminant", "kappa", "sample"]
    )
    for row in written.itertuples():
        place = (row.region, row.discriminant, row.kappa)
        raw = metrics.loc[(*place, "simulation")]
        assert row.ratio == pytest.approx(metrics.loc[(*place, "calibrated")].w1 / raw.w1, rel=1e-4)
        assert row.floor == pytest.approx(raw.w1_floor / raw.w1, rel=1e-4)
    texts = [text.get_text() for axes in figures["closure_w1"].axes for text in axes.texts]
    first = written.iloc[0]
    assert texts[0] == f"{first.ratio:.2f}\n({first.floor:.2f})"
    image = figures["closure_w1"].axes[2].images[0].get_array()
    expected = written.query("discriminant == 'hf_l'")["ratio"].to_numpy().reshape(4, -1)
    np.testing.assert_allclose(image, expected, rtol=1e-4)


def test_methods_are_all_there_and_none_is_outside(drawn):
    directory, figures = drawn
    written = pd.read_csv(directory / "methods_w1.csv")
    assert set(written["sample"]) == set(closure_strips.METHODS)
    low, high = figures["methods_w1"].axes[0].get_xlim()
    assert low < written["ratio"].min()
    assert written["ratio"].max() < high


def test_methods_that_were_not_run_are_left_out(study):
    names = [*closure_strips.COLUMNS, closure_strips.FLOOR]
    table = read(study / "closure/metrics.csv", names)
    kept = table["sample"] != "logit_space"
    table = {name: column[kept] for name, column in table.items()}
    made, columns = closure_strips.methods(table, FiguresConfig())
    assert "logit_space" not in columns["sample"]
    titles = [text.get_text() for text in made.legends[0].get_texts()]
    assert simplex_style.SAMPLES["logit_space"].title not in titles


def test_metrics_without_a_sample_are_an_input_error(study, tmp_path):
    lines = (study / "closure/metrics.csv").read_text().splitlines()
    kept = [line for line in lines if not line.startswith("validation,c_l,1,calibrated")]
    assert len(kept) == len(lines) - 1
    (tmp_path / "metrics.csv").write_text("\n".join(kept) + "\n")
    line = arguments(study, "simplex_closure", tmp_path)
    line[2] = f"--metrics={tmp_path}/metrics.csv"
    with pytest.raises(InputError, match="has 0 of calibrated, c_l, kappa 1 in validation"):
        draw_kappa_closure.main(line)


@pytest.mark.parametrize("entry", SIMPLEX_FIGURES, ids=lambda entry: entry.name)
def test_caption_is_valid_and_names_its_figure(entry):
    html = prose.read(CAPTIONS / entry.caption)
    assert html.startswith("<p>")
    assert "system-message" not in html
    said = f"Reproduces Fig. {entry.number} of Kim" if entry.number else "Not in Kim"
    assert said in html


def test_names_and_panels_are_unique_and_all_of_the_papers_figures_are_there():
    names = [entry.name for entry in (*FIGURES, *SIMPLEX_FIGURES)]
    panels = [panel for entry in SIMPLEX_FIGURES for panel in entry.panels]
    assert len(set(names)) == len(names)
    assert len(set(panels)) == len(panels)
    numbers = [entry.number for entry in SIMPLEX_FIGURES if entry.number]
    assert numbers == [str(number) for number in range(1, 13)]


def test_steps_write_the_panels_of_the_catalogue():
    panels = {entry.name: entry.panels for entry in SIMPLEX_FIGURES}
    for name, (panel, _) in (draw_mixture.REGIONS | draw_logit_planes.FIGURES).items():
        assert panels[name] == (panel,)
    assert panels["simplex_fig01"] == tuple(draw_mixture.SCORES)
    for name in draw_kappa_closure.FIGURES:
        stem = name.removeprefix("simplex_")
        assert panels[name] == tuple(f"{stem}{suffix}" for suffix in draw_kappa_closure.KAPPAS)


def test_drawing_steps_do_not_load_the_heavy_libraries():
    steps = sorted({f"otcal.steps.{entry.step}" for entry in SIMPLEX_FIGURES})
    heavy = ("torch", "sklearn", "pandas", "scipy", "zuko", "pythia8mc")
    code = (
        f"import sys, {', '.join(steps)}; print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
