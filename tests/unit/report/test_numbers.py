"""Numbers in writing."""

from __future__ import annotations

import pytest

from otcal.report.making import duration
from otcal.report.numbers import write


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.4996, 3, "0.500"),
        (-0.25, 2, "−0.25"),
        (-0.0004, 2, "0.00"),
        (-0.0, 0, "0"),
        (8181000.0, 0, "8\u202f181\u202f000"),
        (-1234.5, 1, "−1\u202f234.5"),
    ],
)
def test_numbers(value: float, digits: int, text: str) -> None:
    assert write(value, digits) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (7200, "2.0 h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
