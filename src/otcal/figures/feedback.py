"""What the uncertainty of the mixture fit says: covariances and channels, ready for drawing.

[KY] = Kim, Yang (arXiv:2605.01363), section V.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otcal.figures.extraction import Extraction, matrix, take
from otcal.mixture.composition import logits
from otcal.runtime.errors import InputError
from otcal.runtime.files import read_json

Array = NDArray[np.float64]

PAPER = "plain"
"""The paper's recipe, which is shown beside the one that the study uses."""


@dataclass(frozen=True)
class Feedback:
    """Covariances of the free logits, and the channels of the feedback.

    Parameters
    ----------
    extraction
        Compositions.
    covariances
        `statistical`, `effective` (the study's recipe) and `plain` (the paper's), each (n, n),
        n = R (K - 1).
    prior
        Covariance of the prior, shape (n, n).
    amplifications
        Singular values, shape (n,); infinite for a shift common to all regions.
    u, v
        Output and input directions as columns, shape (n, n).
    owners
        Who says how large each channel's variance is: data, or the prior and why.
    sigma
        Standard deviations of the fractions, shape (R, K).
    """

    extraction: Extraction
    covariances: dict[str, Array]
    prior: Array
    amplifications: Array
    u: Array
    v: Array
    owners: tuple[str, ...]
    sigma: Array

    @classmethod
    def read(cls, feedback: Path, extraction: Path) -> Feedback:
        """Read `feedback.json` and `extraction.json`.

        Raises
        ------
        InputError
            When a key is missing or of another shape, or the files are not of the same fit.
        """
        fitted = Extraction.read(extraction)
        content = read_json(feedback)
        regions, flavours = fitted.pi.shape
        size = regions * (flavours - 1)
        square = (size, size)
        if not np.allclose(matrix(content, "pi", fitted.pi.shape, feedback), fitted.pi, atol=1e-6):
            raise InputError(
                feedback, "pi", f"is not that of {extraction}", "Make both from the same fit"
            )
        recipe = take(content, str(take(content, "recipe", feedback)), feedback)
        covariances = {
            "statistical": matrix(content, "V0", square, feedback),
            "effective": matrix(recipe, "V_eff", square, feedback),
            PAPER: matrix(take(content, PAPER, feedback), "V_eff", square, feedback),
        }
        values = take(recipe, "singular_values", feedback)
        return cls(
            fitted,
            covariances,
            matrix(content, "V_prior", square, feedback),
            # JSON has no infinity: a common shift's amplification is written as null.
            np.array([np.inf if value is None else value for value in values], dtype=np.float64),
            matrix(recipe, "u", square, feedback),
            matrix(recipe, "v", square, feedback),
            tuple(
                f"prior: {reason}" if reason else "data"
                for reason in take(recipe, "reasons", feedback)
            ),
            matrix(content, "sigma_pi", fitted.pi.shape, feedback),
        )

    @property
    def fitted(self) -> Array:
        """Fitted logits, shape (R, K - 1)."""
        return logits(self.extraction.pi)

    @property
    def nominal(self) -> Array:
        """Logits at the prior's centre, shape (R, K - 1)."""
        return logits(self.extraction.nominal)

    @property
    def start(self) -> Array:
        """Logits that the fit began with, shape (R, K - 1)."""
        return logits(self.extraction.start)

    @property
    def true(self) -> Array | None:
        """True logits, shape (R, K - 1), if known."""
        return None if self.extraction.truth is None else logits(self.extraction.truth)

    def block(self, name: str, region: int) -> Array:
        """Return the covariance of one region's logits, shape (K - 1, K - 1)."""
        rows = self._rows(region)
        return self.covariances[name][rows, rows]

    def projected(self, side: str, region: int) -> tuple[Array, Array]:
        """Return the parts of the directions u or v in one region, and their lengths.

        Lengths are measured by the prior: a direction is one of its standard deviations long in
        all regions together, so that the squares of the lengths add up to one over the regions.

        Returns
        -------
        vectors, lengths
            Shapes (n, K - 1) and (n,), channel by channel.
        """
        directions: Any = {"u": self.u, "v": self.v}[side].T
        precision = np.linalg.inv(self.prior)
        norm = np.sqrt(np.einsum("ci,ij,cj->c", directions, precision, directions))
        directions = directions / norm[:, None]
        rows = self._rows(region)
        local = directions[:, rows]
        own = np.einsum("ci,ij,cj->c", local, precision[rows, rows], local)
        return local, np.sqrt(own)

    def _rows(self, region: int) -> slice:
        size = self.extraction.pi.shape[1] - 1
        return slice(region * size, (region + 1) * size)
