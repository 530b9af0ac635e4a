"""The smallest study that has everything a page can show."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import yaml

from otcal.steps import build_report

MANIFEST: dict[str, Any] = {
    "title": "Tea & <cake>",
    "subtitle": "A study",
    "legend": {"before": "source", "after": "calibrated"},
    "sections": [
        {
            "id": "results",
            "title": "Results",
            "text": "Prose with *stress* and :math:`x_1`.",
            "numbers": [
                {
                    "key": "auc.a",
                    "label": "Closure",
                    "text": "It closes.",
                    "paper": "It closed.",
                    "digits": 2,
                    "expect": [0.48, 0.52],
                }
            ],
            "tables": [
                {
                    "id": "auc",
                    "title": "Areas",
                    "row_title": "Layer",
                    "rows": {"a": "First", "b": "Second"},
                    "columns": [
                        {"title": "AUC", "group": "Ours", "key": "auc.{row}", "digits": 3},
                        {"title": "Said", "group": "Paper", "values": {"a": "half"}},
                    ],
                },
                {
                    "id": "ks",
                    "title": "Distances",
                    "row_title": "Feature",
                    "rows": "*",
                    "names": {"eta": "Pseudorapidity"},
                    "columns": [{"title": "KS", "key": "ks.{row}", "digits": 2, "limit": 0.05}],
                },
            ],
            "figures": ["fig1"],
        }
    ],
}
SUMMARY = {"auc.a": 0.5012, "auc.a.std": 0.0041, "auc.b": 0.8766, "ks.pt": 0.01, "ks.eta": 0.07}
FIGURE = {
    "name": "fig1",
    "title": "A figure",
    "number": "3",
    "caption": "fig1.rst",
    "panels": ["fig1a", "fig1b"],
}
RECORD = {
    "step": "fit_map",
    "version": "0.1.0",
    "revision": "abc123",
    "spec": {},
    "inputs": {"in/b.parquet": "b" * 64, "in/a.parquet": "a" * 64},
    "seed": 7,
    "threads": "1",
}


class Study:
    """Files of a study below one directory, and the command that makes its page."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.page = root / "report/index.html"
        self.manifest = json.loads(json.dumps(MANIFEST))
        self.summary: dict[str, Any] = dict(SUMMARY)
        self.figures = [dict(FIGURE)]
        self.images: list[Path] = []
        for panel in FIGURE["panels"]:
            image = root / "drawn" / f"{panel}.png"
            image.parent.mkdir(exist_ok=True)
            # Signature and header chunk are all that is read of it.
            size = struct.pack(">II", 640, 480)
            image.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + size + b"\x08\x02\0\0\0")
            image.with_suffix(".pdf").write_bytes(b"%PDF of " + panel.encode())
            image.with_suffix(".csv").write_text(f"table of {panel}")
            self.images.append(image)
        (root / "captions").mkdir()
        (root / "captions/fig1.rst").write_text("What **is** drawn.")
        (root / "map.provenance.json").write_text(json.dumps(RECORD))

    def build(self, *extra: str) -> str:
        (self.root / "manifest.yaml").write_text(yaml.safe_dump(self.manifest, sort_keys=False))
        (self.root / "summary.json").write_text(json.dumps(self.summary))
        spec = {"config": {"seed": 7, "a": {"b": [1, 2]}}, "figures": self.figures}
        build_report.main(
            [
                *("--spec", json.dumps(spec)),
                *("--manifest", str(self.root / "manifest.yaml")),
                *("--summary", str(self.root / "summary.json")),
                *("--figures", *map(str, self.images)),
                *("--captions", str(self.root / "captions")),
                *("--provenance", str(self.root / "map.provenance.json")),
                *("--output", str(self.page)),
                *extra,
            ]
        )
        return self.page.read_text(encoding="utf-8")


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path)
