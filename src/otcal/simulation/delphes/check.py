"""Tell what jets can be made of the events in files that Delphes wrote."""

from __future__ import annotations

from pathlib import Path

from otcal.config.samples import Layout
from otcal.config.selection import Selection
from otcal.runtime.errors import InputError
from otcal.samples.found import Found
from otcal.samples.tables import to_numpy
from otcal.simulation.delphes.jets import iterate, require_unweighted
from otcal.simulation.delphes.reader import WEIGHT, DelphesFile, open_delphes

SELECTIONS = {
    "latent": Selection(),
    "simplex": Selection.model_validate(
        {
            **{"radius": 0.4, "pt_min": 20.0, "pt_max": 250.0, "abs_eta_max": 2.5},
            **{"flavours": {}, "tracks": {}},
        }
    ),
}
"""Jets of the two studies, as config.yaml has them."""


def examine(path: str | Path, layout: Layout | None) -> Found:
    """Read a file whole, piece by piece, and return what it offers.

    Parameters
    ----------
    path
        ROOT file with a TTree `Delphes`.
    layout
        How it is meant; None labels jets by the truth, and tells weights.

    Raises
    ------
    InputError
        For a file that cannot be read, and weights that `layout` does not ignore.
    """
    label = layout.labels.all if layout and layout.labels else None
    with open_delphes(path) as file:
        found = Found(str(path), "delphes", file.events, events=True)
        weights = file.weights()
        if len(weights):
            found.ranges[WEIGHT] = float(weights[0]), float(weights[-1])
        if layout is None and len(weights) > 1:
            found.weights = WEIGHT
        elif layout is not None and not layout.ignore_weights:
            require_unweighted(file)
        for study, selection in SELECTIONS.items():
            if label is None or label in selection.classes:
                _tell(file, study, selection, label, found)
    return found


def _tell(
    file: DelphesFile, study: str, selection: Selection, label: str | None, found: Found
) -> None:
    """Count the jets of a study."""
    jets = f"jets of the {study} study"
    counts = dict.fromkeys(selection.classes, 0)
    try:
        for table in iterate(file, selection, label=label):
            for name in counts:
                counts[name] += int(to_numpy(table[f"label_{name}"]).sum())
    except InputError as error:
        found.lacks.append(f"{jets} ({error.field}: {error.problem}. {error.remedy})")
        if error.field.startswith("Particle.") and study == "latent":
            found.uses.append(
                f"{jets} without truth, source or target, all of one class (samples: format: "
                "delphes, labels: {all: <class>})"
            )
        return
    window = (
        f"anti-kT of R = {selection.radius:g}, {selection.pt_min:g} to {selection.pt_max:g} GeV, "
        f"|eta| < {selection.abs_eta_max:g} in config.yaml"
    )
    if not any(counts.values()):
        found.lacks.append(f"{jets} (no event has one; {window}: {study}.simulation.selection)")
        return
    told = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
    labels = f", labels: {{all: {label}}}" if label else ""
    found.uses.append(
        f"{jets}, from the tagger on (samples: format: delphes{labels}), made with "
        f"{study}.simulation.selection ({window}): {told}"
    )
