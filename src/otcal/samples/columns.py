"""Names of columns in files."""

from __future__ import annotations

import re

from otcal.runtime.errors import InputError


def numbered(name: str) -> list[str]:
    """Return the columns that a name stands for: itself, or of ``z_{0..127}`` the 128 columns.

    Raises
    ------
    InputError
        When the range counts down.
    """
    found = re.search(r"\{(\d+)\.\.(\d+)\}", name)
    if found is None:
        return [name]
    numbers = range(int(found[1]), int(found[2]) + 1)
    if not numbers:
        raise InputError("columns", name, "counts down", "Swap the numbers")
    return [f"{name[: found.start()]}{n}{name[found.end() :]}" for n in numbers]
