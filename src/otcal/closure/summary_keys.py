"""What every key of the machine-readable summary means, once."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PLACEHOLDERS = {
    "layer": "z128|zp128|z10",
    "model": "mlp|linear",
    "sample": "source|calibrated|reweighted",
    "class": r"[A-Za-z0-9_]+",
    "feature": r"\w+",
    "name": r"\w+",
    "figure": r"\w+(?:\.\w+)*",
    "flavour": "b|c|light",
    "region": r"\w+",
    "number": r"\d+",
    "discriminant": "b_c|c_l|hf_l",
    "kappa": r"\d+(?:\.\d+)?",
    "other": "data|truth_target|reweighted|binned_sf|logit_space",
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
    Key(
        "simplex.tagger.<figure>", "held-out metrics of the tagger, as `evaluate_tagger` names them"
    ),
    Key("simplex.fit.iterations", "iterations of the best EM fit"),
    Key("simplex.fit.converged", "1 when it met its criteria, 0 when it ran out of iterations"),
    Key("simplex.fit.starts", "fits from different compositions"),
    Key("simplex.composition.fraction.<region>.<flavour>", "fitted fraction"),
    Key("simplex.composition.error.<region>.<flavour>", "its error, from the covariance V_eff"),
    Key("simplex.composition.spread.<region>.<flavour>", "its spread over the starts"),
    Key("simplex.composition.pull.<region>.<flavour>", "(true - fitted fraction) / error"),
    Key(
        "simplex.composition.distance.<region>",
        "Mahalanobis distance of the true logits from the fitted ones",
    ),
    Key("simplex.conditioning.kappa", "condition number of the compositions [KY 27]"),
    Key("simplex.feedback.spectral_radius", "largest modulus of the eigenvalues of F [KY 54]"),
    Key(
        "simplex.feedback.singular.<number>",
        "singular value of G without common shifts, which come first and are infinite",
    ),
    Key("simplex.feedback.singular_plain.<number>", "the same by the paper's recipe [KY 58]"),
    Key("simplex.feedback.prior_dominated", "channels of the feedback that the prior determines"),
    Key("simplex.closure.w1.<discriminant>.<kappa>", "W1 simulation to data, 1:1:1 region"),
    Key("simplex.closure.w1_floor.<discriminant>.<kappa>", "W1 that sample sizes alone give"),
    Key("simplex.closure.w1_ratio.<discriminant>.<kappa>", "W1 calibrated over W1 simulation"),
    Key("simplex.closure.w1_ratio_<other>.<discriminant>.<kappa>", "the same for another way"),
    Key(
        "simplex.closure.in_band.<discriminant>.<kappa>",
        "share of the bins in which data lie within band and statistical errors",
    ),
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
