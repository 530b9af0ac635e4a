"""Apply a bundle to a file of jets: the same file, with calibrated columns."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from otcal.bundle.calibration import Calibration, Status
from otcal.bundle.card import CARD, read_card
from otcal.bundle.rewriting import CHUNK, Request
from otcal.runtime.errors import InputError
from otcal.runtime.files import atomic_path
from otcal.runtime.provenance import record, write_sidecar

_LOG = logging.getLogger(__name__)

FORMATS = {
    ".root": "root",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".parquet": "parquet",
    ".pq": "parquet",
}
"""Format of a file by its suffix."""


@dataclass(frozen=True)
class Settings:
    """How a bundle is applied.

    Attributes
    ----------
    columns
        Names of the file's columns for those of the card that are called otherwise.
    label, labels
        Column of the true label, and name of the map by label, instead of the card's.
    table
        Tree or data set of the jets; None takes the only one.
    variations, prefix, copy_unmapped, threads, unit
        See `otcal.bundle.calibration.Calibration`.
    beside, chunk
        See `otcal.bundle.rewriting.Request`.
    force
        Replace an output that exists.
    """

    columns: Mapping[str, str]
    label: str | None = None
    labels: Mapping[int, str] | None = None
    table: str | None = None
    variations: Sequence[str] | None = None
    prefix: str = "calibrated_"
    copy_unmapped: bool = False
    threads: int = 1
    unit: str = "GeV"
    beside: bool = False
    chunk: int = CHUNK
    force: bool = False


def apply_bundle(bundle: Path, source: Path, output: Path, settings: Settings) -> dict[Status, int]:
    """Write a copy of a file with calibrated columns, and return how many jets have which status.

    The counts are written beside the output too (``.provenance.json``).

    Raises
    ------
    InputError
        For a bundle or a file that cannot be used, and an output that exists.
    """
    form = _format(source, output, settings)
    card = read_card(bundle)
    if settings.labels is not None:
        for name in settings.labels.values():
            if name not in card.maps:
                known = ", ".join(card.maps)
                raise InputError("--labels", name, "is no map of the bundle", f"It has: {known}")
        card = replace(card, labels=dict(settings.labels))
    calibration = Calibration(
        bundle,
        card,
        variations=settings.variations,
        prefix=settings.prefix,
        copy_unmapped=settings.copy_unmapped,
        threads=settings.threads,
        unit=settings.unit,
    )
    names = {name: name for name in calibration.columns} | dict(settings.columns)
    strangers = names.keys() - calibration.columns.keys()
    if strangers:
        known = ", ".join(calibration.columns)
        raise InputError(
            "--columns", min(strangers), "is no input of the bundle", f"Those are: {known}"
        )
    if settings.label is not None:
        names[card.label] = settings.label
    request = Request(
        columns=names,
        widths=calibration.columns,
        compute=calibration,
        table=settings.table,
        chunk=settings.chunk,
        beside=settings.beside,
    )
    with atomic_path(output) as temporary:
        _rewrite(form, source, temporary, request)
    counts = {state.name.lower(): count for state, count in calibration.counts.items()}
    spec = {
        "columns": names,
        "labels": {str(value): name for value, name in card.labels.items()},
        "variations": calibration.variations,
        "copy_unmapped": settings.copy_unmapped,
    }
    content = record("apply", spec, [bundle / CARD, source])
    write_sidecar(output, {**content, "jets": counts})
    _report(output, calibration.counts)
    return calibration.counts


def _format(source: Path, output: Path, settings: Settings) -> str:
    found = FORMATS.get(source.suffix.lower())
    if found is None:
        known = ", ".join(FORMATS)
        raise InputError(source, "suffix", f"is '{source.suffix}'", f"Known are: {known}")
    if FORMATS.get(output.suffix.lower()) != found:
        raise InputError(
            output, "suffix", f"is not that of {source.name}", "The output has the input's format"
        )
    if settings.beside and found != "root":
        raise InputError("--beside", source.name, "is no ROOT file", "Leave the option out")
    if not source.is_file():
        raise InputError(source, "file", "does not exist", "Check the path")
    if output.exists() and output.samefile(source):
        raise InputError(output, "file", "is the input", "Choose another name for the output")
    if output.exists() and not settings.force:
        raise InputError(output, "file", "exists", "Choose another name, or pass --force")
    return found


def _rewrite(form: str, source: Path, output: Path, request: Request) -> None:
    """Run the writer of a format, whose library is imported only here."""
    try:
        if form == "root":
            from otcal.bundle.root_files import rewrite
        elif form == "hdf5":
            from otcal.bundle.hdf5_files import rewrite
        else:
            from otcal.bundle.parquet_files import rewrite
    except ModuleNotFoundError as error:
        raise InputError(
            str(error.name), "package", "is not installed", "Run: pip install 'otcal[bundle]'"
        ) from error
    rewrite(source, output, request)


def _report(output: Path, counts: Mapping[Status, int]) -> None:
    total = sum(counts.values())
    for state, count in counts.items():
        if count or state == Status.CALIBRATED:
            share = count / total if total else 0.0
            _LOG.info("%s: %d jets (%.3g %%)", state.name.lower(), count, 100 * share)
    left = total - counts[Status.CALIBRATED] - counts[Status.OUTSIDE]
    if left:
        _LOG.warning("%s: %d of %d jets are not calibrated", output, left, total)
