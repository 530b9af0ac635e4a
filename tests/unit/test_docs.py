"""What the user guide names exists: pages, modules, settings, figures and commands."""

from __future__ import annotations

import pkgutil
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otcal.config.study import Settings
from otcal.figures.catalogue import FIGURES, SIMPLEX_FIGURES
from support.checkout import ROOT

PAGES = [
    *(ROOT / f"{name}README.md" for name in ("", "benchmarks/", "results/")),
    *sorted((ROOT / "docs").glob("*.md")),
]
Node = dict[str, Any]

RUN_BY = {
    r"make (figures|test|smoke|validation|cluster|resume)( .*)?": __file__,
    r"otcal (export results/(simplex|latent)|apply bundle) .*": "unit/bundle/test_guide.py",
    r"otcal check (data|--layout) ?.*": "unit/samples/test_own_data.py",
    r"python -m otcal\.steps\.simulate_delphes .*|mkdir shard": "unit/simulation/test_delphes.py",
    r"snakemake --cores all --sdm conda": "workflow/test_delphes.py",
    r"snakemake --cores all --configfile .*public_data\.yaml": "workflow/test_own_jets.py",
    r"otcal (check|apply|export) .*results/smoke.*": "workflow/test_smoke.py",
    r"snakemake --cores 2 --dry-run .*|python -m otcal\.steps\.fit_map --help": (
        "workflow/test_smoke.py"
    ),
    r"snakemake --profile profiles/slurm .*": "slurm/test_slurm.py",
    r"python -m otcal\.cluster resume .*": "slurm/test_slurm.py",
    r"python -m otcal\.cluster cancel": "unit/test_cluster.py",
    r"python benchmarks/transport_accuracy\.py .*": "unit/benchmarks/test_command.py",
    # They make the environment of the tests, or one like it.
    r"git clone .*|python3 -m venv .*|pip install (-c \S+ )?-e .*": "unit/test_environments.py",
    # Several nodes; with processes of one node:
    r"head=.*|srun .* -m otcal\.steps\.train_tagger .*": "steps/test_tagger_steps.py",
}
"""Tests behind the commands of the guide.

They run them as they are, with smaller samples or with a stand-in; of `make` and presets they ask
for the plan, of what installs they compare the versions.
"""


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """Return the anchors that forges give the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", text(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


def exists(name: str) -> bool:
    """Tell whether a dotted name is a module, or something in one."""
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


def keys(schema: Node) -> set[str]:
    """Return all dotted keys of the configuration; names of a user's choice are left out."""
    found = set()

    def visit(path: str, node: Node) -> None:
        while "$ref" in node:
            node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
        for option in (*node.get("anyOf", ()), *node.get("oneOf", ())):
            visit(path, option)
        for key, value in node.get("properties", {}).items():
            found.add(f"{path}.{key}".lstrip("."))
            visit(f"{path}.{key}".lstrip("."), value)

    visit("", schema)
    return found


def commands(page: Path) -> Iterator[str]:
    for block in re.findall(r"```sh\n(.*?)```", text(page), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            yield re.sub(r"\s+#.*", "", line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", text(page)):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        other = (page.parent / name).resolve() if name else page
        assert other.exists(), target
        assert not anchor or anchor in anchors(other), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_and_settings_exist(page: Path) -> None:
    words = re.findall(r"`([\w.]+)`", text(page))
    known = keys(Settings.model_json_schema())
    unknown = {
        word
        for word in words
        if (word.startswith("otcal.") and not exists(word))
        or (word.startswith(("latent.", "simplex.")) and word not in known)
    }
    assert unknown == set()


def test_every_figure_is_explained() -> None:
    named = set(re.findall(r"`(\w+)`", text(ROOT / "docs/figures.md")))
    assert {figure.name for figure in (*FIGURES, *SIMPLEX_FIGURES)} <= named


def test_every_page_is_listed() -> None:
    listed = set(re.findall(r"\]\((\w+\.md)\)", text(ROOT / "docs/README.md")))
    assert listed == {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}


def test_no_command_is_without_a_test() -> None:
    lines = {line.strip() for page in PAGES for line in commands(page)} - {""}
    runs = {line: [one for one in RUN_BY if re.fullmatch(one, line)] for line in lines}
    assert {line for line, found in runs.items() if len(found) != 1} == set()
    assert {one for found in runs.values() for one in found} == set(RUN_BY)
    assert all((ROOT / "tests" / name).is_file() for name in RUN_BY.values())


def test_make_targets_do_what_the_guide_says() -> None:
    def steps(*arguments: str) -> str:
        done = subprocess.run(
            ["make", "--dry-run", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
        )
        return done.stdout

    lines = {line for page in PAGES for line in commands(page) if line.startswith("make ")}
    assert {"make figures", "make test", "make smoke"} <= lines
    for line in lines:
        assert steps(*line.split()[1:])
    paper = "--configfile workflow/presets/paper.yaml"
    assert f"snakemake --profile profiles/slurm  {paper}" in steps("cluster", "PRESET=paper")
    resumed = "python -m otcal.cluster resume --profile profiles/slurm"
    assert f"{resumed}  {paper}" in steps("resume", "PRESET=paper")
