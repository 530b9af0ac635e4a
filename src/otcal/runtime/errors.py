"""The one exception for what a user can mend."""

from __future__ import annotations

from pathlib import Path


class InputError(Exception):
    """Something in a user's file, setting or command that a user can mend.

    Command lines print it as one line and exit with status 2; no traceback is shown.

    Parameters
    ----------
    where
        The file (or the command-line option) that is at fault.
    field
        The column, key or field inside it.
    problem
        What is wrong, with the offending value.
    remedy
        What to do about it.
    """

    def __init__(self, where: str | Path, field: str, problem: str, remedy: str) -> None:
        super().__init__(f"{where}: {field}: {problem}. {remedy}")
        self.where = str(where)
        self.field = field
        self.problem = problem
        self.remedy = remedy
