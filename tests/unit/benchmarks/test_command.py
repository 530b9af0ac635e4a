"""The benchmark's command: rows that are there aren't measured again; what is missing is named."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

import transport_accuracy
from accuracy import table
from accuracy.draw import LOOKS
from accuracy.solvers import REVISION, SOLVERS, Entry

NUMBERS = {name: 1.5 for name in table.FIGURES if name != "notes"} | {"notes": "{}"}


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function of options that runs the command; its rows cost nothing."""
    measured = []

    def run(row: dict[str, str]) -> dict[str, object]:
        measured.append(table.key(row)[:4])
        return {**row, **NUMBERS}

    def call(*options: str) -> list[tuple[str, ...]]:
        measured.clear()
        monkeypatch.setattr(sys, "argv", ["command", "--output", str(tmp_path), *options])
        transport_accuracy.main()
        return list(measured)

    monkeypatch.setattr(transport_accuracy, "run", run)
    monkeypatch.setattr(transport_accuracy, "draw", lambda rows, stem: None)
    return call


def test_only_missing_rows_are_measured(command, tmp_path: Path) -> None:
    options = ["--families", "gauss-2", "--solvers", "linear", "otcal", "--seeds", "1"]
    assert command(*options) == [("gauss-2", "linear", "1", "0"), ("gauss-2", "otcal", "1", "60")]
    assert command(*options) == []
    assert command(*options, "2") == [
        ("gauss-2", "linear", "2", "0"),
        ("gauss-2", "otcal", "2", "60"),
    ]
    # The closed form doesn't depend on the budget.
    assert command(*options, "--budget", "5") == [("gauss-2", "otcal", "1", "5")]
    assert len(table.read(tmp_path / "accuracy.csv")) == 5


def test_another_version_or_machine_is_measured_again(
    command, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--families", "gauss-2", "--solvers", "linear", "--seeds", "1"]
    assert len(command(*options)) == 1
    monkeypatch.setattr("accuracy.solvers.REVISION", REVISION + 1)
    assert len(command(*options)) == 1
    assert command(*options) == []
    monkeypatch.setattr(transport_accuracy, "machine", lambda: "another processor")
    assert len(command(*options)) == 1


def test_other_settings_are_measured_again(command, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--families", "gauss-2", "--solvers", "otcal", "minimax-small", "--seeds", "1"]
    assert len(command(*options)) == 2
    changed = replace(SOLVERS["minimax-small"], settings={"blocks": 2})
    monkeypatch.setitem(SOLVERS, "minimax-small", changed)
    assert command(*options) == [("gauss-2", "minimax-small", "1", "60")]


def test_rows_of_other_columns_are_refused(command, tmp_path: Path) -> None:
    path = tmp_path / "accuracy.csv"
    path.write_text("family,solver,seed\ngauss-2,linear,1\n")
    with pytest.raises(SystemExit, match=r"accuracy\.csv: .* another --output"):
        command("--families", "gauss-2", "--solvers", "linear", "--seeds", "1")
    assert len(path.read_text().splitlines()) == 2


def test_missing_package_is_named(
    command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(SOLVERS, "other", Entry("Other", "other.fit", imports=("no_such_module",)))
    with pytest.raises(SystemExit):
        command("--solvers", "other")
    message = capsys.readouterr().err
    assert "no_such_module" in message
    assert ".[bench]" in message


def test_summary_has_medians_and_ranges() -> None:
    base = {"family": "gauss-2", "solver": "linear", "budget_s": "0", "version": "1", **NUMBERS}
    rows = [{**base, "seed": str(seed), "l2_uvp": str(seed)} for seed in (1, 2, 6)]
    (summary,) = table.summarise(table.frame(rows)).to_dict("records")
    assert (summary["l2_uvp"], summary["lowest"], summary["highest"]) == (2, 1, 6)
    assert summary["seeds"] == 3


def test_markdown_has_medians_of_the_largest_budget() -> None:
    def row(solver: str, budget: str, seed: int, error: float, family: str = "a") -> dict[str, str]:
        names = {"family": family, "solver": solver, "budget_s": budget, "seed": str(seed)}
        return {**NUMBERS, "version": "1", **names, "l2_uvp": str(error)}

    rows = [row("ours", "60", seed, error) for seed, error in enumerate((0.3, 0.1, 0.2), 1)]
    rows += [row("ours", "5", seed, 0.01) for seed in (1, 2, 3)]
    rows += [row("theirs", "60", 1, 17.25), row("ours", "60", 1, 0.5, family="b")]
    rows += [row("theirs", "60", 1, 2.5e6, family="b")]
    text = table.markdown(table.frame(rows), {"theirs": "Theirs", "absent": "-", "ours": "Ours"})
    assert text.splitlines() == [
        "| L2-UVP (%) | Theirs | Ours |",
        "| --- | --- | --- |",
        "| a | 17 (1) | **0.2** |",
        "| b | > 200 (1) | **0.5** (1) |",
    ]


def test_every_solver_has_looks_of_its_own() -> None:
    assert list(LOOKS) == list(SOLVERS)
    assert len(set(LOOKS.values())) == len(LOOKS)
