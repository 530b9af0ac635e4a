"""Files of generated jets, whatever simulated them: labels, numbers, rows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from otcal.config.simulation import ShardSpec
from otcal.runtime.errors import InputError
from otcal.runtime.progress import progress
from otcal.samples.jets import jet_schema
from otcal.samples.tables import table_writer
from otcal.simulation.detector.particles import Candidates
from otcal.simulation.flavours import flavours_of
from otcal.simulation.generator import Events
from otcal.simulation.jets import cluster, to_table
from otcal.simulation.labels import Record, resonances_in

ID_BITS = 20
"""A jet's id is the seed of its shard, shifted by this many bits, plus its number."""

_ROWS_PER_WRITE = 4096


def labelled_jets(events: Events, candidates: Candidates, spec: ShardSpec) -> pa.Table:
    """Return the selected jets of a batch that have a label, without `jet_id`."""
    jets = cluster(candidates, len(events), spec.selection)
    if spec.selection.flavours is not None:
        truth = flavours_of(jets, events, spec.selection.flavours)
    else:
        truth = resonances_in(jets, Record(events), spec.process, spec.selection.radius)
    return to_table(jets, candidates, truth, spec.selection.classes)


def no_jets(spec: ShardSpec, events: int) -> InputError:
    """Return the error for `events` events in a row without a jet that is kept."""
    window = spec.selection
    return InputError(
        "config.yaml",
        "latent.simulation.selection.pt_min, pt_max",
        f"{events} events of {spec.process} in a row have no jet from "
        f"{window.pt_min:g} to {window.pt_max:g} GeV within |eta| < {window.abs_eta_max:g}",
        "Choose a window that this process reaches, or widen it",
    )


def write_tables(
    spec: ShardSpec, tables: Iterable[pa.Table], output: str | Path, provenance: dict[str, Any]
) -> None:
    """Write the first ``spec.jets`` jets of tables of `labelled_jets` into a Parquet file.

    Memory does not grow with their number.
    """
    schema = jet_schema(spec.selection.classes)
    with (
        table_writer(output, schema, provenance) as writer,
        progress(spec.jets, f"{spec.process} (seed {spec.seed})", "jets") as bar,
    ):
        done, waiting = 0, []
        for table in tables:
            table = table.slice(0, spec.jets - done)
            ids = (spec.seed << ID_BITS) + np.arange(done, done + len(table))
            waiting.append(table.add_column(0, "jet_id", pa.array(ids, pa.int64())))
            done += len(table)
            bar.advance(len(table))
            if done == spec.jets or sum(map(len, waiting)) >= _ROWS_PER_WRITE:
                writer.write_table(pa.concat_tables(waiting).select(schema.names))
                waiting = []
            if done == spec.jets:
                return
