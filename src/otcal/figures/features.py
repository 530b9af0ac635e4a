"""The tagger's inputs as figures show them: titles, units and ranges.

Features: Algren et al. (arXiv:2507.08867), Tables 4 and 5. Ranges hold the bulk of the JetClass
distributions (arXiv:2202.03772); impact parameters have tails up to a metre from decays in flight,
which are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Feature:
    """One input of the tagger.

    Parameters
    ----------
    name
        Name in tables: `jet.…` or `constituent.…`.
    title
        Axis title (TeX) with unit.
    low, high
        Range of the axis.
    logarithmic
        Whether bins are equidistant in the logarithm.
    integer
        Whether its values are whole numbers, on which bins are centred.
    most
        Largest sensible number of bins; tabulated resolutions take few distinct values.
    """

    name: str
    title: str
    low: float
    high: float
    logarithmic: bool = False
    integer: bool = False
    most: int = 1000

    def edges(self, bins: int) -> NDArray[np.float64]:
        """Return about `bins` bins: the edges, ascending."""
        bins = min(bins, self.most)
        if self.integer:
            width = max(1, round((self.high - self.low) / bins))
            return np.arange(self.low, self.high + width, width) - 0.5
        if self.logarithmic:
            return np.geomspace(self.low, self.high, bins + 1)
        return np.linspace(self.low, self.high, bins + 1)

    @property
    def transformed(self) -> Feature:
        """The feature after the quantile transform to a normal distribution."""
        # Both ends of the fitted range end up at ±5.2, the quantile of 1e-7.
        short = self.title.split(" [")[0]
        return Feature(
            f"{self.name}.transformed", f"{short}, transformed", -5.25, 5.25, most=self.most
        )


JET = (
    Feature("jet.pt", r"Jet $p_T$ [GeV]", 500.0, 1000.0),
    Feature("jet.eta", r"Jet $\eta$", -2.0, 2.0),
    Feature("jet.phi", r"Jet $\phi$ [rad]", -np.pi, np.pi),
    Feature("jet.energy", r"Jet $E$ [GeV]", 500.0, 3000.0),
    Feature("jet.nparticles", r"$N_{\mathrm{constituents}}$", 0.0, 120.0, integer=True),
)
CONSTITUENT = (
    Feature("constituent.pt", r"$p_T$ [GeV]", 0.3, 700.0, logarithmic=True),
    Feature("constituent.deta", r"$\Delta\eta$", -0.8, 0.8),
    Feature("constituent.dphi", r"$\Delta\phi$ [rad]", -0.8, 0.8),
    Feature("constituent.d0val", r"$d_0$ [mm]", -0.3, 0.3),
    Feature("constituent.dzval", r"$z_0$ [mm]", -0.6, 0.6),
    Feature("constituent.d0err", r"$\sigma(d_0)$ [mm]", 0.009, 0.5, logarithmic=True, most=24),
    Feature("constituent.dzerr", r"$\sigma(z_0)$ [mm]", 0.026, 1.5, logarithmic=True, most=24),
)


def jet(name: str, low: float, high: float) -> Feature:
    """Return how to show a jet feature; an unknown one is shown from `low` to `high`."""
    return _find(JET, f"jet.{name}", low, high)


def constituent(name: str, low: float, high: float) -> Feature:
    """Return how to show a constituent feature; an unknown one is shown from `low` to `high`."""
    return _find(CONSTITUENT, f"constituent.{name}", low, high)


def _find(known: Sequence[Feature], name: str, low: float, high: float) -> Feature:
    span = max(high - low, 1e-6)
    other = Feature(name, name.split(".")[1], low - 1e-3 * span, high + 1e-3 * span)
    return {feature.name: feature for feature in known}.get(name, other)
