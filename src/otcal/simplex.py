"""Geometry of class probabilities: isometric log-ratios, distances, priors, discriminants.

[KY] = Kim, Yang (arXiv:2605.01363), sections II.3 and VIII.3. Probabilities of D >= 2 classes live
on a simplex of D - 1 dimensions. The isometric log-ratio (ILR) coordinates `z` are unbounded and
orthonormal: Euclidean distance of `z` is Aitchison distance of the probabilities, and another prior
of the classes is a translation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from otcal.runtime.errors import InputError

SUM_TOLERANCE = 1e-4
"""How far a row of probabilities may be from one; single precision is good to 1e-6."""


def helmert(parts: int) -> NDArray[np.float64]:
    """Return the Helmert sub-matrix H of D = `parts` classes, (D - 1, D) (KY 8).

    Its rows are orthonormal and orthogonal to (1, ..., 1). Row i compares the first i + 1 classes
    with the next one.
    """
    if parts < 2:
        raise ValueError(f"a simplex has at least 2 parts, not {parts}")
    matrix = np.zeros((parts - 1, parts))
    for row in range(parts - 1):
        norm = np.sqrt((row + 1) * (row + 2))
        matrix[row, : row + 1] = 1 / norm
        matrix[row, row + 1] = -(row + 1) / norm
    return matrix


def ilr(p: NDArray[Any]) -> NDArray[np.float64]:
    """Return z = H ln p, (..., D - 1), of positive `p`, (..., D) (KY 7, 8).

    The normalisation of `p` has no influence.
    """
    log_p = np.log(np.asarray(p, dtype=np.float64))
    return np.asarray(log_p @ helmert(log_p.shape[-1]).T)


def ilr_inverse(z: NDArray[Any]) -> NDArray[np.float64]:
    """Return p = softmax(Hᵀ z), (..., D), of `z`, (..., D - 1)."""
    z = np.asarray(z, dtype=np.float64)
    log_p = z @ helmert(z.shape[-1] + 1)
    p = np.exp(log_p - log_p.max(axis=-1, keepdims=True))
    return np.asarray(p / p.sum(axis=-1, keepdims=True))


def aitchison_distance(x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
    """Return the Aitchison distance of positive `x` and `y`, (..., D), which broadcast (KY 6).

    d² = 1/(2D) Σ_ij (ln x_i/x_j − ln y_i/y_j)² is D times the variance over the classes of
    ln x_i/y_i, and that is how it is computed.
    """
    ratio = np.log(np.asarray(x, dtype=np.float64)) - np.log(np.asarray(y, dtype=np.float64))
    centred = ratio - ratio.mean(axis=-1, keepdims=True)
    return np.asarray(np.sqrt((centred**2).sum(axis=-1)))


def kappa_translation(kappa: ArrayLike) -> NDArray[np.float64]:
    """Return the shift of `z`, (..., D - 1), that multiplies the priors by `kappa` (KY 11).

    Parameters
    ----------
    kappa
        Positive factors of the classes, (..., D); a common one has no influence. (1, κ, 1)
        weights the charm of (b, c, light): (−ln κ/√2, ln κ/√6).
    """
    return ilr(np.asarray(kappa))


@dataclass(frozen=True)
class Ratio:
    """A discriminant Σ_signal p / (Σ_signal p + Σ_background p) of (b, c, light)."""

    signal: tuple[int, ...]
    background: tuple[int, ...]
    title: str
    """How figures write it."""


_B, _C, _LIGHT = range(3)

DISCRIMINANTS = {
    "b_c": Ratio((_B,), (_C,), r"$D_{b/c}$"),
    "c_l": Ratio((_C,), (_LIGHT,), r"$D_{c/\ell}$"),
    "hf_l": Ratio((_B, _C), (_LIGHT,), r"$D_{\mathrm{HF}/\ell}$"),
}
"""Discriminants of KY (62): b against c, c against light, heavy flavour against light."""


def discriminant(name: str, p: NDArray[Any], kappa: float) -> NDArray[np.float64]:
    """Return a discriminant of KY (62), (...).

    Parameters
    ----------
    name
        One of `DISCRIMINANTS` (`KeyError` otherwise).
    p
        Probabilities of b, c and light, (..., 3); the normalisation has no influence.
    kappa
        Weight of the charm probability.
    """
    ratio = DISCRIMINANTS[name]
    p = np.asarray(p, dtype=np.float64)
    if p.shape[-1] != 3:
        raise ValueError(f"discriminants are of b, c and light, not of {p.shape[-1]} classes")
    weighted = p * np.array([1.0, kappa, 1.0])
    signal = weighted[..., ratio.signal].sum(axis=-1)
    return np.asarray(signal / (signal + weighted[..., ratio.background].sum(axis=-1)))


def logit(p: NDArray[Any]) -> NDArray[np.float64]:
    """Return the logit of each class by itself, (..., D), of normalised `p`, (..., D).

    These D coordinates are one too many (KY II.3): they exist here for comparison with ILR.
    1 − p_i is taken as the sum of the others, which is exact where p_i is next to one.
    """
    p = np.asarray(p, dtype=np.float64)
    others = np.stack([np.delete(p, i, axis=-1).sum(axis=-1) for i in range(p.shape[-1])], axis=-1)
    return np.asarray(np.log(p) - np.log(others))


def logit_inverse(u: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what `u`, (..., D), stands for, and how far that is from a probability.

    Returns
    -------
    tuple
        1 / (1 + exp(−u)), (..., D), not normalised, and the leakage |Σ p − 1|, (...).
    """
    p = np.exp(-np.logaddexp(0.0, -np.asarray(u, dtype=np.float64)))
    return p, np.abs(p.sum(axis=-1) - 1.0)


def check_probabilities(
    p: NDArray[Any],
    where: str | Path,
    floor: float | None = None,
    names: Sequence[str] | None = None,
    rows: int | NDArray[np.int64] = 0,
) -> tuple[NDArray[np.float64], int]:
    """Return probabilities that have logarithms and sum to one, and how many rows were floored.

    Parameters
    ----------
    p
        Shape (N, D).
    where
        Name of their file in error messages.
    floor
        Raise smaller values to this one and normalise again; None refuses zeros.
    names
        Names of the D columns in error messages.
    rows
        Numbers of the rows in error messages, (N,), or that of the first one.

    Raises
    ------
    InputError
        For a value that is zero, negative, or not a number, or a row that does not sum to one
        within `SUM_TOLERANCE`; names the first bad row, its column and the remedy.
    """
    values = np.asarray(p, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] < 2:
        raise ValueError(f"probabilities must have shape (N, D >= 2), not {values.shape}")
    names = names or [f"p_{part}" for part in range(values.shape[1])]
    low = values <= 0 if floor is None else values < 0
    wrong = low | ~np.isfinite(values)
    bad = wrong.any(axis=1) | ~(np.abs(values.sum(axis=1) - 1) <= SUM_TOLERANCE)
    if bad.any():
        row = int(np.argmax(bad))
        number = rows + row if isinstance(rows, int) else rows[row]
        at = f"in row {number} ({int(bad.sum())} bad rows)"
        raise InputError(where, *_fault(values[row], wrong[row], at, names))
    floored = 0
    if floor is not None:
        floored = int((values < floor).any(axis=1).sum())
        values = np.maximum(values, floor)
    return values / values.sum(axis=1, keepdims=True), floored


def _fault(
    values: NDArray[np.float64], wrong: NDArray[np.bool_], at: str, names: Sequence[str]
) -> tuple[str, str, str]:
    """Return (field, problem, remedy) of a bad row, which is found `at`."""
    if not wrong.any():
        return (
            ", ".join(names),
            f"sum to {values.sum():.6g} instead of 1 {at}",
            "Give the softmax of the tagger's outputs, or divide each row by its sum",
        )
    column = int(np.argmax(wrong))
    value = values[column]
    if value == 0:
        remedy = "Set a floor in the configuration, or drop these jets: ln 0 does not exist"
    elif value < 0:
        remedy = "Give the softmax of the tagger's outputs, not its logits"
    else:
        remedy = "Drop these jets or make the file again"
    return names[column], f"is {value:g} {at}", remedy
