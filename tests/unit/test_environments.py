"""Conda environments and image ask for what pyproject.toml asks for, and for nothing else."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from support.checkout import ROOT

ENVS = ROOT / "envs"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def asked(extras: set[str]) -> set[str]:
    """Return the requirements of an installation of the project with extras."""
    optional = PROJECT["optional-dependencies"]
    lists = [PROJECT["dependencies"], *(optional[extra] for extra in extras)]
    return {str(Requirement(text)) for one in lists for text in one}


def resolved(line: str, directory: Path) -> set[str]:
    """Return what a line of a list for pip asks for: the project itself, or a package."""
    found = re.fullmatch(r"(?:--editable |-e )?([./\w-]+?)(?:\[([\w,]+)\])?", line)
    if found is None or not (directory / found[1] / "pyproject.toml").is_file():
        return {str(Requirement(line))}
    assert (directory / found[1]).resolve() == ROOT
    return asked(set(found[2].split(",")) if found[2] else set())


def environment(name: str) -> tuple[list[str], list[str]]:
    """Return the packages that conda and that pip are to install."""
    listed: list[Any] = yaml.safe_load((ENVS / name).read_text())["dependencies"]
    conda = [one for one in listed if isinstance(one, str)]
    pip = [line for one in listed if isinstance(one, dict) for line in one["pip"]]
    return conda, pip


def sections(path: Path) -> dict[str, str]:
    """Return the text of each section of an Apptainer definition, and the header's as ""."""
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE)
    parts = re.split(r"^%(\w+)\n", text, flags=re.MULTILINE)
    return {"": parts[0]} | dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize(
    ("name", "extras"), [("cpu.yaml", {"bundle"}), ("gpu.yaml", {"bundle", "slurm"})]
)
def test_an_environment_asks_for_the_project_s_versions(name: str, extras: set[str]) -> None:
    conda, pip = environment(name)
    wanted = {requirement for line in pip for requirement in resolved(line, ENVS)}
    assert wanted == asked(extras)
    # A library from conda would be another build, perhaps of another version, than pip's.
    assert {re.split(r"[=<>]", one)[0] for one in conda} == {"python", "pip"}


def test_all_environments_have_the_same_supported_python() -> None:
    image = re.search(r"^From: python:([\d.]+)", sections(ENVS / "otcal.def")[""], re.MULTILINE)
    assert image is not None
    found = {image[1]}
    for path in ENVS.glob("*.yaml"):
        conda, _ = environment(path.name)
        found |= {one.removeprefix("python=") for one in conda if one.startswith("python=")}
    assert len(found) == 1
    assert SpecifierSet(PROJECT["requires-python"]).contains(found.pop())


def test_the_image_installs_what_the_environment_for_gpus_does() -> None:
    parts = sections(ENVS / "otcal.def")
    copied = dict(line.split() for line in parts["files"].splitlines() if line.strip())
    assert all((ROOT / source).exists() for source in copied)
    needed = {"pyproject.toml", PROJECT["readme"], *PROJECT["license-files"], "src"}
    assert copied == {name: f"/opt/otcal/{name}" for name in needed}
    command = shlex.split(parts["post"])
    assert command[:2] == ["pip", "install"]
    targets = [word for word in command[2:] if not word.startswith("-")]
    wanted = {
        requirement
        for target in targets
        for requirement in resolved(target.replace("/opt/otcal", "."), ROOT)
    }
    _, pip = environment("gpu.yaml")
    assert wanted == {requirement for line in pip for requirement in resolved(line, ENVS)}


def test_in_the_image_the_code_of_the_checkout_runs() -> None:
    assert 'PYTHONPATH="$PWD/src' in sections(ENVS / "otcal.def")["environment"]


def test_the_rule_of_delphes_has_an_environment_with_the_program_only() -> None:
    rules = ROOT / "workflow" / "rules" / "simulate.smk"
    named = re.findall(r'conda:\n +"(.+)"', rules.read_text())
    assert [(rules.parent / one).resolve() for one in named] == [ENVS / "delphes.yaml"]
    conda, pip = environment("delphes.yaml")
    # Snakemake makes it elsewhere, from where no path leads to the project; and its Python is not
    # the one that the step runs in.
    assert {re.split(r"[=<>]", one)[0] for one in conda} == {"delphes", "pythia8"}
    assert pip == []
    # Other versions would make other jets.
    assert all(re.fullmatch(r"\w+=\d+(\.\d+)+", one) for one in conda)
    guide = (ROOT / "docs" / "own_data.md").read_text()
    (version,) = [one.partition("=")[2] for one in conda if one.startswith("delphes=")]
    assert f"The card is written for Delphes {version}" in guide


def test_the_workflow_s_container_is_the_image_of_the_definition() -> None:
    container = re.search(r'^container: "(.+)"$', (ROOT / "Snakefile").read_text(), re.MULTILINE)
    assert container is not None
    assert (ROOT / container[1]).with_suffix(".def") == ENVS / "otcal.def"
