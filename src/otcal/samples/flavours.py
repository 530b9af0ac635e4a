"""The three jet flavours of the simplex study, in the order of the tagger's outputs.

Exclusive labels from hadrons, see `otcal.simulation.flavours`. The last flavour is the reference
of all logits.
"""

from __future__ import annotations

FLAVOURS = ("b", "c", "light")
"""Flavour names; a jet's `label` is its flavour's index here."""

TITLES = {"b": r"$b$", "c": r"$c$", "light": r"$\ell$"}
"""How figures write the flavours."""


def index(name: str) -> int:
    """Return the label of a flavour (`ValueError` when there is no such flavour)."""
    return FLAVOURS.index(name)
