"""What `otcal check` tells: what files offer, and what can be done with them."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import ValidationError

from otcal.config.base import describe
from otcal.config.samples import Labels, Layout
from otcal.runtime.errors import InputError
from otcal.samples.classes import CLASSES
from otcal.samples.columns import numbered
from otcal.samples.flavours import FLAVOURS
from otcal.samples.found import Found
from otcal.samples.ids import require_distinct
from otcal.samples.latents import LATENT_SCHEMA, LAYERS, Kind, iterate_latents, told_kind
from otcal.samples.readers.files import ColumnFile, HdfFile, ParquetFile, RootFile, open_columns
from otcal.samples.readers.jets import View
from otcal.samples.readers.latents import LATENT, LatentView
from otcal.samples.readers.outputs import PROBABILITIES, id_column, iterate_scores, normalised
from otcal.samples.readers.pieces import Piece, require_unweighted, weight_column
from otcal.samples.scores import score_schema
from otcal.samples.tables import read_provenance, to_numpy
from otcal.simplex import check_probabilities
from otcal.simulation.delphes.check import examine as examine_delphes
from otcal.simulation.delphes.reader import TREE as DELPHES
from otcal.simulation.delphes.reader import recognised

TREE = "tree"
"""TTree of ROOT files when no other is named."""
RANGES = ("jet_pt", "jet_eta", "jet_nparticles")
"""Columns whose smallest and largest value are told."""
FEWEST = 8
"""Columns that are numbered from 0 may be a latent when there are as many."""
FORMATS = ("jetclass", "upp", "ftag", "root", "parquet")
"""Formats of jets."""
STUDIES = {"latent": CLASSES, "simplex": FLAVOURS}
INPUTS = {
    "latent": "pt deta dphi d0val d0err dzval dzerr; jet: pt eta phi energy nparticles",
    "simplex": "pt deta dphi d0val d0err dzval dzerr; jet: pt eta",
}
"""Inputs of the taggers as config.yaml has them."""

OUR_SCORES = {"column": "label", "values": dict(enumerate(FLAVOURS)) | {-1: None}}
"""What labels the jets of our own files of scores."""


def likeliest(file: ColumnFile) -> str:
    """Return the format that a file seems to be in, by its kind and columns."""
    if isinstance(file, HdfFile):
        if any(name.startswith("consts/") for name in file.columns):
            return "upp"
        return "ftag" if any(name.startswith("tracks/") for name in file.columns) else "hdf5"
    if isinstance(file, RootFile):
        return "jetclass" if {"part_px", "label_QCD"} <= set(file.columns) else "root"
    return "parquet"


def examine(path: str | Path, layout: Layout | None = None, tree: str = TREE) -> Found:
    """Read a file whole, piece by piece, and return what it offers.

    Parameters
    ----------
    path
        ROOT, HDF5 or Parquet.
    layout
        How it is meant; None guesses the format.
    tree
        Name of the TTree in a ROOT file, for a guess.

    Raises
    ------
    InputError
        For a file that cannot be read.
    """
    unsaid = layout is None and tree in (TREE, DELPHES)
    if (layout and layout.format == "delphes") or (unsaid and recognised(path)):
        return examine_delphes(path, layout)
    with open_columns(path, layout.tree if layout else tree) as file:
        found = Found(str(path), layout.format if layout else likeliest(file), file.rows)
        if layout and layout.holds != "jets":
            (_scores if layout.holds == "scores" else _latents)(file, layout, found)
            return found
        if layout is None:
            found.weights = weight_column(file)
        else:
            require_unweighted(file, layout)
        _outputs(file, found)
        if found.format == "hdf5":
            found.lacks.append("jets (neither the data sets of upp nor those of ftag are there)")
        if found.format not in FORMATS:
            return found
        guess = {"format": found.format, "tree": tree, "ignore_weights": True}
        layout = layout or Layout.model_validate(guess)
        faults: list[str] = []
        for study, classes in STUDIES.items():
            view = View(file, layout, classes)
            reasons = found.lacks
            try:
                view.require()
                reasons = faults
                if found.counts:
                    continue  # labels of one study are none of the other
                _jets(view, found)
            except InputError as error:
                reasons.append(f"jets of the {study} study ({error.field}: {error.problem})")
            else:
                found.uses.append(_use(study, view))
                found.absent = view.absent
        if found.counts:
            found.lacks = []
        else:
            found.faults += faults
    return found


def _use(study: str, view: View) -> str:
    wanted, _, jet = INPUTS[study].partition("; jet: ")
    names = [f"part_{name}" for name in wanted.split() if name != "pt"]
    names += [f"jet_{name}" for name in jet.split()]
    lost = [name for name in names if name in view.absent]
    text = f"jets of the {study} study, from the tagger on (samples: format: {view.layout.format})"
    if lost:
        text += f"; without {', '.join(lost)}: take them out of tagger.preprocessing"
    errors = [name for name in ("part_d0err", "part_dzerr") if name in lost]
    if study == "simplex" and errors:
        which = " and ".join(name.removeprefix("part_").replace("err", "val") for name in errors)
        text += f", and set pseudo_data.{which} to 0, as smearing needs them"
    return text


def _jets(view: View, found: Found) -> None:
    """Count jets and their classes, and find ranges; bad values raise `InputError`."""
    counts = dict.fromkeys(view.classes, 0)
    ranges: dict[str, tuple[float, float]] = {}
    ids: list[NDArray[np.int64]] = []
    dropped = 0
    for table, lost in view.iterate(0, view.file.rows, 0):
        dropped += lost
        for name in counts:
            counts[name] += int(to_numpy(table[f"label_{name}"]).sum())
        _widen(
            ranges, {name: to_numpy(table[name]) for name in RANGES if name in table.schema.names}
        )
        if "jet_id" in view.names:
            ids.append(to_numpy(table["jet_id"]))
    require_distinct(view.file.path, ids)
    found.counts, found.dropped, found.ranges, found.ids = counts, dropped, ranges, ids


def _widen(ranges: dict[str, tuple[float, float]], columns: dict[str, NDArray[Any]]) -> None:
    for name, values in columns.items():
        if len(values):
            low, high = ranges.get(name, (np.inf, -np.inf))
            ranges[name] = min(low, float(values.min())), max(high, float(values.max()))


def _outputs(file: ColumnFile, found: Found) -> None:
    """Recognise what taggers made: our latents and scores, and others' probabilities."""
    there = set(file.columns)
    made = read_provenance(file.path).get("step") if isinstance(file, ParquetFile) else None
    kind = told_kind(file.path) if isinstance(file, ParquetFile) else None
    if kind or there >= set(LATENT_SCHEMA.names):
        _our_latents(file, kind or Kind(), made, found)
        return
    for name, width in _rows_of_numbers(file):
        parts = numbered(name)
        take = partial(Piece.matrix, names=parts)
        if not _sound(file, f"latents {name}", parts, take, found.lacks):
            continue
        found.uses.append(
            f"latents {name} of {width} numbers, with the layers after them as an ONNX model: the "
            f"latent study can start there (samples: holds: latents, columns: {{z128: {name}}})"
        )
    if made and there >= set(score_schema(FLAVOURS).names):
        layout = Layout(
            format="parquet",
            holds="scores",
            labels=Labels.model_validate(OUR_SCORES),
            ignore_weights=True,  # they are told
        )
        _scores(file, layout, found)
        found.format = "our scores"
        return
    if there.issuperset(PROBABILITIES) and _probabilities(file, PROBABILITIES, False, found):
        found.uses.append(
            f"scores {', '.join(PROBABILITIES)}: a calibration can be applied to them, and the "
            "simplex study can start there (samples: holds: scores, with what labels the jets)"
        )
    for name in sorted(there):
        if name.endswith("_pb") and {name[:-1] + "c", name[:-1] + "u"} <= there:
            stem = name.removesuffix("_pb")
            if not _probabilities(file, [f"{stem}_p{one}" for one in "bcu"], True, found):
                continue
            found.uses.append(
                f"scores {stem}_p(b, c, u): a calibration can be applied to them, and the simplex "
                f"study can start there (samples: holds: scores, columns: {{p_b: {stem}_pb, "
                f"p_c: {stem}_pc, p_light: {stem}_pu}}; normalise: true if there are other classes)"
            )


def _sound(
    file: ColumnFile,
    what: str,
    columns: list[str],
    take: Callable[[Piece], Any],
    reasons: list[str],
) -> bool:
    """Read columns whole; tell whether `take` accepts their values, else add to the reasons."""
    row = 0
    try:
        for table in file.iterate(columns, 0, file.rows):
            take(Piece(file.path, table, row))
            row += len(table)
    except InputError as error:
        reasons.append(
            f"{what} ({error.field}: {error.problem}); jets whose label is dropped may be so, "
            "--layout says which these are"
        )
        return False
    return True


def _probabilities(file: ColumnFile, names: Sequence[str], normalise: bool, found: Found) -> bool:
    """Tell whether columns are probabilities, of all classes or (`normalise`) of some."""

    def take(piece: Piece) -> None:
        p = np.stack([piece.numbers(name) for name in names], axis=1)
        # Zeros may stay: a floor of the configuration raises them.
        check_probabilities(normalised(p) if normalise else p, file.path, 0.0, names, piece.rows)

    return _sound(file, f"scores {', '.join(names)}", list(names), take, found.faults)


def _our_latents(file: ColumnFile, kind: Kind, made: str | None, found: Found) -> None:
    """Read latents that a step of ours made; bad ones raise `InputError`."""
    counts = dict.fromkeys(kind.classes, 0)
    ids = []  # not of all files together: source and calibrated are of the same jets
    for jets in iterate_latents(file.path, kind.schema.names):
        labels = to_numpy(jets["label"])
        for label, name in enumerate(kind.classes):
            counts[name] += int((labels == label).sum())
        _widen(
            found.ranges, {name: to_numpy(jets[name]) for name in RANGES if name in kind.kinematics}
        )
        ids.append(to_numpy(jets["jet_id"]))
    require_distinct(file.path, ids)
    found.format = "our latents"
    found.counts, found.dropped = counts, file.rows - sum(counts.values())
    widths = zip(LAYERS, kind.widths, strict=True)
    layout = Labels(column="label", values=dict(enumerate(kind.classes)))
    found.uses.append(
        f"latents ({', '.join(f'{name} of {width} numbers' for name, width in widths)}"
        f"{f', made by {made}' if made else ''}): the steps fit_map and calibrate read them, and "
        f"the latent study can start there, with the layers after z128 as latent.head (samples: "
        f"format: parquet, holds: latents, labels: {layout.model_dump_json(exclude_defaults=True)})"
    )


def _rows_of_numbers(file: ColumnFile) -> Iterator[tuple[str, int]]:
    """Yield what may be latents: lists of one length, and columns that are numbered from 0."""
    numbered: dict[str, set[int]] = {}
    for name, kind in file.columns.items():
        if pa.types.is_fixed_size_list(kind):
            yield name, kind.list_size
        elif (found := re.fullmatch(r"(.*\D)(0|[1-9]\d*)", name)) and not pa.types.is_nested(kind):
            numbered.setdefault(found[1], set()).add(int(found[2]))
    for prefix, numbers in numbered.items():
        if len(numbers) >= FEWEST and numbers == set(range(len(numbers))):
            yield f"{prefix}{{0..{len(numbers) - 1}}}", len(numbers)


def _latents(file: ColumnFile, layout: Layout, found: Found) -> None:
    """Read latents, and tell what can be done with them; bad ones raise `InputError`."""
    classes = layout.labels.classes if layout.labels else CLASSES
    view = LatentView(file, layout, classes)
    counts = dict.fromkeys(classes, 0)
    dropped = width = 0
    for jets, rows in view.iterate((0, file.rows), 0):
        labels = to_numpy(jets["label"])
        for label, name in enumerate(classes):
            counts[name] += int((labels == label).sum())
        dropped += rows - len(jets)
        if not len(jets):
            continue
        width = jets.schema.field(LATENT).type.list_size
        _widen(found.ranges, {name: to_numpy(jets[name]) for name in RANGES if name in view.names})
        if "jet_id" in view.names:
            found.ids.append(to_numpy(jets["jet_id"]))
    require_distinct(file.path, found.ids)
    found.counts, found.dropped = counts, dropped
    found.uses.append(
        f"latents of {width} numbers: source or target of the latent study, which then needs no "
        f"jets, but the layers after the latent (latent.head)"
    )


def _scores(file: ColumnFile, layout: Layout, found: Found) -> None:
    """Read scores, and tell what can be done with them; bad ones raise `InputError`."""
    counts = dict.fromkeys(FLAVOURS, 0)
    dropped = 0
    for scores, rows, _ in iterate_scores(file, layout, (0, file.rows), 0):
        for label, name in enumerate(FLAVOURS):
            counts[name] += int((scores.labels == label).sum())
        dropped += rows - len(scores)
        if not len(scores):
            continue
        _widen(found.ranges, {"jet_pt": scores.pt, "jet_eta": scores.eta})
        if id_column(file, layout) is not None:
            found.ids.append(scores.ids)
    require_distinct(file.path, found.ids)
    found.counts, found.dropped = counts, dropped
    labels = (
        layout.labels.model_dump_json(exclude_defaults=True)
        if layout.labels
        else "as the format has them"
    )
    found.uses.append(
        f"scores of the simplex study, which then needs no jets (samples: format: {layout.format}, "
        f"holds: scores, labels: {labels})"
    )


def check(files: Sequence[str], layout: str | None = None, tree: str = TREE) -> int:
    """Print what files offer.

    Parameters
    ----------
    files
        Paths.
    layout
        How they are meant: the keys format, columns, labels, unit of a block of `samples`, as JSON;
        None tells by their content.
    tree
        TTree of ROOT files.

    Returns
    -------
    status
        0 when something can be done with every file, 1 when with some nothing can, or values are
        wrong.
    """
    status = 0
    all_found = []
    try:
        meant = _layout(layout, tree)
        for path in files:
            try:
                found = examine(path, meant, tree)
            except InputError as error:
                print(f"otcal: error: {error}", file=sys.stderr)
                status = 1
                continue
            all_found.append(found)
            print("\n".join(found.lines()), flush=True)
            status = 1 if found.faults or not found.uses else status
        require_distinct("all files together", [ids for one in all_found for ids in one.ids])
    except InputError as error:
        print(f"otcal: error: {error}", file=sys.stderr)
        return 1
    for key, text in (("format", "formats"), ("absent", "columns")):
        if len({str(getattr(one, key)) for one in all_found}) > 1:
            print(f"The files differ in their {text}: one dataset can hold only one kind.")
    return status


def _layout(text: str | None, tree: str) -> Layout | None:
    if text is None:
        return None
    try:
        layout = Layout.model_validate_json(text)
    except ValidationError as error:
        raise InputError("--layout", *describe(error, Layout)) from None
    return layout if layout.tree != TREE else layout.model_copy(update={"tree": tree})
