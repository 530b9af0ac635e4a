"""Run a trained tagger over files of jets, a row group at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from otcal.config.tagger import Inference
from otcal.runtime.progress import progress
from otcal.samples.ids import require_distinct
from otcal.samples.jets import iterate_jets, jet_schema
from otcal.samples.tables import ROW_GROUP, row_count
from otcal.tagger import constituents
from otcal.tagger.batches import workers
from otcal.tagger.inference import latents
from otcal.tagger.saved import SavedTagger


@dataclass(frozen=True)
class Piece:
    """Some jets of a file, N of them, and what the tagger makes of each."""

    path: Path
    """The file."""
    first: int
    """Its row that is the first one here."""
    table: pa.Table
    """Their columns, as the tagger saw them."""
    ids: NDArray[np.int64]
    """Ids of the jets, (N,)."""
    labels: NDArray[np.int8]
    """Their classes, (N,)."""
    layers: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
    """z128, zp128 and the logits, (N, 128), (N, 128) and (N, classes)."""


def stream(
    tagger: SavedTagger,
    paths: Sequence[Path],
    columns: Sequence[str],
    inference: Inference,
    *,
    device: torch.device,
    threads: int | None,
    label: str,
    change: Callable[[pa.Table], pa.Table] | None = None,
    batch_size: int = ROW_GROUP,
) -> Iterator[Piece]:
    """Yield the jets of files in their order; memory grows by 8 bytes with each, for its id.

    Parameters
    ----------
    tagger
        Network, transforms of its inputs, and classes.
    paths
        Files of jets with the label columns of the tagger's classes.
    columns
        What `Piece.table` has at least, besides the tagger's inputs: also what `change` reads.
    inference
        How the network is applied.
    device, threads
        Where it is computed, and on how many threads (None: one per core).
    label
        Name for the progress line.
    change
        Alters a table of jets, each by itself, before the tagger sees it.
    batch_size
        Most jets of a piece.

    Raises
    ------
    InputError
        For bad files; at the end, when two files have a jet of the same id.
    """
    names = tuple(tagger.preprocessing.constituents), tuple(tagger.preprocessing.jets)
    schema = jet_schema(tagger.classes)
    needed = constituents.columns(*names, tagger.classes)
    wanted = list(dict.fromkeys([*needed, *columns]))
    network = tagger.network.to(device)
    settings = inference.model_dump()
    with (
        workers(threads, device) as each,
        progress(sum(row_count(path) for path in paths), label, "jets") as bar,
    ):
        ids: list[NDArray[np.int64]] = []
        for path in paths:
            first = 0
            for table in iterate_jets([path], wanted, batch_size, schema):
                if change:
                    table = change(table)
                inputs = table.select(needed)  # nothing else can reach the network
                jets = constituents.from_table(inputs, *names, tagger.classes, path)
                layers = latents(
                    network, tagger.preprocessing(jets), **settings, device=device, each=each
                )
                yield Piece(path, first, table, jets.ids, jets.labels, layers)
                ids.append(jets.ids)
                first += len(table)
                bar.advance(len(table))
        # A file's own ids are distinct; those of several, by a column of the user's, need not be.
        if len(paths) > 1:
            require_distinct(Path(paths[0]).parent, ids)
