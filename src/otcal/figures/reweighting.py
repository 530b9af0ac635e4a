"""The map against the vertical baseline: a physics discriminant after each, and its dilution."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from otcal.config.figures import FiguresConfig
from otcal.figures import comparison, style
from otcal.figures.tables import Columns, Marginals, stack
from otcal.runtime.errors import InputError
from otcal.runtime.files import read_json

SAMPLES = ("source", "target", "calibrated", "reweighted")
VARIABLE = "Hbb"


def draw(table: Marginals, baseline: Path, config: FiguresConfig) -> tuple[Figure, Columns]:
    """Draw the H→bb discriminant of transported and of reweighted source jets.

    Parameters
    ----------
    table
        Histograms of the discriminants, sample `reweighted` included.
    baseline
        JSON of the step `reweight`, for ρ = (Σ w)² / (N Σ w²), Algren et al. (arXiv:2507.08867,
        eq. 5).
    config
        Labels and the range of the ratio.
    """
    rho = read_json(baseline).get("rho")
    if not isinstance(rho, int | float):
        raise InputError(baseline, "rho", f"is {rho!r}, not a number", "Make it again")
    figure = style.new(5.9)
    (main, below), *_ = style.ratio_axes(figure)
    histograms = {sample: table.pick(VARIABLE, sample) for sample in SAMPLES}
    columns = comparison.draw(main, below, histograms, config.ratio_range)
    comparison.log_range(main, histograms)
    style.headroom(main, 0.38)
    comparison.legend(
        main,
        histograms,
        notes={"reweighted": rf", $\rho = {rho:.2f}$", "calibrated": r", $\rho = 1$"},
    )
    style.label(main, config.label)
    main.set_ylabel("Density of q/g jets")
    # Larger, for its subscripts.
    below.set_xlabel(table.titles[VARIABLE], fontsize=15.5)
    return figure, stack([{"variable": VARIABLE, **columns}])
