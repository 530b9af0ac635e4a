"""Components that have come to describe another flavour than their own are refused.

The likelihood of a mixture does not change when components and columns of Π are permuted. Flows
that start from labelled simulation and a prior around the nominal compositions tie names to
components (Kim, Yang, arXiv:2605.01363, sections III.1 and VIII.1); here it is checked that the
tie has held.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from otcal.runtime.errors import InputError

Array = NDArray[np.float64]

_REMEDY = (
    "The fit does not tell the flavours apart: narrow prior_width, choose purer regions, or "
    "check that simulation and data are scored by the same tagger"
)


def check_labels(
    pi: Array,
    gamma: Array,
    reference: Array,
    enriched: Sequence[int],
    regions: Sequence[str],
    flavours: Sequence[str],
) -> None:
    """Check that every component is still that of its flavour.

    Parameters
    ----------
    pi
        Compositions, shape (R, K).
    gamma
        Responsibilities, shape (N, K).
    reference
        Log-densities of the simulated flavours at the events, shape (N, K).
    enriched
        Index of the flavour enriched in each region.
    regions, flavours
        Names for the messages.

    Raises
    ------
    InputError
        When the enriched flavour is no longer the largest of its region, or when the events of the
        components are all in all better described by the simulated flavours in another order.
    """
    for r, signal in enumerate(enriched):
        largest = int(np.argmax(pi[r]))
        if largest != signal:
            raise InputError(
                "mixture fit",
                regions[r],
                f"is enriched in {flavours[signal]} but the fit finds {pi[r, largest]:.1%} of "
                f"{flavours[largest]} in it (label switching)",
                _REMEDY,
            )
    affinity = gamma.T @ reference / gamma.sum(axis=0)[:, None]
    order = linear_sum_assignment(affinity, maximize=True)[1]
    if (order != np.arange(len(order))).any():
        k = int(np.argmax(order != np.arange(len(order))))
        raise InputError(
            "mixture fit",
            flavours[k],
            f"has become the component that simulation calls {flavours[order[k]]} "
            "(label switching)",
            _REMEDY,
        )
