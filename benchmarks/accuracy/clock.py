"""The benchmark's clock: CPU seconds of this process since the start of a fit."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float32]


@dataclass(frozen=True)
class Clock:
    """CPU seconds, of all threads, since this was made.

    Attributes
    ----------
    budget
        Seconds that a fit may take, compilation and choices of settings included.
    """

    budget: float
    start: float = field(default_factory=time.process_time)

    @property
    def spent(self) -> float:
        """CPU seconds so far."""
        return time.process_time() - self.start

    @property
    def left(self) -> float:
        """CPU seconds left, negative beyond the budget."""
        return self.budget - self.spent


@dataclass(frozen=True)
class Fit:
    """What a solver returns.

    Attributes
    ----------
    transport
        The map, (n, d) → (n, d).
    steps
        Gradient steps or iterations; 0 for a closed form.
    notes
        Choices that were made during the fit.
    """

    transport: Callable[[Points], Points]
    steps: int = 0
    notes: dict[str, Any] = field(default_factory=dict)


Solver = Callable[[Points, Points, Clock, int], Fit]
"""Fits a map from source to target points, (n, d) each, within a clock's budget, for a seed."""
