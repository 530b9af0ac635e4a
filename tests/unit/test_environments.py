"""Environments and image ask for what pyproject.toml asks for, all in the same versions."""

from __future__ import annotations

import importlib.metadata
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from support.checkout import ROOT

ENVS = ROOT / "envs"
CONSTRAINTS = ENVS / "constraints.txt"
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
    """Return the packages that conda and that pip are to install, the latter within constraints."""
    listed: list[Any] = yaml.safe_load((ENVS / name).read_text())["dependencies"]
    conda = [one for one in listed if isinstance(one, str)]
    pip = [line for one in listed if isinstance(one, dict) for line in one["pip"]]
    if pip:
        assert pip.pop(0) == f"--constraint {CONSTRAINTS.name}"
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


def pins() -> dict[str, str]:
    """Return the version of each constraint."""
    lines = re.findall(r"^([^#\s]+)==(\S+)$", CONSTRAINTS.read_text(), flags=re.MULTILINE)
    return {canonicalize_name(name): version for name, version in lines}


def test_constraints_are_within_what_the_project_asks_for() -> None:
    pinned = pins()
    for text in asked({"slurm", "bundle", "dev"}):
        requirement = Requirement(text)
        if requirement.name != PROJECT["name"]:
            assert pinned[canonicalize_name(requirement.name)] in requirement.specifier


def test_constraints_cover_all_that_comes_with_the_project() -> None:
    """Of what is installed here, in whatever version."""
    pinned, seen, left = pins(), set(), [(PROJECT["name"], frozenset({"dev", "bundle", "slurm"}))]
    while left:
        name, extras = left.pop()
        seen.add((name, extras))
        for text in importlib.metadata.requires(name) or ():
            one = Requirement(text)
            marker = one.marker
            if marker and not any(marker.evaluate({"extra": extra}) for extra in extras | {""}):
                continue
            found = (canonicalize_name(one.name), frozenset(one.extras))
            if found[0] != PROJECT["name"] and not found[0].startswith(("nvidia-", "cuda-")):
                assert found[0] in pinned | {"setuptools": "", "triton": ""}, f"{name} needs it"
            if found not in seen:
                left.append(found)


def test_make_installs_within_the_constraints() -> None:
    text = (ROOT / "Makefile").read_text()
    assert f"CONSTRAINTS ?= {CONSTRAINTS.relative_to(ROOT)}\n" in text
    assert "$(CONSTRAINTS:%=--constraint %) --editable" in text


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
    constraints = str(CONSTRAINTS.relative_to(ROOT))
    needed = {"pyproject.toml", PROJECT["readme"], *PROJECT["license-files"], "src", constraints}
    assert copied == {name: f"/opt/otcal/{name}" for name in needed}
    command = shlex.split(parts["post"])
    assert command[:2] == ["pip", "install"]
    place = command.index("--constraint")
    assert command[place + 1] == f"/opt/otcal/{constraints}"
    del command[place : place + 2]
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
