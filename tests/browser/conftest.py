"""A report of generated images and numbers, built from the study's real manifest."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imsave

from otcal.figures.catalogue import FIGURES as DRAWN
from otcal.report import manifest as manifests
from otcal.report.manifest import Figure, ReportSpec
from otcal.steps import build_report

ROOT = Path(__file__).parents[2]
FIGURES = [
    *(
        Figure(
            name=entry.name,
            title=entry.title,
            number=entry.number,
            caption=entry.caption,
            panels=entry.panels,
        )
        for entry in DRAWN
    ),
    Figure(
        name="validation",
        title="Inputs against JetClass",
        caption="validation.rst",
        panels=("inputs",),
    ),
]


def draw(stem: Path, width: int, height: int) -> None:
    """Write a grey ramp as PNG, and stand-ins for the PDF and the table beside it."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    ramp = np.linspace(0.2, 0.9, width)[None, :].repeat(height, axis=0)
    imsave(stem.with_suffix(".png"), ramp, cmap="gray", vmin=0, vmax=1)
    stem.with_suffix(".pdf").write_bytes(b"%PDF-1.4\n%%EOF\n")
    stem.with_suffix(".csv").write_text("x,y\n0,1\n", encoding="utf-8")


def numbers_for(manifest: manifests.Manifest) -> dict[str, float]:
    """Return a summary with every key that the manifest asks for."""
    keys = [number.key for section in manifest.sections for number in section.numbers]
    for section in manifest.sections:
        for table in section.tables:
            rows = ["part_d0err", "jet_energy"] if table.rows == "*" else list(table.rows)
            templates = [
                key for column in table.columns for key in (column.key, column.error) if key
            ]
            keys += [key.replace("{row}", row) for row in rows for key in templates]
    keys = list(dict.fromkeys(keys))
    values = {key: 0.5 + 0.4 * i / len(keys) for i, key in enumerate(keys)}
    values |= {key: 0.497 for key in keys if "calibrated" in key}
    return values | {f"{key}.std": 0.003 for key in keys if ".auc." in key}


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of a small report of the latent study."""
    root = tmp_path_factory.mktemp("study")
    path = ROOT / "workflow/report/latent.yaml"
    (root / "summary.json").write_text(json.dumps(numbers_for(manifests.load(path))))
    images = []
    for figure in FIGURES:
        for panel in figure.panels:
            stem = root / "figures" / panel
            draw(stem, 1800 if len(figure.panels) == 1 else 900, 800)
            images.append(str(stem.with_suffix(".png")))
    captions = root / "captions"
    captions.mkdir()
    for figure in FIGURES:
        text = "Source (blue) and target (black) in :math:`z_{128}`: *equal* after the map.\n\n" * 2
        (captions / figure.caption).write_text(text, encoding="utf-8")
    sidecar = root / "map.safetensors.provenance.json"
    sidecar.write_text(
        json.dumps(
            {
                "step": "fit_map",
                "version": "0.1.0",
                "revision": "v0.1.0-7-g0123abc-dirty",
                "spec": {},
                "inputs": {"results/latent/latents/source_" + "x" * 60 + ".parquet": "0" * 64},
                "seed": 20250711,
                "threads": "2",
            }
        )
    )
    benchmark = root / "benchmarks/simulate/training-QCD-0.tsv"
    benchmark.parent.mkdir(parents=True)
    benchmark.write_text("s\th:m:s\tmax_rss\n61.5\t0:01:01\t310.2\n")
    config = {"seed": 1, "a_long_line": "word " * 60, "b": {"c": [1, 2, 3]}}
    spec = ReportSpec(config=config, figures=tuple(FIGURES))
    page = root / "report/index.html"
    build_report.main(
        [
            *("--spec", spec.model_dump_json()),
            *("--manifest", str(path), "--summary", str(root / "summary.json")),
            *("--figures", *images),
            *("--captions", str(captions)),
            *("--provenance", str(sidecar)),
            *("--benchmarks", str(root / "benchmarks")),
            *("--output", str(page)),
        ]
    )
    return page
