"""A hash of the code that a step can execute, for the workflow's rerun decision.

Snakemake compares a rule's command and parameters, but tracks no imports. A rule that carries
`fingerprint("otcal.steps.<step>")` as a parameter re-runs when code that the step can reach has
changed, and only then: comments, docstrings, descriptions of settings, formatting and unrelated
modules do not count.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = "otcal"
ROOT = Path(__file__).resolve().parents[1]


def fingerprint(module: str, root: Path = ROOT) -> str:
    """Return the hash of a module and of everything it imports inside the package.

    Package data (CSV tables, templates, styles) in a directory named `data` or `templates` counts
    with the package that holds it.

    Parameters
    ----------
    module
        Dotted name, such as ``otcal.steps.simulate``.
    root
        Directory of the package; another one in tests.

    Raises
    ------
    ModuleNotFoundError
        When the package has no such module.
    """
    return _fingerprint(module, root)


@cache
def _fingerprint(module: str, root: Path) -> str:
    digest = hashlib.blake2b(digest_size=12)
    for name in sorted(closure(module, root)):
        digest.update(f"{name}={_module_hash(name, root)}\n".encode())
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
        waiting += _imports(name, root)
    return found


def _file(name: str, root: Path) -> Path | None:
    """Return the source file of a module, None when the package has no such module."""
    base = root.joinpath(*name.split(".")[1:])
    for candidate in (base / "__init__.py", base.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None


@cache
def _tree(name: str, root: Path) -> ast.Module:
    """Return the syntax tree of a module without docstrings and descriptions of fields.

    Comments are not in it anyway.
    """
    file = _file(name, root)
    if file is None:
        raise ModuleNotFoundError(f"no module {name} in {root}")
    tree = ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
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


@cache
def _imports(name: str, root: Path) -> tuple[str, ...]:
    names: list[str] = []
    for node in ast.walk(_tree(name, root)):
        if isinstance(node, ast.Import):
            candidates = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ImportError(f"{name}: relative imports cannot be followed; use absolute ones")
            base = node.module or ""
            candidates = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        names += [
            candidate
            for candidate in candidates
            if candidate.split(".")[0] == PACKAGE and _file(candidate, root) is not None
        ]
    return tuple(dict.fromkeys(names))


@cache
def _module_hash(name: str, root: Path) -> str:
    digest = hashlib.blake2b(digest_size=12)
    digest.update(ast.dump(_tree(name, root)).encode())
    file = _file(name, root)
    if file is not None and file.name == "__init__.py":
        for directory in ("data", "templates"):
            for data in sorted((file.parent / directory).rglob("*")):
                if data.is_file():
                    digest.update(data.relative_to(root).as_posix().encode())
                    digest.update(data.read_bytes())
    return digest.hexdigest()
