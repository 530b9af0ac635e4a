"""Fitted preprocessing: from jets to what the network reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otcal.runtime.errors import InputError
from otcal.tagger.constituents import CHARGED_ONLY, NEUTRAL_HADRON, PHOTON, Jets
from otcal.tagger.quantiles import QuantileNormal


@dataclass(frozen=True)
class Preprocessing:
    """Quantile transforms of all continuous features (arXiv:2507.08867, Appendix C).

    Features that only charged constituents have are fitted on those; neutral constituents get 0
    there, whatever the file says.
    """

    constituents: dict[str, QuantileNormal]
    """Transform of each constituent feature, in the order of the network's inputs."""
    jets: dict[str, QuantileNormal]
    """Transform of each jet feature, in the order of the network's inputs."""
    max_constituents: int
    """Constituents of highest pT that are kept."""

    @classmethod
    def fit(
        cls,
        jets: Jets,
        constituent_features: Sequence[str],
        jet_features: Sequence[str],
        *,
        quantiles: int,
        max_constituents: int,
    ) -> Preprocessing:
        """Fit the transforms.

        Parameters
        ----------
        jets
            Training jets, with these features in this order.
        constituent_features, jet_features
            Their names.
        quantiles
            Number of quantiles of each transform.
        max_constituents
            Constituents of highest pT that are kept, in the fit as later.

        Raises
        ------
        InputError
            When there is no jet, or no charged constituent, to fit on.
        """
        jets = jets.leading(max_constituents)
        charged = _charged(jets)
        if not charged.any():
            raise InputError(
                "training jets",
                "part_charge",
                f"no charged constituent in {len(jets)} jets",
                "Give jets with tracks, or more jets",
            )
        constituents = {
            name: QuantileNormal.fit(
                jets.values[charged, i] if name in CHARGED_ONLY else jets.values[:, i], quantiles
            )
            for i, name in enumerate(constituent_features)
        }
        transforms = {
            name: QuantileNormal.fit(jets.features[:, i], quantiles)
            for i, name in enumerate(jet_features)
        }
        return cls(constituents, transforms, max_constituents)

    def __call__(self, jets: Jets) -> Jets:
        """Return the jets with leading constituents and transformed features."""
        jets = jets.leading(self.max_constituents)
        values = np.empty_like(jets.values)
        neutral = ~_charged(jets)
        for i, (name, transform) in enumerate(self.constituents.items()):
            values[:, i] = transform(jets.values[:, i])
            if name in CHARGED_ONLY:
                values[neutral, i] = 0
        features = np.empty_like(jets.features)
        for i, transform in enumerate(self.jets.values()):
            features[:, i] = transform(jets.features[:, i])
        return replace(jets, values=values, features=features)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-ready content."""
        return {
            "max_constituents": self.max_constituents,
            "constituents": {k: t.quantiles.tolist() for k, t in self.constituents.items()},
            "jets": {name: t.quantiles.tolist() for name, t in self.jets.items()},
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any], where: str | Path) -> Preprocessing:
        """Read what `to_json` returned; `InputError` names `where` and the first bad field."""
        try:
            return cls(
                constituents=_transforms(content["constituents"]),
                jets=_transforms(content["jets"]),
                max_constituents=int(content["max_constituents"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                where, "preprocessing", f"cannot be read ({error!r})", "Fit it again"
            ) from None


def _charged(jets: Jets) -> NDArray[np.bool_]:
    return (jets.kinds != PHOTON) & (jets.kinds != NEUTRAL_HADRON)


def _transforms(content: Mapping[str, Any]) -> dict[str, QuantileNormal]:
    transforms = {}
    for name, quantiles in content.items():
        array = np.asarray(quantiles, dtype=np.float64)
        if array.ndim != 1 or len(array) < 2 or not (np.diff(array) >= 0).all():
            raise ValueError(f"{name}: quantiles must not fall")
        transforms[str(name)] = QuantileNormal(array)
    return transforms
