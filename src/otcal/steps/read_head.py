"""Check the ONNX model of the layers after somebody's latent, and keep it with the study."""

from __future__ import annotations

from collections.abc import Sequence

from otcal.config.head import HeadConfig
from otcal.runtime import cli
from otcal.tagger.head_model import write_head


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--output", required=True, help="head.onnx (+ .json)")
    arguments = parser.parse_args(argv)
    write_head(cli.load_spec(arguments.spec, HeadConfig), arguments.output)


if __name__ == "__main__":
    cli.run(main)
