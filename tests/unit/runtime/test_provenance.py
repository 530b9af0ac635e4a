"""Provenance says where a file came from, and nothing that changes by itself."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from otcal.runtime import provenance
from otcal.runtime.files import read_json, sha256


def test_a_record_names_code_settings_inputs_and_seed(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("abc")
    record = provenance.record("fit_map", {"steps": 3}, [path], seed=7)
    assert record["step"] == "fit_map"
    assert record["version"] == version("otcal")
    assert record["spec"] == {"steps": 3}
    assert record["inputs"] == {str(path): sha256(path)}
    assert record["seed"] == 7


def test_equal_work_gives_equal_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "in.csv"
    path.write_text("abc")
    first = json.dumps(provenance.record("s", {}, [path]))
    path.touch()
    monkeypatch.setattr("time.time", lambda: 0.0)
    monkeypatch.setenv("USER", "somebody")
    monkeypatch.setenv("HOSTNAME", "elsewhere")
    assert json.dumps(provenance.record("s", {}, [path])) == first


def test_another_input_gives_another_record(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("abc")
    first = provenance.record("s", {}, [path])
    path.write_text("abd")
    assert provenance.record("s", {}, [path]) != first


def test_the_sidecar_stands_beside_the_output(tmp_path: Path) -> None:
    record = provenance.record("s", {"a": 1})
    provenance.write_sidecar(tmp_path / "fig.pdf", record)
    assert read_json(tmp_path / "fig.pdf.provenance.json") == record


def test_without_git_there_is_no_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    provenance.revision.cache_clear()
    monkeypatch.setenv("PATH", "")
    try:
        assert provenance.revision() is None
    finally:
        provenance.revision.cache_clear()
