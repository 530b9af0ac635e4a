"""The command `otcal`: check files, export a finished study's calibration, apply it to jets."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from otcal.commands import apply, check, export
from otcal.runtime.errors import InputError
from otcal.runtime.files import full_disk_named

COMMANDS = (check, export, apply)


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command; what a user can mend is one line on stderr and exit status 2."""
    parser = argparse.ArgumentParser(prog="otcal", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        with full_disk_named("output"):
            options.run(options)
    except InputError as error:
        print(f"otcal: error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
