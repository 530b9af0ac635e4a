"""One file of generated jets: generate, measure, cluster, label, write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from otcal.config.simulation import ShardSpec
from otcal.runtime.errors import InputError
from otcal.runtime.progress import progress
from otcal.runtime.seeds import derive, numpy_generator
from otcal.samples.jets import jet_schema
from otcal.samples.tables import table_writer
from otcal.simulation.detector.response import detect
from otcal.simulation.flavours import flavours_of
from otcal.simulation.generator import Events, Generator
from otcal.simulation.jets import Jets, Truth, cluster, to_table
from otcal.simulation.labels import Record, resonances_in

ID_BITS = 20
"""A jet's id is the seed of its shard, shifted by this many bits, plus its number."""

_ROWS_PER_WRITE = 4096
_BARREN_BATCHES = 200


def generate(spec: ShardSpec) -> Iterator[pa.Table]:
    """Yield the jets of each batch of events, for ever; a function of the spec alone.

    Raises
    ------
    InputError
        When many batches in a row contain no jet that is kept.
    """
    generator = Generator(spec.process, spec.variation, derive(spec.seed, "pythia"))
    rng = numpy_generator(spec.seed, "detector")
    barren = 0
    while True:
        events = generator.next_batch(spec.batch)
        candidates = detect(events.stable(), spec.detector, spec.variation, rng)
        jets = cluster(candidates, len(events), spec.selection)
        table = to_table(jets, candidates, _label(jets, events, spec), spec.selection.classes)
        barren = 0 if len(table) else barren + 1
        if barren == _BARREN_BATCHES:
            window = spec.selection
            raise InputError(
                "config.yaml",
                "latent.simulation.selection.pt_min, pt_max",
                f"{barren * spec.batch} events of {spec.process} in a row have no jet from "
                f"{window.pt_min:g} to {window.pt_max:g} GeV within |eta| < {window.abs_eta_max:g}",
                "Choose a window that this process reaches, or widen it",
            )
        yield table


def _label(jets: Jets, events: Events, spec: ShardSpec) -> Truth:
    if spec.selection.flavours is not None:
        return flavours_of(jets, events, spec.selection.flavours)
    return resonances_in(jets, Record(events), spec.process, spec.selection.radius)


def write_shard(spec: ShardSpec, output: str | Path, provenance: dict[str, Any]) -> None:
    """Generate ``spec.jets`` jets into a Parquet file; memory does not grow with their number."""
    schema = jet_schema(spec.selection.classes)
    with (
        table_writer(output, schema, provenance) as writer,
        progress(spec.jets, f"{spec.process} (seed {spec.seed})", "jets") as bar,
    ):
        done, waiting = 0, []
        for table in generate(spec):
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
