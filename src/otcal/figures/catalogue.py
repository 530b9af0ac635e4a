"""All figures of both studies: what makes each, from which tables, into which files.

Pure data, so that the workflow, its report and the page can read it at no cost.
"""

from __future__ import annotations

from otcal.figures.entry import Figure
from otcal.figures.simplex_catalogue import SIMPLEX_FIGURES

_INPUTS = {"inputs": "tables/inputs.parquet"}
_PCA = {"marginals": "tables/pca.parquet", "pairs": "tables/pca_pairs.parquet"}
_LOGITS = {"marginals": "tables/logits.parquet", "pairs": "tables/logits_pairs.parquet"}
_CURVES = {"curves": "closure/roc.csv", "areas": "closure/auc.csv"}

FIGURES = (
    Figure(
        "fig01",
        "1",
        "Source and target jets",
        "Samples",
        "draw_inputs",
        _INPUTS,
        ("fig01a_d0", "fig01b_multiplicity"),
    ),
    Figure(
        "fig03",
        "3",
        "Principal components of z₁₂₈",
        "Closure in the latent space",
        "draw_corners",
        _PCA,
        ("fig03a_pca_source", "fig03b_pca_calibrated"),
    ),
    Figure(
        "fig04",
        "4",
        "Discriminators in the three layers",
        "Closure in the latent space",
        "draw_rocs",
        _CURVES | {"scores": "closure/scores.csv"},
        ("fig04a_roc", "fig04b_score"),
    ),
    Figure(
        "fig05",
        "5",
        "Physics discriminants",
        "Closure of the outputs",
        "draw_marginals",
        {"marginals": "tables/discriminants.parquet"},
        ("fig05a_hbb", "fig05b_hcc"),
    ),
    Figure(
        "fig07",
        "7",
        "Jet features before and after the quantile transform",
        "Samples",
        "draw_inputs",
        _INPUTS,
        ("fig07_jet_features",),
    ),
    Figure(
        "fig08",
        "8",
        "Constituent features before and after the quantile transform",
        "Samples",
        "draw_inputs",
        _INPUTS,
        ("fig08_constituent_features",),
    ),
    Figure(
        "fig09",
        "9",
        "Discriminators trained before and after the calibration",
        "Closure in the latent space",
        "draw_rocs",
        _CURVES,
        ("fig09a_roc_linear", "fig09b_roc_mlp"),
    ),
    Figure(
        "fig10",
        "10",
        "Marginals of the outputs",
        "Closure of the outputs",
        "draw_marginals",
        {"marginals": "tables/logits.parquet"},
        ("fig10_outputs",),
    ),
    Figure(
        "fig11",
        "11",
        "A further physics discriminant",
        "Closure of the outputs",
        "draw_marginals",
        {"marginals": "tables/discriminants.parquet"},
        ("fig11_hbb_hcc",),
    ),
    Figure(
        "fig12",
        "12",
        "Corner plot of the outputs, not calibrated",
        "Closure of the outputs",
        "draw_corners",
        _LOGITS,
        ("fig12_outputs_source",),
    ),
    Figure(
        "fig13",
        "13",
        "Corner plot of the outputs, calibrated",
        "Closure of the outputs",
        "draw_corners",
        _LOGITS,
        ("fig13_outputs_calibrated",),
    ),
    Figure(
        "tagger",
        "",
        "Performance of the tagger",
        "Tagger",
        "draw_tagger",
        {
            "curves": "tagger/roc.csv",
            "areas": "tagger/metrics.json",
            "confusion": "tagger/confusion.csv",
        },
        ("tagger_roc", "tagger_confusion"),
    ),
    Figure(
        "learning",
        "",
        "Fit of the transport map",
        "Transport map",
        "draw_learning_curve",
        {"curve": "transport/learning_curve.csv"},
        ("learning_curve",),
    ),
    Figure(
        "reweighting",
        "",
        "Transport against reweighting",
        "Closure of the outputs",
        "draw_reweighting",
        {"marginals": "tables/discriminants.parquet", "baseline": "closure/reweighting.json"},
        ("reweighting",),
    ),
)


def figure(name: str) -> Figure:
    """Return a figure of either study by its name (`KeyError` when there is none)."""
    return {entry.name: entry for entry in (*FIGURES, *SIMPLEX_FIGURES)}[name]
