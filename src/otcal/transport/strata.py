"""Batches that cover a sample evenly: one point of each cell of a k-d tree."""

from __future__ import annotations

import torch
from torch import Tensor

from otcal.runtime.seeds import derive

AXES = 4
"""Coordinates of widest spread in which cells are cut."""

BLOCK = 1 << 17
"""Points that are cut into cells at a time, roughly."""

PASSES = 4
"""Passes with the same cells: cutting takes as long as several steps."""

MANY = 32
"""Batches of a block from which on its cells are used again. With fewer, too many points are over.
"""


class Batches:
    """The batches of a sample, pass after pass, as a function of their number.

    The points are dealt to blocks at random, and a block is cut into as many cells as fit into a
    batch, a power of two, each of as many points. A batch has one random point of every cell of its
    block. In the next passes, where a block has many batches, the points of a cell come in another
    order; then points are dealt anew. The mean of a function over a batch errs by what the function
    varies within the cells only: in few dimensions far less than over a random batch, in many about
    as much. It stays unbiased: which points are left out (less than a batch per block) is random.

    Parameters
    ----------
    points
        Shape (n, d), n ≥ 1.
    size
        Points of a batch at most.
    seed
        Seed.
    """

    def __init__(self, points: Tensor, size: int, seed: int) -> None:
        self.points, self.seed = points, seed
        self.cells = 1 << (min(size, len(points)).bit_length() - 1)
        self.blocks = max(1, len(points) // BLOCK)
        self.per_block = len(points) // self.blocks // self.cells
        spread = points[:BLOCK].var(0, correction=0)
        self.axes = spread.topk(min(AXES, points.shape[1])).indices
        self.passes = PASSES if self.per_block >= MANY else 1
        self.turn = -1  # number of the last deal
        self.order = torch.empty(0, dtype=torch.int64)  # all rows, block after block
        self.cut: dict[int, Tensor] = {}  # cells of blocks
        self.block: tuple[int, Tensor] | None = None  # block, its batches

    def rows(self, number: int) -> Tensor:
        """Return the rows of batch `number` (from 0), a power of two of them."""
        block, position = divmod(number, self.per_block)
        if self.block is None or self.block[0] != block:
            self.block = block, self._deal(block)
        return self.block[1][position]

    def _deal(self, block: int) -> Tensor:
        """Return the batches of a block, shape (batches, cells)."""
        number, part = divmod(block, self.blocks)
        if number // self.passes != self.turn:
            self.turn, self.cut = number // self.passes, {}
            generator = torch.Generator().manual_seed(derive(self.seed, "pass", self.turn))
            self.order = torch.randperm(len(self.points), generator=generator)
        if part not in self.cut:
            self.cut[part] = self._cut(part)
        rows = self.cut[part]
        generator = torch.Generator().manual_seed(derive(self.seed, "block", block))
        shuffle = torch.rand(rows.shape, generator=generator).argsort(dim=1)
        return rows.gather(1, shuffle.to(rows.device)).T.contiguous()

    def _cut(self, part: int) -> Tensor:
        """Return the cells of a block, shape (cells, points of each)."""
        used = self.per_block * self.cells
        start = part * (len(self.points) // self.blocks)
        rows = self.order[start : start + used].to(self.points.device)[None]
        while len(rows) < self.cells:
            inside = self.points[rows[:, :, None], self.axes]
            widest = inside.var(1, correction=0).argmax(1)
            place = inside.gather(2, widest[:, None, None].expand(*rows.shape, 1)).squeeze(2)
            rows = rows.gather(1, place.argsort(dim=1)).reshape(2 * len(rows), -1)
        return rows
