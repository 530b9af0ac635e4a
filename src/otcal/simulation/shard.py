"""One file of generated jets: generate, measure, cluster, label, write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from otcal.config.simulation import ShardSpec
from otcal.runtime.seeds import derive, numpy_generator
from otcal.simulation.detector.response import detect
from otcal.simulation.generator import Generator
from otcal.simulation.output import labelled_jets, no_jets, write_tables

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
        table = labelled_jets(events, candidates, spec)
        barren = 0 if len(table) else barren + 1
        if barren == _BARREN_BATCHES:
            raise no_jets(spec, barren * spec.batch)
        yield table


def write_shard(spec: ShardSpec, output: str | Path, provenance: dict[str, Any]) -> None:
    """Generate ``spec.jets`` jets into a Parquet file; memory does not grow with their number."""
    write_tables(spec, generate(spec), output, provenance)
