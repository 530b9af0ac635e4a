"""The whole chain on tiny samples: what comes out, how it looks, and that edits are noticed.

All that needs the finished run is in this file: distributed over files, the tests would run the
chain once for each process of pytest-xdist.
"""

from __future__ import annotations

import html
import json
import re
import shlex
import sys
import zipfile
from pathlib import Path
from urllib.parse import unquote

import pyarrow.parquet as pq
import pytest
from docutils.core import publish_doctree
from selenium.webdriver import Chrome

from otcal.figures.catalogue import FIGURES, SIMPLEX_FIGURES
from otcal.samples.jets import JET_SCHEMA
from support.browser import (
    WIDTHS,
    check_figures_load_and_console_is_silent,
    check_page_does_not_scroll_sideways,
    needs_chromium,
    show,
)
from support.checkout import Checkout

pytestmark = pytest.mark.heavy

RESULTS = Path("results/smoke")

CAPTIONS = {
    f"{study}/figures/{panel}.png": figure.caption
    for study, figures in (("latent", FIGURES), ("simplex", SIMPLEX_FIGURES))
    for figure in figures
    for panel in figure.panels
} | {"latent/validation/inputs.png": "validation.rst"}
"""Captions of all figures by their paths below the results."""


def test_every_figure_and_number_is_there(smoke: Checkout) -> None:
    study = smoke.path / RESULTS / "latent"
    for figure in FIGURES:
        for panel in figure.panels:
            for kind in ("pdf", "png", "csv"):
                assert (study / "figures" / f"{panel}.{kind}").stat().st_size > 100
    page = (study / "report" / "index.html").read_text()
    summary = json.loads((smoke.path / RESULTS / "summary.json").read_text())
    for layer in ("z128", "zp128", "z10"):
        for model in ("mlp", "linear"):
            for evaluation in ("nominal", "calibrated", "retrained"):
                key = f"latent.auc.{layer}.{evaluation}.{model}"
                assert 0.2 < summary[key] < 1.0
                assert summary[f"{key}.std"] >= 0
        assert f"latent.auc.{layer}.floor.mlp" in summary
    assert 0 < summary["latent.dilution.rho"] <= 1
    simplex = smoke.path / RESULTS / "simplex"
    for figure in SIMPLEX_FIGURES:
        for panel in figure.panels:
            for kind in ("pdf", "png", "csv"):
                assert (simplex / "figures" / f"{panel}.{kind}").stat().st_size > 100
    for discriminant in ("b_c", "c_l", "hf_l"):
        for kappa in ("0.25", "0.5", "1", "2", "4"):
            assert summary[f"simplex.closure.w1_ratio.{discriminant}.{kappa}"] > 0
            assert 0 <= summary[f"simplex.closure.in_band.{discriminant}.{kappa}"] <= 1
    for region in ("b_enriched", "c_enriched", "light_enriched"):
        fractions = [
            summary[f"simplex.composition.fraction.{region}.{f}"] for f in ("b", "c", "light")
        ]
        assert sum(fractions) == pytest.approx(1.0, abs=1e-9)
    assert f"{summary['latent.auc.z128.nominal.mlp']:.3f}" in page


def test_the_quickstart(edited: Checkout) -> None:
    """What `make smoke` does is what the fixture did."""
    guide = (edited.path / "docs/quickstart.md").read_text(encoding="utf-8")
    shell, settings, python = (
        re.findall(rf"```{language}\n(.*?)```", guide, re.DOTALL)
        for language in ("sh", "yaml", "python")
    )
    (edited.path / "mine.yaml").write_text(*settings)
    commands = [line for block in shell for line in block.splitlines()]
    assert commands.pop(0) == "make smoke"
    said = {}
    for command in commands:
        done = edited.run(shlex.split(command))
        assert done.returncode == 0, done.stderr[-3000:]
        said[command.split()[0], command.split()[1]] = done.stdout
    planned = said["snakemake", "--cores"]
    assert re.search(r"^simulate +2$", planned, re.MULTILINE)
    assert "fit_map" in planned
    assert "train_tagger" not in planned
    assert "extract_components" not in planned
    assert "QCD" in said["otcal", "check"]
    scores = pq.read_table(edited.path / "calibrated.parquet").to_pydict()
    assert set(scores["calibrated_status"]) <= {0, 1}
    assert scores["calibrated_p_b"] != scores["p_b"]
    done = edited.run([sys.executable, "-c", *python])
    assert done.returncode == 0, done.stderr[-3000:]
    assert float(done.stdout) > 0


@needs_chromium
@pytest.mark.parametrize("study", ["latent", "simplex"])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_shows_every_figure_in_a_browser(
    smoke: Checkout, browser: Chrome, width: int, study: str
) -> None:
    show(browser, smoke.path / RESULTS / study / "report/index.html", width)
    shown = check_figures_load_and_console_is_silent(browser)
    expected = {Path(path).name for path in CAPTIONS if path.startswith(f"{study}/")}
    assert {Path(unquote(src)).name for src in shown} == expected
    check_page_does_not_scroll_sideways(browser, width)


def test_snakemake_s_own_report_holds_every_figure_with_its_caption(
    smoke: Checkout, tmp_path: Path
) -> None:
    done = smoke.snakemake("--report", str(tmp_path / "report.zip"))
    assert done.returncode == 0, done.stderr[-2000:]

    def words(text: str) -> list[str]:
        return re.findall(r"[A-Za-z]{3,}", text)

    with zipfile.ZipFile(tmp_path / "report.zip") as archive:
        page = archive.read("report/report.html").decode()
        script = page.split('<script id="results">')[1].split("var results = ", 1)[1]
        entries, _ = json.JSONDecoder().raw_decode(script)
        assert set(entries) == {str(RESULTS / path) for path in CAPTIONS}
        for path, caption in CAPTIONS.items():
            entry = entries[str(RESULTS / path)]
            image = archive.read(f"report/{entry['data_uri']}")
            assert image == (smoke.path / RESULTS / path).read_bytes()
            source = (smoke.path / "workflow/report/captions" / caption).read_text()
            found = html.unescape(re.sub("<[^>]+>", "", entry["caption"]))
            assert words(found) == words(publish_doctree(source).astext())


def test_jets_carry_their_origin(smoke: Checkout) -> None:
    shard = smoke.path / RESULTS / "latent/jets/target/QCD/0.parquet"
    table = pq.read_table(shard)
    assert table.schema.names == JET_SCHEMA.names
    assert len(table) == 400
    origin = json.loads(table.schema.metadata[b"otcal.provenance"])
    assert origin["spec"]["variation"]["final_state_shower"]["renormalisation"] == 2.0
    assert origin["seed"] == origin["spec"]["seed"]
    ids = set()
    for path in shard.parents[2].glob("*/*/*.parquet"):
        ids |= set(pq.read_table(path, columns=["jet_id"])["jet_id"].to_pylist())
    assert len(ids) == 10 * 120 + 2 * 800


def test_shard_is_reproduced_bit_for_bit(edited: Checkout) -> None:
    shard = RESULTS / "latent/jets/training/Zqq/0.parquet"
    before = (edited.path / shard).read_bytes()
    (edited.path / shard).unlink()
    done = edited.snakemake(str(shard), "--rerun-triggers", "mtime")
    assert done.returncode == 0, done.stderr[-2000:]
    assert (edited.path / shard).read_bytes() == before


def test_nothing_is_done_twice(smoke: Checkout) -> None:
    assert smoke.planned() == {}


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        pytest.param(
            "config.yaml",
            "kappas: [0.25, 0.5,",
            "kappas: [0.3, 0.5,",
            {
                "measure_closure",
                "draw_simplex_closure",
                "draw_simplex_methods",
                *(f"draw_simplex_fig{number}" for number in (10, 11, 12)),
                "summarise_simplex",
                "merge_summaries",
                "build_report",
                "all",
            },
            id="setting",
        ),
        pytest.param(
            "config.yaml",
            "distances: {jets: 2000",
            "distances: {jets: 1999",
            set(),  # the preset overrides it, so the merged configuration is the same
            id="setting under a preset",
        ),
        pytest.param(
            "src/otcal/figures/rocs.py",
            "import numpy as np\n",
            "import numpy as np\n\nUNUSED = 1\n",
            {"draw_fig04", "draw_fig09", "build_report", "all"},
            id="code",
        ),
    ],
)
def test_an_edit_after_a_run_reruns_exactly_what_it_affects(
    edited: Checkout, file: str, old: str, new: str, expected: set[str]
) -> None:
    """See `test_reruns.py` for all settings; there, the run before is pretended."""
    edited.edit(file, old, new)
    assert set(edited.planned()) == expected
