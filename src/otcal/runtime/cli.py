"""What every step's command line has in common."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

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


class NumberedFiles(argparse.Action):
    """An option that takes files, and ``jets/QCD/{0..99}.parquet`` for a hundred of them.

    The range is the shell's own notation. Written out here instead, the names of thousands of
    shards do not count towards the length of a command, of which a shell takes 128 KiB.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Keep the files of all patterns, as paths in their order."""
        files = [Path(name) for text in values for name in _numbered(text, str(option_string))]
        setattr(namespace, self.dest, files)


def _numbered(text: str, option: str) -> list[str]:
    """Return the names that a pattern stands for: without a range, itself."""
    found = re.search(r"\{(\d+)\.\.(\d+)\}", text)
    if found is None:
        return [text]
    first, last = int(found[1]), int(found[2])
    if last < first:
        raise InputError(option, text, f"counts down from {first} to {last}", "Swap the numbers")
    return [f"{text[: found.start()]}{n}{text[found.end() :]}" for n in range(first, last + 1)]


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
