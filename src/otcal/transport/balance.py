"""Weights that bring the mean of a batch to that of its sample."""

from __future__ import annotations

import torch
from torch import Tensor

SHARE = 0.5
"""Share of a gradient's variance that the coordinates are taken to explain."""

LARGEST = 4.0
"""Largest weight, in units of the mean one."""


class Balance:
    """Weights for batches of a sample whose mean is known.

    The mean of any function over a random batch errs by its fluctuation in the batch. What of it
    is linear in the coordinates need not be left to chance, as the mean of the coordinates over the
    whole sample is known: weights near 1/n which give the batch that mean take it out (the ridge
    version of a regression estimator; Deville and Särndal, J. Am. Stat. Assoc. 87 (1992) 376).

    Parameters
    ----------
    points
        The sample, shape (N, d).
    """

    def __init__(self, points: Tensor) -> None:
        self.mean = points.mean(0)
        spread = points.std(0, correction=0)
        self.unit = torch.where(spread > 0, spread, 1.0)

    def weights(self, batch: Tensor, usable: Tensor | None = None) -> Tensor:
        """Return non-negative weights of sum one, shape (n,).

        Parameters
        ----------
        batch
            Points of the sample, shape (n, d).
        usable
            1 for points that count and 0 for others, which get no weight; default: all count.
        """
        usable = torch.ones_like(batch[:, 0]) if usable is None else usable
        features = (batch - self.mean) / self.unit
        counted = features * usable[:, None]
        dimension = batch.shape[1]
        # The noise of d slopes from n points must not cost more than they bring.
        ridge = dimension * (1.0 - SHARE) / SHARE
        moments = counted.T @ features + ridge * torch.eye(dimension).to(batch)
        slope = torch.linalg.solve(moments, counted.sum(0))
        weights = usable * (1.0 - features @ slope).clamp(0.0, LARGEST)
        return weights / weights.sum().clamp_min(1.0)
