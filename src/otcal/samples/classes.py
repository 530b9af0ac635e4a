"""The ten jet classes of JetClass, in the order of its public training configuration.

Source: Qu, Li, Qian, JetClass (arXiv:2202.03772).
"""

from __future__ import annotations

CLASSES = ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")
"""Class names; a jet's `label` is its class's index here. QCD is the papers' q/g."""

TITLES = {
    "QCD": r"$q/g$",
    "Hbb": r"$H\to b\bar b$",
    "Hcc": r"$H\to c\bar c$",
    "Hgg": r"$H\to gg$",
    "H4q": r"$H\to 4q$",
    "Hqql": r"$H\to \ell\nu qq'$",
    "Zqq": r"$Z\to q\bar q$",
    "Wqq": r"$W\to qq'$",
    "Tbqq": r"$t\to bqq'$",
    "Tbl": r"$t\to b\ell\nu$",
}
"""How figures write the classes."""


def title(name: str) -> str:
    """Return how figures write a class; one of another tagger by its name."""
    plain = name.replace("_", r"\_")
    return TITLES.get(name, rf"$\mathrm{{{plain}}}$")


def index(name: str) -> int:
    """Return the label of a class (`ValueError` when there is no such class)."""
    return CLASSES.index(name)
