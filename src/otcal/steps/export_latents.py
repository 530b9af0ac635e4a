"""Write what the tagger makes of each jet: z128, z'128 and z'10, with label and kinematics.

Jets are read, computed and written in row groups: memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from otcal.config.tagger import Inference
from otcal.runtime import cli, device, provenance
from otcal.runtime.progress import progress
from otcal.samples.jets import JET_FLOATS, iterate_jets
from otcal.samples.latents import LATENT_SCHEMA, LAYERS, latent_writer
from otcal.samples.tables import fixed_size_list, row_count
from otcal.tagger import constituents
from otcal.tagger.batches import workers
from otcal.tagger.inference import latents
from otcal.tagger.saved import load_tagger


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--jets", nargs="+", type=Path, required=True, help="jets of one dataset")
    parser.add_argument("--tagger", type=Path, required=True, help="weights (.safetensors)")
    parser.add_argument("--output", type=Path, required=True, help="latents (.parquet)")
    args = parser.parse_args(argv)
    spec = cli.load_spec(args.spec, Inference)
    where = device.resolve(args.device)
    tagger = load_tagger(args.tagger)
    network = tagger.network.to(where)
    names = tuple(tagger.preprocessing.constituents), tuple(tagger.preprocessing.jets)
    kinematics = list(JET_FLOATS)
    wanted = list(dict.fromkeys([*constituents.columns(*names, tagger.classes), *kinematics]))

    record = provenance.record("export_latents", spec.model_dump(), [*args.jets, args.tagger])
    total = sum(row_count(path) for path in args.jets)
    with (
        workers(args.threads, where) as each,
        progress(total, "latents", "jets") as bar,
        latent_writer(args.output, record) as writer,
    ):
        for path in args.jets:
            for table in iterate_jets([path], wanted):
                jets = constituents.from_table(table, *names, tagger.classes, path)
                layers = latents(
                    network,
                    tagger.preprocessing(jets),
                    **spec.model_dump(),
                    device=where,
                    each=each,
                )
                columns = {
                    "jet_id": pa.array(jets.ids),
                    "label": pa.array(jets.labels),
                    **{name: table[name] for name in kinematics},
                }
                for name, layer in zip(LAYERS, layers, strict=True):
                    columns[name] = fixed_size_list(np.ascontiguousarray(layer))
                writer.write_table(pa.table(columns).cast(LATENT_SCHEMA))
                bar.advance(len(jets))


if __name__ == "__main__":
    cli.run(main)
