"""What every step's command line has in common."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from otcal.config.base import describe
from otcal.runtime import interruption
from otcal.runtime.errors import InputError
from otcal.runtime.files import full_disk_named

Model = TypeVar("Model", bound=BaseModel)


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that all steps share."""
    result = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument(
        "--spec", required=True, help="settings of this step: JSON, or @FILE with JSON"
    )
    result.add_argument("--threads", type=int, help="CPU threads to use (default: all)")
    return result


def load_spec(text: str, model: type[Model]) -> Model:
    """Validate a step's settings.

    Raises
    ------
    InputError
        When they are not JSON or do not fit `model`; names the key and what is allowed.
    """
    source = "--spec"
    if text.startswith("@"):
        source = text[1:]
        try:
            text = Path(source).read_text(encoding="utf-8")
        except OSError as error:
            raise InputError(source, "file", str(error.strerror), "Check the path") from None
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        field, problem, remedy = describe(error, model)
        raise InputError(source, field, problem, remedy) from None


def run(main: Callable[[Sequence[str] | None], None]) -> None:
    """Run a step: logging to stderr, and one line without traceback for what a user can mend.

    A signal that asks to stop ends the process at once, but for fits, which first finish a step and
    keep their state (`otcal.runtime.interruption`).
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        with interruption.graceful(), full_disk_named("output"):
            main(None)
    except InputError as error:
        print(f"otcal: error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        os._exit(141)
