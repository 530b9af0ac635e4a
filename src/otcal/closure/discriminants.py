"""Physics discriminants: log-ratios of sums of the tagger's class probabilities.

[MTG] section 5.1 and Figs. 5 and 11: H→bb and H→cc are signal, multijet and top quarks background.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from otcal.config.closure import Discriminant
from otcal.samples import classes as names
from otcal.samples.classes import CLASSES


def log_ratio(
    logits: NDArray[Any], discriminant: Discriminant, classes: Sequence[str] = CLASSES
) -> NDArray[np.float64]:
    """Return ln(Σ_signal p / Σ_background p) for p = softmax(logits).

    The normalisation of the softmax cancels, so that this is a difference of two log-sum-exps and
    finite for any finite logits.

    Parameters
    ----------
    logits
        z'10, shape (N, K), in the order of `classes`.
    discriminant
        Its classes, each one of `classes` (`ValueError` otherwise).
    classes
        Names of all K classes.

    Returns
    -------
    NDArray
        Shape (N,).
    """
    if logits.ndim != 2 or logits.shape[1] != len(classes):
        raise ValueError(f"logits must have shape (N, {len(classes)}), not {logits.shape}")
    z = logits.astype(np.float64)
    signal, background = (
        logsumexp(z[:, [list(classes).index(name) for name in side]], axis=1)
        for side in (discriminant.signal, discriminant.background)
    )
    return np.asarray(signal - background)


def title(discriminant: Discriminant) -> str:
    """Return the discriminant as LaTeX for an axis."""
    return rf"$\ln\,{_sum(discriminant.signal)}/{_sum(discriminant.background)}$"


def _sum(side: Sequence[str]) -> str:
    terms = "+".join(f"p_{{{names.title(name).strip('$')}}}" for name in side)
    return f"({terms})" if len(side) > 1 else terms
