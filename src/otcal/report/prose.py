"""Prose of the page: reStructuredText to HTML, with mathematics as MathML."""

from __future__ import annotations

from pathlib import Path

from docutils.core import publish_parts
from docutils.utils import SystemMessage
from markupsafe import Markup

from otcal.runtime.errors import InputError

_SETTINGS = {
    # The same text gives the same page on every machine: no user's docutils.conf.
    "_disable_config": True,
    # Prose is text: it neither reads files nor writes HTML of its own.
    "file_insertion_enabled": False,
    "raw_enabled": False,
    "math_output": "MathML",
    "initial_header_level": 4,
    "doctitle_xform": False,
    "halt_level": 2,
    "report_level": 5,
}


def to_html(text: str, where: str | Path, field: str) -> Markup:
    """Return a text as HTML blocks; a browser draws its formulas without any script.

    Parameters
    ----------
    text
        reStructuredText.
    where, field
        The file and the place in it, for the error.

    Raises
    ------
    InputError
        When the text is not valid reStructuredText.
    """
    try:
        parts = publish_parts(text, writer="html5", settings_overrides=_SETTINGS)
    except SystemMessage as error:
        problem = " ".join(str(error).replace("<string>:", "line ").split())
        raise InputError(
            where, field, f"is not valid reStructuredText ({problem})", "Correct it"
        ) from None
    # Docutils itself escapes what has to be.
    return Markup(str(parts["body"]).strip())


def read(path: str | Path) -> Markup:
    """Return a caption file as HTML; `InputError` when it is missing, empty or not valid."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(path, "caption", "does not exist", "Write it there") from None
    except UnicodeDecodeError as error:
        raise InputError(path, "caption", f"is not UTF-8 ({error})", "Save it as UTF-8") from None
    if not text.strip():
        raise InputError(path, "caption", "is empty", "Write one: what is drawn, what to see")
    return to_html(text, path, "caption")
