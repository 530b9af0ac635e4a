"""All figures of the simplex study; see `otcal.figures.catalogue`."""

from __future__ import annotations

from otcal.figures.entry import Figure

_EXTRACTION = {"extraction": "mixture/extraction.json"}
_LOGITS_OF_REGIONS = {"feedback": "uncertainty/feedback.json"} | _EXTRACTION
_COMPONENTS = {"components": "tables/components.parquet"}
_DISCRIMINANTS = {"discriminants": "closure/discriminants.csv"}
_METRICS = {"metrics": "closure/metrics.csv"}
_FIT, _BANDS, _MAPS, _CLOSURE = "Mixture fit", "Compositions", "Transport maps", "Closure"

SIMPLEX_FIGURES = (
    Figure(
        "simplex_fig01",
        "1",
        "Scores of the control regions, before and after the fit",
        _FIT,
        "draw_mixture",
        {"scores": "tables/mixture.parquet"},
        ("fig01_scores_b", "fig01_scores_c", "fig01_scores_light"),
    ),
    Figure(
        "simplex_fig02",
        "2",
        "Composition of the b-enriched region",
        _BANDS,
        "draw_logit_planes",
        _LOGITS_OF_REGIONS,
        ("fig02_logits_b",),
    ),
    Figure(
        "simplex_fig03",
        "3",
        "Composition of the c-enriched region",
        _BANDS,
        "draw_logit_planes",
        _LOGITS_OF_REGIONS,
        ("fig03_logits_c",),
    ),
    Figure(
        "simplex_fig04",
        "4",
        "Composition of the light-enriched region",
        _BANDS,
        "draw_logit_planes",
        _LOGITS_OF_REGIONS,
        ("fig04_logits_light",),
    ),
    Figure(
        "simplex_fig05",
        "5",
        "Extracted components of the b-enriched region",
        _BANDS,
        "draw_mixture",
        _COMPONENTS,
        ("fig05_components_b",),
    ),
    Figure(
        "simplex_fig06",
        "6",
        "Extracted components of the c-enriched region",
        _BANDS,
        "draw_mixture",
        _COMPONENTS,
        ("fig06_components_c",),
    ),
    Figure(
        "simplex_fig07",
        "7",
        "Extracted components of the light-enriched region",
        _BANDS,
        "draw_mixture",
        _COMPONENTS,
        ("fig07_components_light",),
    ),
    Figure(
        "simplex_fig08",
        "8",
        "Maps in the plane of log-ratios",
        _MAPS,
        "draw_displacements",
        {
            "displacements": "tables/displacements_plane.parquet",
            "densities": "tables/displacements_density.parquet",
        },
        ("fig08_plane_b", "fig08_plane_c", "fig08_plane_light"),
    ),
    Figure(
        "simplex_fig09",
        "9",
        "Maps on the simplex",
        _MAPS,
        "draw_displacements",
        {"displacements": "tables/displacements_simplex.parquet"},
        ("fig09_simplex_b", "fig09_simplex_c", "fig09_simplex_light"),
    ),
    Figure(
        "simplex_fig10",
        "10",
        "Closure of b against c",
        _CLOSURE,
        "draw_kappa_closure",
        _DISCRIMINANTS,
        ("fig10a_kappa05", "fig10b_kappa2"),
    ),
    Figure(
        "simplex_fig11",
        "11",
        "Closure of c against light",
        _CLOSURE,
        "draw_kappa_closure",
        _DISCRIMINANTS,
        ("fig11a_kappa05", "fig11b_kappa2"),
    ),
    Figure(
        "simplex_fig12",
        "12",
        "Closure of heavy flavour against light",
        _CLOSURE,
        "draw_kappa_closure",
        _DISCRIMINANTS,
        ("fig12a_kappa05", "fig12b_kappa2"),
    ),
    Figure(
        "simplex_starts",
        "",
        "Where the fits end",
        _FIT,
        "draw_mixture",
        _LOGITS_OF_REGIONS,
        ("starts",),
    ),
    Figure(
        "simplex_convergence",
        "",
        "Convergence of the fits",
        _FIT,
        "draw_mixture",
        {"convergence": "tables/convergence.parquet"} | _EXTRACTION,
        ("convergence",),
    ),
    Figure(
        "simplex_closure",
        "",
        "Distances to the pseudo-data in all regions",
        _CLOSURE,
        "draw_kappa_closure",
        _METRICS,
        ("closure_w1",),
    ),
    Figure(
        "simplex_methods",
        "",
        "Ways to calibrate, compared",
        _CLOSURE,
        "draw_kappa_closure",
        _METRICS,
        ("methods_w1",),
    ),
)
