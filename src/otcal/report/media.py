"""Figures of the page: copied beside it, so that the folder can be moved or sent away."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from otcal.runtime.errors import InputError
from otcal.runtime.files import atomic_path

FOLDER = "figures"
SUFFIXES = (".png", ".pdf", ".csv")

LARGE = 1500
"""Images from this width on, in pixels, have too much in them for a narrow screen."""


@dataclass(frozen=True)
class Panel:
    """One image on the page; addresses are relative to the page."""

    name: str
    png: str
    pdf: str
    csv: str
    width: int
    height: int

    @property
    def large(self) -> bool:
        """Whether a narrow screen scrolls the image instead of squeezing it."""
        return self.width >= LARGE


def panels(images: Iterable[str | Path]) -> dict[str, Path]:
    """Return the images by their stem.

    Raises
    ------
    InputError
        When two have the same stem, or one lacks its PDF or the table that it draws.
    """
    found: dict[str, Path] = {}
    for image in map(Path, images):
        if image.stem in found:
            raise InputError(image, "figure", "is given twice", "Name each figure once")
        for suffix in SUFFIXES:
            if not image.with_suffix(suffix).is_file():
                raise InputError(
                    image.with_suffix(suffix), "figure", "does not exist", "Draw the figure again"
                )
        found[image.stem] = image
    return found


def publish(image: Path, page: Path) -> Panel:
    """Copy an image, its PDF and its table into the page's folder."""
    width, height = png_size(image)
    names = {}
    for suffix in SUFFIXES:
        names[suffix] = f"{FOLDER}/{image.stem}{suffix}"
        with atomic_path(page.parent / names[suffix]) as temporary:
            shutil.copyfile(image.with_suffix(suffix), temporary)
    return Panel(image.stem, names[".png"], names[".pdf"], names[".csv"], width, height)


def png_size(path: Path) -> tuple[int, int]:
    """Return width and height of a PNG image in pixels, from its header chunk.

    Raises
    ------
    InputError
        When the file is not a PNG image.
    """
    with path.open("rb") as stream:
        header = stream.read(24)
    if len(header) < 24 or header[:8] != b"\x89PNG\r\n\x1a\n" or header[12:16] != b"IHDR":
        raise InputError(path, "figure", "is not a PNG image", "Draw the figure again")
    width, height = struct.unpack(">II", header[16:24])
    return width, height
