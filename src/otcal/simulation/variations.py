"""Systematic variations of the simulated world."""

from __future__ import annotations

import numpy as np

from otcal.config.simulation import Scales, Smearing, Variation
from otcal.simulation.detector.card import Floats

SOFT_PT_GEV = 5.0
"""Transverse momentum around which the growth passes from its soft to its stiff value."""
TRACKER_ETA = 2.5

_SHOWERS = {
    "SigmaProcess": "hard_process",
    "SpaceShower": "initial_state_shower",
    "TimeShower": "final_state_shower",
}


def resolution_growth(smearing: Smearing, pt: Floats, eta: Floats) -> Floats:
    r"""Return by which fraction the impact-parameter resolution grows.

    A detector with more material than simulated is worse for soft and for forward tracks, so the
    growth is

    .. math:: f = f_\min + \frac{f_\max - f_\min}{2}
              \left[\frac{1}{1 + p_T / 5\,\mathrm{GeV}} + \min(1, |\eta| / 2.5)^2\right],

    which stays between `minimum` and `maximum`.

    Parameters
    ----------
    smearing
        The two bounds.
    pt, eta
        Transverse momenta in GeV and pseudorapidities of tracks, shape (N,).
    """
    soft = 1.0 / (1.0 + pt / SOFT_PT_GEV)
    forward = np.minimum(np.abs(eta) / TRACKER_ETA, 1.0) ** 2
    return smearing.minimum + (smearing.maximum - smearing.minimum) * (soft + forward) / 2


def extra_width(growth: Floats) -> Floats:
    """Return the width, in units of the resolution, of the Gaussian that makes it grow.

    Independent Gaussians add in quadrature: sigma (1 + f) needs an extra sigma sqrt((1+f)^2 - 1).
    """
    return np.sqrt((1.0 + growth) ** 2 - 1.0)


def scale_settings(variation: Variation) -> list[str]:
    """Return the Pythia settings of the scale factors.

    Pythia's `MultFac` settings multiply the *square* of a scale, so that a factor 2 in mu is 4.
    Multiparton interactions have couplings of their own and are untouched.
    """
    settings = []
    for prefix, name in _SHOWERS.items():
        scales: Scales = getattr(variation, name)
        settings.append(f"{prefix}:renormMultFac = {scales.renormalisation**2!r}")
        settings.append(f"{prefix}:factorMultFac = {scales.factorisation**2!r}")
    return settings
