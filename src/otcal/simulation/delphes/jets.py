"""Jets of events that Delphes wrote: clustered, labelled and numbered.

Jets are made as those of `otcal.steps.simulate_delphes` are. Here no process is known of which all
are: the truth says of each jet which of all classes it belongs to.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from otcal.config.samples import ReadDelphesSpec
from otcal.config.selection import Selection
from otcal.runtime.errors import InputError
from otcal.samples.classes import index
from otcal.samples.jets import TRUTH_FLOATS, jet_schema
from otcal.samples.tables import table_writer
from otcal.simulation.delphes.reader import WEIGHT, DelphesFile, open_delphes
from otcal.simulation.detector.card import Floats, Ints
from otcal.simulation.flavours import flavours_of
from otcal.simulation.generator import Events
from otcal.simulation.jets import Jets, Truth, cluster, to_table
from otcal.simulation.labels import CODES, Record, match

BATCH = 200
"""Events in memory at once."""

JET_BITS, EVENT_BITS = 8, 24
"""A jet's id is that of the file's first one, plus the entry shifted by `JET_BITS`, plus its number
among the selected jets of the event."""

_ROWS_PER_WRITE = 4096
_CLASS_OF = {code: index(name) for name, codes in CODES.items() for code in codes}
_LOG = logging.getLogger(__name__)


def iterate(
    file: DelphesFile,
    selection: Selection,
    position_eta: bool = True,
    label: str | None = None,
    entries: tuple[int, int] | None = None,
    first_id: int = 0,
    batch: int = BATCH,
) -> Iterator[pa.Table]:
    """Yield the selected jets that have a label, of some events at a time.

    Parameters
    ----------
    file
        The open file.
    selection
        Jets that are kept; with `flavours` they are labelled by their hadrons, without by the
        resonance that they contain.
    position_eta
        As `otcal.config.simulation.Detector.position_eta`.
    label
        Class of all jets, whatever the truth; None labels them by it.
    entries
        First and last (exclusive) event; None takes all.
    first_id
        Id of the first jet of the first event of the file.
    batch
        Most events in memory.

    Raises
    ------
    InputError
        For a file without the branches that are read, damaged or with NaN or infinite values, a
        label of no class, and more events or jets than ids are for.
    """
    if label is not None and label not in selection.classes:
        raise InputError(
            file.path,
            "labels.all",
            f"labels jets as {label}",
            f"The study's classes are {', '.join(selection.classes)}; name one of them",
        )
    if file.events > 1 << EVENT_BITS:
        raise InputError(
            file.path,
            "file",
            f"has {file.events} events; jets can be numbered of {1 << EVENT_BITS}",
            "Split the file",
        )
    pieces = file.iterate(*(entries or (0, file.events)), batch, position_eta, label is None)
    for piece in pieces:
        jets = cluster(piece.candidates, piece.events, selection)
        truth = _labels(jets, piece.record, selection, label)
        ids = first_id + _numbers(file, piece.first, jets)[truth.rows]
        table = to_table(jets, piece.candidates, truth, selection.classes)
        yield table.add_column(0, "jet_id", pa.array(ids, pa.int64()))


def classes_in(jets: Jets, record: Record, radius: float) -> Truth:
    """Return the jets that are of one of the ten classes: what JetClass's code of them says.

    Jets that contain a part of a decay only, as the W boson of a top quark, are of none.
    """
    axes = zip(jets.event.tolist(), jets.eta.tolist(), jets.phi.tolist(), strict=True)
    found = [match(record.resonances(event), eta, phi, radius) for event, eta, phi in axes]
    rows = [row for row, (code, _) in enumerate(found) if code in _CLASS_OF]
    codes = [found[row][0] for row in rows]
    behind = [found[row][1] for row in rows]
    return Truth(
        rows=np.array(rows, dtype=np.int64),
        label=np.array([_CLASS_OF[code] for code in codes], dtype=np.int64),
        match=codes,
        **{
            name: [getattr(resonance, name, 0) for resonance in behind]
            for name in ("pid", "pt", "eta", "phi")
        },
    )


def write_jets(spec: ReadDelphesSpec, output: str | Path, provenance: dict[str, Any]) -> None:
    """Read a part of a file into a file of jets; memory does not grow with their number.

    Jets whose label is given have no columns of the truth behind it.

    Raises
    ------
    InputError
        As `iterate`; also when events have different weights, or others than those of `spec.like`,
        which are not to be ignored.
    """
    schema = jet_schema(spec.selection.classes)
    if spec.label is not None:
        schema = pa.schema([field for field in schema if field.name not in TRUTH_FLOATS])
    kept = 0
    with open_delphes(spec.file) as file:
        if not spec.ignore_weights:
            require_unweighted(file, spec.like)
        first, last = spec.entries(file.events)
        tables = iterate(
            file,
            spec.selection,
            spec.position_eta,
            spec.label,
            (first, last),
            spec.first_id,
        )
        with table_writer(output, schema, provenance) as writer:
            for table in _gathered(tables):
                writer.write_table(table.select(schema.names))
                kept += len(table)
    level = logging.INFO if kept else logging.WARNING
    _LOG.log(level, "%s: %d jets in the events from %d to %d", spec.file, kept, first, last)


def _gathered(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield tables of some thousand rows: each becomes a row group."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(map(len, waiting)) >= _ROWS_PER_WRITE:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def require_unweighted(file: DelphesFile, like: str | Path | None = None) -> None:
    """Raise `InputError` when events have different weights, or others than another file has."""
    weights = file.weights()
    _one_weight(file.path, weights)
    if like is None or str(like) == str(file.path):
        return
    with open_delphes(like) as other:
        others = other.weights()
    if len(weights) and len(others):
        _one_weight(f"{file.path} and {like}", np.union1d(weights, others))


def _one_weight(where: str | Path, weights: Floats) -> None:
    if len(weights) > 1:
        raise InputError(
            where,
            WEIGHT,
            f"is different for events, from {weights[0]:g} to {weights[-1]:g}, and no step reads "
            "weights: every jet would count once",
            "Make files of unweighted events, or say `ignore_weights: true` if they are to count "
            "so",
        )


def _labels(jets: Jets, record: Events | None, selection: Selection, label: str | None) -> Truth:
    if label is not None:
        zero = np.zeros(len(jets))
        classes = np.full(len(jets), selection.classes.index(label))
        return Truth(np.arange(len(jets)), classes, zero, zero, zero, zero, zero)
    assert record is not None
    if selection.flavours is not None:
        return flavours_of(jets, record, selection.flavours)
    return classes_in(jets, Record(record), selection.radius)


def _numbers(file: DelphesFile, first: int, jets: Jets) -> Ints:
    """Return the entry and the number within the event of each jet, as one number."""
    number = np.arange(len(jets)) - np.searchsorted(jets.event, jets.event)
    if len(jets) and number.max() >= 1 << JET_BITS:
        entry = first + int(jets.event[np.argmax(number)])
        raise InputError(
            file.path,
            "ParticleFlowCandidate",
            f"makes {number.max() + 1} jets or more of entry {entry}; {1 << JET_BITS} can be "
            "numbered",
            "Raise simulation.selection.pt_min or radius",
        )
    return ((first + jets.event) << JET_BITS) + number
