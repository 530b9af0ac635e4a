r"""Impact-parameter resolution of a detector like ATLAS.

.. math:: \sigma(d_0) = 10.9\,\mathrm{\mu m} \oplus
              \frac{57\,\mathrm{\mu m\,GeV}}{p_T\sqrt{\sin\theta}}, \qquad
          \sigma(z_0) = 82\,\mathrm{\mu m} \oplus
              \frac{61\,\mathrm{\mu m\,GeV}}{p_T\sqrt{\sin^3\theta}},

a constant term of the sensors and one of multiple scattering. Source: the table of the Inner
Detector's technical design report (CERN/LHCC 97-16, Table 4-2), as Delphes' card
``trackResolutionATLAS.tcl`` quotes it. Of its ten bins of \|eta\|, multiple scattering in d0 is met
within 2 % and the constant term within 14 %; for z0, whose form leaves no more freedom, the total
is met within 30 %. The table is the design's, with a pixel layer at 43 mm; the detector as built
was worse for soft tracks, until the insertable layer at 33 mm joined for Run 2. ATLAS shows the
resolution of Run 2 in figures only (ATL-PHYS-PUB-2015-051), hence the design's numbers here.
Everything else, magnetic field and momentum resolution included, stays that of the JetClass card.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from otcal.simulation.detector.card import Floats

TERMS_MM = {"d0": (0.0109, 0.0572, 0.5), "dz": (0.0817, 0.0614, 1.5)}
"""Constant term in mm, multiple scattering in mm GeV, power of 1 / sin(theta) in the latter."""


def impact_parameter_resolution(name: str) -> Callable[[Floats, Floats], Floats]:
    """Return sigma in mm of ``d0`` or ``dz`` as a function of eta and of pT in GeV."""
    constant, scattering, power = TERMS_MM[name]

    def resolution(eta: Floats, pt: Floats) -> Floats:
        return np.hypot(constant, scattering * np.cosh(eta) ** power / pt)

    return resolution
