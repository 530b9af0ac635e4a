"""Dropout whose random numbers cost little on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_ALL_INT64 = -(2**63)


class Dropout(nn.Module):
    """Zero each activation with probability `p` in training, and scale up the others.

    On the CPU torch draws one Bernoulli number per activation, which takes longer than the matrix
    products around it. Here one 64-bit number decides about eight activations, a byte each; `p` is
    thereby rounded to a multiple of 1/256 (0.1 becomes 26/256 = 0.1016).
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.dropped = round(256 * p)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return `x` with some elements zeroed; unchanged in evaluation mode."""
        if not self.training or self.dropped == 0:
            return x
        words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64, device=x.device)
        words.random_(_ALL_INT64, None, generator=generator)
        keep = (words.view(torch.uint8)[: x.numel()] >= self.dropped).view(x.shape)
        return x * (keep.to(x.dtype) * (256 / (256 - self.dropped)))
