"""What is told about a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass
class Found:
    """What was found in a file.

    `rows` are jets, or `events` of which jets can be made. `counts` are the jets of each class,
    `ranges` smallest and largest values, `weights` a column of weights, `uses` what can be done,
    `lacks` why something cannot, by study, `faults` what is wrong with values.
    """

    path: str
    format: str
    rows: int
    events: bool = False
    counts: dict[str, int] = field(default_factory=dict)
    dropped: int = 0
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    weights: str | None = None
    uses: list[str] = field(default_factory=list)
    lacks: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    ids: list[NDArray[np.int64]] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """Yield what a reader is to know."""
        yield f"{self.path}: {self.format}, {self.rows} {'events' if self.events else 'jets'}"
        if self.counts:
            yield "  jets of each class: " + ", ".join(f"{k} {n}" for k, n in self.counts.items())
        if self.dropped:
            yield f"  dropped: {self.dropped} (label of no class, or no constituents)"
        for name, (low, high) in self.ranges.items():
            yield f"  {name}: {low:.6g} to {high:.6g}"
        if self.absent:
            yield f"  not there, nor to be computed: {', '.join(self.absent)}"
        if self.weights:
            yield f"  weights: {self.weights} is read by nothing: needed is ignore_weights: true"
        yield from (f"  can be used: {use}" for use in self.uses)
        yield from (f"  cannot be used: {lack}" for lack in self.lacks)
        yield from (f"  wrong: {fault}" for fault in self.faults)
