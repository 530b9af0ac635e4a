"""Tables in the documentation that say to come from published rows are theirs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from accuracy.table import DIVERGED
from streaming_memory import growth

PROJECT = Path(__file__).parents[3]
PUBLISHED = PROJECT / "benchmarks" / "published"

FIRST_SEEDS = (101, 102, 103)
MANY_SEEDS = (*FIRST_SEEDS, 104, 105, 106, 107, 108, 109)
CLOSE = {
    (family, solver)
    for family in ("lse-2", "simplex-2")
    for solver in ("otcal", "ott-neural-dual-tuned")
}
"""What three seeds cannot tell apart."""
MAIN = {
    "Gaussian map (POT)": "pot-linear",
    "`otcal`, default": "otcal",
    "OTT, rate 5 · 10⁻³": "ott-neural-dual-tuned",
    "OTT, rate 5 · 10⁻⁴": "ott-neural-dual-cautious",
    "OTT, our coordinates": "ott-neural-dual-preconditioned",
}
OTHERS = {
    "`otcal`, default": "otcal",
    "OTT, input-convex": "ott-neural-dual-convex",
    "OTT, documented": "ott-neural-dual",
    "OTT, entropic": "ott-entropic",
    "the same, our coordinates": "ott-entropic-preconditioned",
    "POT, entropic": "pot-entropic",
    "minimax, small, our coordinates": "minimax-small-preconditioned",
}
STEPS = {
    "`export_latents`, two constituents per jet": "export_latents",
    "`fit_map`": "fit_map",
    "`calibrate`": "calibrate",
    "`train_discriminator`": "train_discriminator",
    "the same, linear": "train_discriminator_linear",
    "`reweight`": "reweight",
    "`tabulate_latents`": "tabulate_latents",
    "`build_regions`": "build_regions",
    "`otcal apply`, Parquet": "apply",
    "the same, ROOT": "apply_root",
    "the same, HDF5": "apply_hdf5",
}


def read_table(page: str, after: str) -> pd.DataFrame:
    """Return the first table after a text, as strings, indexed by its first column."""
    text = (PROJECT / "docs" / page).read_text(encoding="utf-8")
    text = text[text.index(after) :]
    lines = re.search(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    assert lines is not None
    cells = [
        [cell.strip().strip("*") for cell in line.strip().strip("|").split("|")]
        for line in lines[0].splitlines()
    ]
    return pd.DataFrame(cells[2:], columns=cells[0]).set_index(cells[0][0])


@pytest.mark.parametrize(
    ("after", "columns", "many"),
    [("## Against other solvers", MAIN, True), ("Other solvers, medians", OTHERS, False)],
)
def test_errors_of_the_solvers_are_medians_of_the_rows(
    after: str, columns: dict[str, str], many: bool
) -> None:
    rows = pd.read_csv(PUBLISHED / "accuracy.csv")
    table = read_table("transport.md", after)
    assert list(table.columns) == list(columns)
    for family, line in table.iterrows():
        for column, solver in columns.items():
            long = many and (family, solver) in CLOSE
            chosen = (rows["family"] == family) & (rows["solver"] == solver)
            chosen &= rows["seed"].isin(MANY_SEEDS if long else FIRST_SEEDS)
            errors = rows.loc[chosen, "l2_uvp"]
            if line[column] == "":
                assert solver in ("ott-neural-dual-cautious", "ott-neural-dual-convex")
                assert len(errors) < 3  # not measured in all seeds
            elif line[column] == "—":
                assert (errors.isna() | (errors > DIVERGED)).sum() >= 2
            else:
                assert len(errors) == (9 if long else 3), (family, solver)
                assert float(line[column]) == float(f"{errors.median():.2g}"), (family, solver)


def test_ratios_of_what_is_close_are_those_of_the_rows() -> None:
    rows = pd.read_csv(PUBLISHED / "accuracy.csv")
    rows = rows[rows["seed"].isin(MANY_SEEDS)]
    errors = rows.pivot_table("l2_uvp", ["family", "seed"], "solver")
    ratios = np.log(errors["otcal"] / errors["ott-neural-dual-tuned"])
    groups = [ratios[["lse-2"]], ratios[["simplex-2"]], ratios[["lse-2", "simplex-2"]]]
    means = [np.exp(group.mean()) for group in groups]
    widths = [mean * group.sem() for mean, group in zip(means, groups, strict=True)]
    text = (PROJECT / "docs" / "transport.md").read_text(encoding="utf-8")
    found = re.search(
        r"geometric mean of the ratios of ours to OTT's is (\S+) in `lse-2`, (\S+) in `simplex-2`, "
        r"and (\S+) over the eighteen, with (\S+), (\S+) and (\S+) as standard errors",
        text,
    )
    assert found is not None
    assert [len(group) for group in groups] == [9, 9, 18]
    assert found.groups() == tuple(f"{number:.2f}" for number in (*means, *widths))


def test_lowest_errors_are_set_in_bold() -> None:
    text = (PROJECT / "docs" / "transport.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| (?:gauss|lse|mixture|quantile|simplex)-\d+ \|.*$", text, re.MULTILINE)
    assert len(lines) == 24
    for line in lines:
        cells = [cell.strip() for cell in line.strip("|").split("|")][1:]
        numbers = {cell: float(cell.strip("*")) for cell in cells if cell not in ("", "—")}
        bold = [number for cell, number in numbers.items() if cell.startswith("**")]
        others = [number for cell, number in numbers.items() if not cell.startswith("**")]
        assert bold
        assert max(bold) < min(others), line


def test_memory_of_the_steps_is_that_of_the_rows() -> None:
    rows = pd.read_csv(PUBLISHED / "memory.csv")
    table = read_table("cluster.md", "benchmarks/published/memory.csv")
    assert set(STEPS.values()) == set(rows["step"])
    assert set(table.index) == set(STEPS)
    continued = growth(rows).set_index("step")["mb_at_10_million"]
    gigabytes = (1 << 20) / 1e9
    for label, step in STEPS.items():
        measured = rows[rows["step"] == step].set_index("jets")["anonymous_mb"] * gigabytes
        line = table.loc[label]
        assert line["1 million"] == f"{measured[1_000_000]:.2f}"
        assert line["4 million"] == f"{measured[4_000_000]:.2f}"
        assert line["10 million"] == f"{continued[step] * gigabytes:.1f}"
