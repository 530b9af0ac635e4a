"""Read latents of somebody's tagger into a file of latents, with the layers that its head makes.

ROOT, HDF5 or Parquet; see `otcal.samples.readers`.
"""

from __future__ import annotations

from collections.abc import Sequence

from otcal.config.outputs import ReadLatentsSpec
from otcal.runtime import cli, provenance
from otcal.samples.readers.latents import write_latents
from otcal.tagger.head_model import load_head_model


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--head", required=True, help="head.onnx (+ .json)")
    parser.add_argument("--output", required=True, help="latents (.parquet)")
    arguments = parser.parse_args(argv)
    spec = cli.load_spec(arguments.spec, ReadLatentsSpec)
    head = load_head_model(arguments.head, arguments.threads)
    files = [*spec.files.found(spec.where).values(), arguments.head]
    record = provenance.record("read_latents", spec.model_dump(mode="json"), files)
    write_latents(spec, head, arguments.output, record)


if __name__ == "__main__":
    cli.run(main)
