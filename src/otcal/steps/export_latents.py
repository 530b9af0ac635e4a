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
from otcal.runtime.errors import InputError
from otcal.samples.jets import JET_FLOATS
from otcal.samples.latents import LATENT_SCHEMA, LAYERS, latent_writer
from otcal.samples.tables import fixed_size_list
from otcal.tagger.saved import load_tagger
from otcal.tagger.streaming import stream


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument(
        "--jets", nargs="+", action=cli.NumberedFiles, required=True, help="jets of one dataset"
    )
    parser.add_argument("--tagger", type=Path, required=True, help="weights (.safetensors)")
    parser.add_argument("--output", type=Path, required=True, help="latents (.parquet)")
    args = parser.parse_args(argv)
    spec = cli.load_spec(args.spec, Inference)
    where = device.resolve(args.device)
    tagger = load_tagger(args.tagger)
    if len(tagger.classes) != LAYERS["z10"]:
        raise InputError(
            args.tagger,
            "classes",
            f"has {len(tagger.classes)}; a file of latents holds {LAYERS['z10']} logits",
            "Run export_scores for this tagger",
        )
    record = provenance.record("export_latents", spec.model_dump(), [*args.jets, args.tagger])
    pieces = stream(
        tagger, args.jets, JET_FLOATS, spec, device=where, threads=args.threads, label="latents"
    )
    with latent_writer(args.output, record) as writer:
        for piece in pieces:
            columns = {
                "jet_id": pa.array(piece.ids),
                "label": pa.array(piece.labels),
                **{name: piece.table[name] for name in JET_FLOATS},
            }
            for name, layer in zip(LAYERS, piece.layers, strict=True):
                columns[name] = fixed_size_list(np.ascontiguousarray(layer))
            writer.write_table(pa.table(columns).cast(LATENT_SCHEMA))


if __name__ == "__main__":
    cli.run(main)
