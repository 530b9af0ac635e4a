"""Batches that cover a sample evenly: one point of each cell of a k-d tree."""

from __future__ import annotations

import torch
from torch import Tensor

AXES = 4
"""Coordinates of widest spread in which cells are cut."""


def cells(size: int, count: int) -> int:
    """Return the number of cells for batches of `size` of `count` points: a power of two."""
    return 1 << (min(size, count).bit_length() - 1)


def batches(points: Tensor, size: int, seed: int) -> Tensor:
    """Return the rows of a pass over the points, batch by batch, shape (n // c, c) for c `cells`.

    The points are cut into as many cells as fit into a batch, a power of two, each of as many
    points; every batch has one random point of every cell. A batch's mean of a function then
    errs by what the function varies within the cells only: in few dimensions far less than that of
    a random batch, in many about as much. It stays unbiased: which points a pass leaves out (fewer
    than one batch), and their order, is random.

    Parameters
    ----------
    points
        Shape (n, d), n ≥ 1.
    size
        Points of a batch at most.
    seed
        Seed of the pass.
    """
    generator = torch.Generator().manual_seed(seed)
    leaves = cells(size, len(points))
    used = leaves * (len(points) // leaves)
    rows = torch.randperm(len(points), generator=generator)[:used].to(points.device)[None]
    axes = points.var(0, correction=0).topk(min(AXES, points.shape[1])).indices
    seen = points[:, axes]
    while len(rows) < leaves:
        inside = seen[rows]
        widest = inside.var(1, correction=0).argmax(1)
        place = inside.gather(2, widest[:, None, None].expand(*rows.shape, 1)).squeeze(2)
        rows = rows.gather(1, place.argsort(dim=1)).reshape(2 * len(rows), -1)
    shuffle = torch.rand(rows.shape, generator=generator).argsort(dim=1).to(points.device)
    return rows.gather(1, shuffle).T
