"""Add branches to a tree of a ROOT file (TTree or RNTuple); everything else stays as it is.

Columns may have one number per entry, or one per jet of each entry (jagged).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot
from numpy.typing import NDArray

from otcal.bundle.rewriting import Request, choose, readable
from otcal.runtime.errors import InputError

_TREES = ("TTree", "ROOT::RNTuple")
_UNKNOWN = (
    uproot.interpretation.identify.UnknownInterpretation,
    uproot.interpretation.objects.CannotBeAwkward,
)
"""Raised for a branch of objects that uproot cannot turn into arrays."""
_BESIDE = "Use --beside: it copies the file as it is and adds a friend tree"

FRIEND = "_calibrated"
"""What the name of a friend tree adds to that of its tree."""


def rewrite(source: Path, output: Path, request: Request) -> None:
    """Write a copy of `source` with the new branches, in the tree or (`beside`) in a friend of it.

    In the tree: all objects are written anew. Values, names, titles and the file's codec stay;
    vectors of numbers become arrays with a counter in a TTree.

    Raises
    ------
    InputError
        When the file cannot be read, its branches are not those that the request needs, or one of
        its objects cannot be written.
    """
    with _open(source) as file:
        with _readable(source):
            classes = file.classnames(cycle=False)
        trees = [name for name, kind in classes.items() if kind in _TREES]
        name = choose(source, trees, request.table, "tree")
        with _readable(source):
            tree = file[name]
            branches = _branches(tree)
        request.check(source, branches)
        if not request.beside:
            with uproot.recreate(output, compression=file.file.compression) as out:
                _copy(source, file, classes, name, out, request)
            return
        if name + FRIEND in classes:
            raise InputError(source, name + FRIEND, "exists already", "Give another file")
        shutil.copyfile(source, output)
        with uproot.update(output) as out:
            _write_tree(source, tree, out, name + FRIEND, [], request, True)


def _readable(path: Path) -> AbstractContextManager[None]:
    """Name a file that is damaged: uproot interprets its bytes as it goes, and fails in any way."""
    return readable(path, Exception)


def _open(path: Path) -> Any:
    with _readable(path):
        file = uproot.open(path, array_cache=None)  # every piece is read once
        end, size = file.file.fEND, path.stat().st_size
        if size < end:
            raise OSError(f"it has {size} of {end} bytes")
        return file


def _copy(
    path: Path, file: Any, classes: Mapping[str, str], chosen: str, out: Any, request: Request
) -> None:
    for name, kind in classes.items():
        if kind.startswith("TDirectory"):
            out.mkdir(name)
        elif kind in _TREES:
            with _readable(path):
                tree = file[name]
                branches = _branches(tree)
            _write_tree(path, tree, out, name, branches, request, name == chosen)
        else:
            with _readable(path):
                thing = file[name]
            try:
                out[name] = thing
            except (TypeError, NotImplementedError):
                raise InputError(
                    path, name, f"is a {kind}, which uproot cannot write", _BESIDE
                ) from None


def _branches(tree: Any) -> list[str]:
    """Return the names of a tree's branches, or of an RNTuple's fields."""
    return list(tree.keys(recursive=False))


def _counters(tree: Any) -> dict[str, str]:
    """Return the counter of each branch that has one."""
    branches = getattr(tree, "branches", ())
    return {one.name: one.count_branch.name for one in branches if one.count_branch is not None}


def _write_tree(
    path: Path, tree: Any, out: Any, name: str, kept: list[str], request: Request, added: bool
) -> None:
    """Write the branches of a tree that are kept, and the new ones if any, piece by piece."""
    with _readable(path):
        counters, entries = _counters(tree), tree.num_entries
    kept = [branch for branch in kept if branch not in counters.values()]
    wanted = list(request.needed) if added else []
    written = None
    for start in range(0, max(entries, 1), request.chunk):  # once for an empty tree, too
        with _readable(path):
            rows = _read(path, tree, list(dict.fromkeys([*kept, *wanted])), start, request)
        arrays = {branch: rows[branch] for branch in kept}
        if added:
            arrays |= _computed(path, rows, request)
            jets = next((counters[one] for one in wanted if one in counters and kept), None)
            counters |= dict.fromkeys(arrays.keys() - set(kept), jets) if jets else {}
        if written is None:
            written = _begin(path, tree, out, name, arrays, counters)
        written.extend(arrays)


def _read(path: Path, tree: Any, names: list[str], start: int, request: Request) -> Any:
    """Return some entries of branches."""
    stop = min(start + request.chunk, tree.num_entries)
    try:
        return tree.arrays(names, entry_start=start, entry_stop=stop)
    except _UNKNOWN as error:
        problem = " ".join(str(error).split())[:200]
        raise InputError(
            path,
            tree.name,
            f"has a branch that uproot cannot read ({problem})",
            "Name branches of numbers as inputs" if request.beside else _BESIDE,
        ) from None


def _begin(
    path: Path,
    tree: Any,
    out: Any,
    name: str,
    arrays: Mapping[str, Any],
    counters: Mapping[str, str],
) -> Any:
    """Return a new, empty tree of the kind of another one."""
    if tree.classname != "TTree":
        rows = ak.zip(dict(arrays), depth_limit=1)
        return out.mkrntuple(name, ak.type(rows).content, tree.description)
    types = {branch: _kind(array) for branch, array in arrays.items()}
    for branch, kind in types.items():
        if kind is None:
            found = ak.type(arrays[branch]).content
            there = branch in tree
            remedy = _BESIDE if there else "Give a tree with one jet per entry, or an RNTuple"
            raise InputError(path, branch, f"is of {found}, which uproot cannot write", remedy)

    def counter(branch: str) -> str:
        """Return the name of a jagged branch's counter: its own, or one that is free."""
        if branch in counters:
            return counters[branch]
        own = f"n{branch}"
        while own in types:
            own += "_"
        return own

    return out.mktree(name, types, title=tree.title, counter_name=counter)


def _kind(array: Any) -> Any:
    """Return what a branch of a TTree is made with; None for what cannot be one."""
    kind = ak.type(array).content
    if isinstance(kind, ak.types.ListType) and isinstance(kind.content, ak.types.NumpyType):
        return f"var * {kind.content.primitive}"
    shape = []
    while isinstance(kind, ak.types.RegularType):
        shape.append(kind.size)
        kind = kind.content
    if not isinstance(kind, ak.types.NumpyType):
        return None
    return np.dtype((np.dtype(kind.primitive), tuple(shape)))


def _computed(path: Path, rows: Any, request: Request) -> dict[str, Any]:
    """Return the new branches of some entries, jagged when the inputs are."""
    needed = request.needed
    arrays = {column: rows[column] for column in needed}
    jagged = [column for column, width in needed.items() if _is_jagged(arrays[column], width)]
    counts = None
    if jagged:
        counts = ak.num(arrays[jagged[0]])
        for column, array in arrays.items():
            same = column in jagged and bool(ak.all(ak.num(array) == counts))
            if not same:
                raise InputError(
                    path,
                    column,
                    f"has other lengths than {jagged[0]}",
                    "Name branches of the same jets",
                )
        arrays = {column: ak.flatten(array) for column, array in arrays.items()}
    new = request.compute(
        request.inputs(path, lambda column, width: _to_numpy(path, arrays[column], column, width))
    )
    if counts is None:
        return dict(new)
    return {name: ak.unflatten(values, counts) for name, values in new.items()}


def _is_jagged(array: Any, width: int) -> bool:
    """Tell whether entries hold any number of jets: for wide columns, of lists."""
    kind = ak.type(array).content
    if not isinstance(kind, ak.types.ListType):
        return False
    return width == 1 or isinstance(kind.content, ak.types.ListType | ak.types.RegularType)


def _to_numpy(path: Path, array: Any, column: str, width: int) -> NDArray[Any]:
    try:
        return np.asarray(ak.to_numpy(array, allow_missing=False))
    except ValueError as error:
        problem = " ".join(str(error).split())[:100]
        raise InputError(
            path,
            column,
            f"is no plain array ({problem})",
            f"Needed are {width} number(s) per jet",
        ) from None
