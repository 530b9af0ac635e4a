"""Build a study's report: one page with figures, numbers, configuration and provenance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from otcal.report import manifest
from otcal.report.page import Sources, build
from otcal.runtime import cli, provenance
from otcal.runtime.files import write_text


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--manifest", type=Path, required=True, help="what stands where (YAML)")
    parser.add_argument("--summary", type=Path, required=True, help="the study's numbers (JSON)")
    parser.add_argument(
        "--figures",
        type=Path,
        nargs="*",
        default=[],
        help="PNG images; PDF and CSV are expected beside each",
    )
    parser.add_argument("--captions", type=Path, required=True, help="directory of the captions")
    parser.add_argument(
        "--provenance",
        type=Path,
        nargs="*",
        default=[],
        help="sidecars, or Parquet files, whose origin the page tells",
    )
    parser.add_argument("--benchmarks", type=Path, help="directory of Snakemake's benchmark files")
    parser.add_argument("--output", type=Path, required=True, help="the page (HTML)")
    arguments = parser.parse_args(argv)
    spec = cli.load_spec(arguments.spec, manifest.ReportSpec)
    sources = Sources(
        manifest=arguments.manifest,
        summary=arguments.summary,
        images=tuple(arguments.figures),
        captions=arguments.captions,
        provenance=tuple(arguments.provenance),
        benchmarks=arguments.benchmarks,
    )
    content = manifest.chosen(manifest.load(arguments.manifest), spec)
    page = build(content, spec.figures, spec.config, sources, arguments.output)
    write_text(arguments.output, page)
    provenance.write_sidecar(
        arguments.output,
        provenance.record(
            "build_report",
            spec.model_dump(mode="json"),
            [arguments.manifest, arguments.summary, *arguments.figures],
        ),
    )


if __name__ == "__main__":
    cli.run(main)
