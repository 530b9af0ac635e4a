"""What every key of the machine-readable summary means, once."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PLACEHOLDERS = {
    "layer": "z128|zp128|z10",
    "model": "mlp|linear",
    "sample": "source|calibrated|reweighted",
    "class": "QCD|Hbb|Hcc|Hgg|H4q|Hqql|Zqq|Wqq|Tbqq|Tbl",
    "feature": r"\w+",
    "name": r"\w+",
    "figure": r"\w+(?:\.\w+)*",
}


@dataclass(frozen=True)
class Key:
    """A documented key; <…> in its pattern stands for a name."""

    pattern: str
    meaning: str

    def matches(self, key: str) -> bool:
        """Say whether this entry documents `key`."""
        parts = re.split(r"<(\w+)>", self.pattern)
        expression = "".join(
            f"(?:{_PLACEHOLDERS[part]})" if i % 2 else re.escape(part)
            for i, part in enumerate(parts)
        )
        return re.fullmatch(expression, key) is not None


_AUC = (
    ("nominal.<model>", "source vs target, trained on that pair"),
    ("calibrated.<model>", "calibrated vs target, by the discriminator of source vs target"),
    ("retrained.<model>", "calibrated vs target, trained on that pair"),
    ("floor.<model>", "two disjoint halves of the target, trained on that pair"),
    ("reweighted.mlp", "reweighted source vs target, by the discriminator of source vs target"),
)

KEYS: tuple[Key, ...] = (
    *(
        entry
        for name, what in _AUC
        for entry in (
            Key(f"latent.auc.<layer>.{name}", f"AUC of {what}; mean over fits, unseen jets"),
            Key(f"latent.auc.<layer>.{name}.std", f"standard deviation over fits: {what}"),
            Key(f"latent.auc.<layer>.{name}.stat", f"statistical uncertainty (DeLong): {what}"),
        )
    ),
    Key("latent.auc.jets", "evaluated jets of the smaller sample, source vs target"),
    Key("latent.dilution.rho", "ρ of source reweighted to target, calibrated ratio [MTG Eq. 5]"),
    Key("latent.dilution.rho.std", "standard deviation of ρ over fits"),
    Key("latent.dilution.rho.stat", "statistical uncertainty of ρ"),
    Key("latent.dilution.rho_raw", "ρ with the discriminator's ratio as it is, not calibrated"),
    Key("latent.dilution.jets", "source jets that were weighted"),
    Key("latent.dilution.effective_jets", "ρ times their number"),
    Key("latent.dilution.max_weight", "largest weight; the mean is 1"),
    Key("latent.dilution.slope", "slope that calibrates the logit, 1 when it needs none"),
    Key("latent.dilution.error", "calibration error of the ratio's probability, unseen jets"),
    Key("latent.dilution.error_raw", "the same before the logit is calibrated"),
    Key("latent.discriminants.ks.<name>.<sample>", "KS to the target of a physics discriminant"),
    Key("latent.discriminants.ks.<name>.<sample>.noise", "mean KS of equal samples of these sizes"),
    Key("latent.logits.ks.<class>.<sample>", "KS to the target of a logit (z'10)"),
    Key("latent.logits.ks.<class>.<sample>.noise", "mean KS of equal samples of these sizes"),
    Key("latent.sliced_w2.<layer>.source", "sliced W2 source to target, standardised on target"),
    Key("latent.sliced_w2.<layer>.calibrated", "the same for calibrated"),
    Key("latent.sliced_w2.<layer>.floor", "the same for the two halves of the target"),
    Key("latent.energy.<layer>.source", "energy distance source to target, standardised on target"),
    Key("latent.energy.<layer>.calibrated", "the same for calibrated"),
    Key("latent.energy.<layer>.floor", "the same for the two halves of the target"),
    Key(
        "latent.inputs.ks.<feature>",
        "KS of a tagger input between our ten classes, mixed evenly, and JetClass itself",
    ),
    Key(
        "latent.tagger.<figure>", "held-out metrics of the tagger, as `evaluate_tagger` names them"
    ),
    Key("latent.map.<figure>", "held-out figures of the map, as `fit_map` names them"),
)
"""Documentation of all keys."""


def documentation(key: str) -> Key:
    """Return the entry of a key.

    Raises
    ------
    KeyError
        When there is none, or more than one.
    """
    found = [entry for entry in KEYS if entry.matches(key)]
    if len(found) != 1:
        raise KeyError(f"summary key {key} is documented {len(found)} times")
    return found[0]
