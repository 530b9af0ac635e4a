# Needs: common. Makes: which figures a study's page has, and what else it shows.

from otcal.figures.catalogue import FIGURES, SIMPLEX_FIGURES
from otcal.figures.entry import EARLY, Figure

# Figures of a study's page: what its rules draw, and the simulation's validation.
VALIDATION = Figure(
    name="validation",
    number="",
    title="Inputs against JetClass",
    category="Samples",
    step="validate_simulation",
    inputs={"summary": "validation/summary.csv"},
    panels=("inputs",),
)
CATALOGUE = {"latent": (*FIGURES, VALIDATION), "simplex": SIMPLEX_FIGURES}


def is_drawn(study, figure):
    """Whether a study has what a figure shows: jets, our tagger, and the discriminants of its ten classes."""
    if figure.early and starts_late(study):
        return False
    shows = "tables/discriminants.parquet" in figure.inputs.values()
    return study != "latent" or not shows or not LATENT.closure.undrawn


PAGE = {
    study: [figure for figure in figures if is_drawn(study, figure)]
    for study, figures in CATALOGUE.items()
}
# Figures that a rule draws from tables, with their study.
DRAWN = [
    (study, figure)
    for study, figures in PAGE.items()
    for figure in figures
    if figure is not VALIDATION
]
# Outputs whose origin a page tells.
PROVENANCE = {
    "latent": (
        "validation/summary.csv",
        "tagger/preprocessing.json",
        "tagger/tagger.json",
        "tagger/metrics.json",
        *(["head/head.json"] if starts_late("latent") else []),
        "latents/source.parquet",
        "latents/target.parquet",
        "transport/map.json",
        "latents/calibrated.parquet",
        "closure/discriminators/z128-nominal-mlp.json",
        "closure/auc.csv",
        "closure/reweighting.json",
    ),
    "simplex": (
        "tagger/preprocessing.json",
        "tagger/tagger.json",
        "tagger/metrics.json",
        "scores/simulation.parquet",
        "scores/data.parquet",
        "mixture/extraction.json",
        "uncertainty/feedback.json",
        "closure/diagnostics.json",
    ),
}


def page_files(study, *suffixes):
    """Files of all panels of a study's page."""
    files = []
    for figure in PAGE[study]:
        place = "validation" if figure is VALIDATION else "figures"
        for panel in figure.panels:
            stem = results(f"{study}/{place}/{panel}")
            files += [f"{stem}.{suffix}" for suffix in suffixes]
    return files


def summarised(study, **files):
    """Those of the files that a study's summary is made of, which it makes, by the command's options."""
    return {
        option: results(f"{study}/{path}")
        for option, path in files.items()
        if not (path.startswith(EARLY) and starts_late(study))
    }


def page_captions(wildcards):
    """Captions of a study's page."""
    return [
        f"workflow/report/captions/{figure.caption}" for figure in PAGE[wildcards.study]
    ]


def page_provenance(wildcards):
    """Outputs whose origin a study's page tells."""
    return [
        results(f"{wildcards.study}/{path}")
        for path in PROVENANCE[wildcards.study]
        if not (path.startswith(EARLY) and starts_late(wildcards.study))
    ]


def report_spec(wildcards):
    """Settings of a study's page: its figures, and the configuration that it shows."""
    names = ("name", "title", "number", "caption", "panels")
    shown = SETTINGS.model_dump(mode="json")
    others = STUDIES.keys() - {wildcards.study}
    page = PAGE[wildcards.study]
    return json.dumps(
        {
            "start": "outputs" if starts_late(wildcards.study) else "jets",
            "omitted": [
                figure.name
                for figure in CATALOGUE[wildcards.study]
                if figure not in page
            ],
            "config": {key: value for key, value in shown.items() if key not in others},
            "figures": [
                {name: getattr(figure, name) for name in names} for figure in page
            ],
        }
    )
