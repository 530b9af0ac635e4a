"""Code fingerprints change with what can execute, and with nothing else."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from otcal.runtime import fingerprint as module

FILES = {
    "__init__.py": '"""The package."""\n',
    "a.py": (
        '"""Docs."""\nfrom otcal import field\nfrom otcal.sub.b import value\n\n\n'
        "def use() -> int:\n    return value\n"
    ),
    "sub/__init__.py": "",
    "sub/b.py": "from otcal.sub import c\n\nvalue = c.one\n",
    "sub/c.py": "one = 1\n",
    "sub/data/table.csv": "x\n1\n",
    "field.py": 'from pydantic import Field\nx = Field(1, ge=0, description="Says.")\n',
    "other.py": "two = 2\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    for name, text in FILES.items():
        path = tmp_path / "otcal" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "otcal"


def again(package: Path) -> str:
    """Fingerprint of `otcal.a` as a new process would see it."""
    for cached in (module._fingerprint, module._module, module._file):
        cached.cache_clear()
    return module.fingerprint("otcal.a", package)


def edited(package: Path, name: str, text: str) -> str:
    (package / name).write_text(text)
    return again(package)


def test_closure_follows_imports_and_parents(package: Path) -> None:
    assert module.closure("otcal.a", package) == {
        "otcal",
        "otcal.a",
        "otcal.field",
        "otcal.sub",
        "otcal.sub.b",
        "otcal.sub.c",
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("sub/c.py", "one = 3\n"),
        ("sub/data/table.csv", "x\n2\n"),
        ("sub/__init__.py", "import math\n"),
        ("field.py", 'from pydantic import Field\nx = Field(2, ge=0, description="Says.")\n'),
        ("a.py", FILES["a.py"].replace("value\n\n", "value as v\n\n").replace("n value", "n v")),
    ],
)
def test_what_can_execute_counts(package: Path, name: str, text: str) -> None:
    before = module.fingerprint("otcal.a", package)
    assert edited(package, name, text) != before


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("other.py", "two = 3\n"),
        ("sub/c.py", '"""A docstring."""\n\n# a comment\none = 1  # another\n'),
        ("a.py", FILES["a.py"].replace("    return", '    """Says."""\n\n    return')),
        ("sub/b.py", "from otcal.sub import c\nvalue = (c.one)\n"),
        (
            "field.py",
            'from pydantic import Field\nx = Field(1, ge=0, description="Better said.")\n',
        ),
    ],
)
def test_what_cannot_execute_does_not(package: Path, name: str, text: str) -> None:
    before = module.fingerprint("otcal.a", package)
    assert edited(package, name, text) == before


def test_only_the_package_that_is_asked_for_counts(package: Path) -> None:
    def inside() -> str:
        return module.fingerprint("otcal.a", package, within="otcal.sub")

    before, whole = inside(), module.fingerprint("otcal.a", package)
    assert before != whole
    text = (package / "a.py").read_text()
    assert edited(package, "a.py", f"{text}\nmore = 1\n") != whole
    assert inside() == before
    edited(package, "sub/c.py", "one = 4\n")
    assert inside() != before


def test_unknown_module_and_relative_import_are_errors(package: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"otcal\.missing"):
        module.fingerprint("otcal.missing", package)
    with pytest.raises(ImportError, match="relative"):
        edited(package, "sub/b.py", "from .c import one\n\nvalue = one\n")


def kept(package: Path) -> list[Path]:
    return sorted(package.rglob("*.fingerprint"))


def test_a_module_is_parsed_once(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = module.fingerprint("otcal.a", package)
    assert len(kept(package)) == len(module.closure("otcal.a", package))
    monkeypatch.setattr(ast, "parse", None)
    assert again(package) == before
    with pytest.raises(TypeError):
        edited(package, "sub/c.py", "one = 3\n")


def test_what_is_kept_counts_only_when_it_is_whole(package: Path) -> None:
    before = module.fingerprint("otcal.a", package)
    for path in kept(package):
        path.write_bytes(path.read_bytes()[:-1])
    assert again(package) == before
    for path in kept(package):
        path.write_bytes(b"")
    assert again(package) == before


def test_nothing_is_kept_where_no_bytecode_is(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (package / "__pycache__").symlink_to(package / "missing")  # cannot be made
    before = module.fingerprint("otcal.a", package)
    assert {path.parent.parent for path in kept(package)} == {package / "sub"}
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for path in kept(package):
        path.unlink()
    assert again(package) == before
    assert kept(package) == []
