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
from otcal.samples.classes import CLASSES, TITLES, index


def log_ratio(logits: NDArray[Any], discriminant: Discriminant) -> NDArray[np.float64]:
    """Return ln(Σ_signal p / Σ_background p) for p = softmax(logits).

    The normalisation of the softmax cancels, so that this is a difference of two log-sum-exps and
    finite for any finite logits.

    Parameters
    ----------
    logits
        z'10, shape (N, 10), in the order of `otcal.samples.classes.CLASSES`.
    discriminant
        Its classes.

    Returns
    -------
    NDArray
        Shape (N,).
    """
    if logits.ndim != 2 or logits.shape[1] != len(CLASSES):
        raise ValueError(f"logits must have shape (N, {len(CLASSES)}), not {logits.shape}")
    z = logits.astype(np.float64)
    signal, background = (
        logsumexp(z[:, [index(name) for name in names]], axis=1)
        for names in (discriminant.signal, discriminant.background)
    )
    return np.asarray(signal - background)


def title(discriminant: Discriminant) -> str:
    """Return the discriminant as LaTeX for an axis."""
    return rf"$\ln\,{_sum(discriminant.signal)}/{_sum(discriminant.background)}$"


def _sum(names: Sequence[str]) -> str:
    terms = "+".join(f"p_{{{TITLES[name].strip('$')}}}" for name in names)
    return f"({terms})" if len(names) > 1 else terms
