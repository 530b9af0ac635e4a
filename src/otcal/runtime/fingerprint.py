"""A hash of the code that a step can execute, for the workflow's rerun decision.

Snakemake compares a rule's command and parameters, but tracks no imports. A rule that carries
`fingerprint("otcal.steps.<step>")` as a parameter re-runs when code that the step can reach has
changed, and only then: comments, docstrings, descriptions of settings, formatting and unrelated
modules do not count.
"""

from __future__ import annotations

import ast
import hashlib
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import cache_from_source
from pathlib import Path

PACKAGE = "otcal"
ROOT = Path(__file__).resolve().parents[1]
_SELF = Path(__file__).read_bytes()


def fingerprint(module: str, root: Path = ROOT, within: str = PACKAGE) -> str:
    """Return the hash of a module and of everything it imports inside the package.

    Package data (CSV tables, templates, styles) in a directory named `data` or `templates` counts
    with the package that holds it.

    Parameters
    ----------
    module
        Dotted name, such as ``otcal.steps.simulate``.
    root
        Directory of the package; another one in tests.
    within
        Count modules of this package alone, such as ``otcal.transport``.

    Raises
    ------
    ModuleNotFoundError
        When the package has no such module.
    """
    return _fingerprint(module, root, within)


@cache
def _fingerprint(module: str, root: Path, within: str) -> str:
    digest = hashlib.blake2b(digest_size=12)
    for name in sorted(closure(module, root)):
        if f"{name}.".startswith(f"{within}."):
            digest.update(f"{name}={_module(name, root).hash}\n".encode())
    return digest.hexdigest()


def closure(module: str, root: Path = ROOT) -> set[str]:
    """Return the names of all modules of the package that `module` imports, itself included."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        parts = name.split(".")
        waiting += [".".join(parts[:end]) for end in range(1, len(parts))]
        waiting += [one for one in _module(name, root).imports if _file(one, root) is not None]
    return found


@cache
def _file(name: str, root: Path) -> Path | None:
    """Return the source file of a module, None when the package has no such module."""
    base = root.joinpath(*name.split(".")[1:])
    for candidate in (base / "__init__.py", base.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None


@dataclass(frozen=True)
class _Module:
    """What counts of a module.

    Attributes
    ----------
    hash
        Hash of its syntax tree and its data.
    imports
        Names inside the package that it imports: modules, and names that may be modules.
    """

    hash: str
    imports: tuple[str, ...]


@cache
def _module(name: str, root: Path) -> _Module:
    """Parse a module, or read what was kept of it by its content: parsing takes most of a plan."""
    file = _file(name, root)
    if file is None:
        raise ModuleNotFoundError(f"no module {name} in {root}")
    source, data = file.read_bytes(), _data(file, root)
    content = hashlib.blake2b(_SELF, digest_size=16)
    for part in (source, *data):
        content.update(f"{len(part)} ".encode() + part)
    kept = Path(cache_from_source(file)).with_suffix(".fingerprint")
    found = _read(kept, content.hexdigest())
    if found is None:
        tree = _tree(source, file)
        digest = hashlib.blake2b(ast.dump(tree).encode(), digest_size=12)
        for part in data:
            digest.update(part)
        found = _Module(digest.hexdigest(), _imports(tree, name))
        _write(kept, found, content.hexdigest())
    return found


def _data(file: Path, root: Path) -> list[bytes]:
    """Return names and contents of the data that come with a package's `__init__.py`."""
    if file.name != "__init__.py":
        return []
    folders = (file.parent / folder for folder in ("data", "templates"))
    paths = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    names = (path.relative_to(root).as_posix().encode() for path in paths)
    return [
        part for name, path in zip(names, paths, strict=True) for part in (name, path.read_bytes())
    ]


def _read(kept: Path, content: str) -> _Module | None:
    """Return what a file holds, None unless it is there, whole and of this content."""
    try:
        lines = kept.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    if not lines or lines.pop() != content:
        return None
    return _Module(lines[0], tuple(lines[1:]))


def _write(kept: Path, module: _Module, content: str) -> None:
    """Keep a module beside its bytecode; a file that is whole ends with `content`."""
    if sys.dont_write_bytecode:
        return
    temporary = kept.with_name(f"{kept.name}.{os.getpid()}")
    # As with bytecode: an installation that may not be written to is only slower.
    with suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text("\n".join((module.hash, *module.imports, content)), encoding="utf-8")
        temporary.replace(kept)


def _tree(source: bytes, file: Path) -> ast.Module:
    """Return the syntax tree of a source without docstrings and descriptions of fields.

    Comments are not in it anyway.
    """
    tree = ast.parse(source, filename=str(file))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [line for line in node.body if not _is_text(line)] or [ast.Pass()]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", None) == "Field":
            node.keywords = [word for word in node.keywords if word.arg != "description"]
    return tree


def _is_text(statement: ast.stmt) -> bool:
    """Tell whether a statement is a mere string, which has no effect: a docstring, or a field's."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _imports(tree: ast.Module, name: str) -> tuple[str, ...]:
    """Return the names inside the package that a module `name` imports."""
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ImportError(f"{name}: relative imports cannot be followed; use absolute ones")
            base = node.module or ""
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return tuple(dict.fromkeys(one for one in names if one.split(".")[0] == PACKAGE))
