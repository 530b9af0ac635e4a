# Needs tables, figures and captions. Makes the numbers of the studies and the page of each.


rule summarise:
    """Gather the numbers of the latent study."""
    input:
        **summarised(
            "latent",
            auc="closure/auc.csv",
            reweighting="closure/reweighting.json",
            distances="closure/distances.csv",
            tagger="tagger/metrics.json",
            validation="validation/summary.csv",
            map="transport/map.json",
        ),
    output:
        results("latent/summary.json"),
    log:
        results("latent/logs/summarise.log"),
    localrule: True
    params:
        spec=json.dumps({"study": "latent"}),
        code=code("summarise"),
        files=named,
    shell:
        "python -m otcal.steps.summarise --spec {params.spec:q} {params.files}"
        " --output {output} > {log} 2>&1"


use rule summarise as summarise_simplex with:
    input:
        **summarised(
            "simplex",
            flavour_tagger="tagger/metrics.json",
            extraction="mixture/extraction.json",
            feedback="uncertainty/feedback.json",
            closure="closure/metrics.csv",
        ),
    output:
        results("simplex/summary.json"),
    log:
        results("simplex/logs/summarise.log"),
    params:
        spec=json.dumps({"study": "simplex"}),
        code=code("summarise"),
        files=named,


rule merge_summaries:
    """Put the numbers of all studies into one file."""
    input:
        [results(f"{study}/summary.json") for study in STUDIES],
    output:
        results("summary.json"),
    log:
        results("logs/merge_summaries.log"),
    localrule: True
    params:
        spec=json.dumps({"studies": list(STUDIES)}),
        code=code("merge_summaries"),
    shell:
        "python -m otcal.steps.merge_summaries --spec {params.spec:q} --parts {input}"
        " --output {output} > {log} 2>&1"


rule build_report:
    """Build the page of a study ({study}): figures, closure tables, configuration, provenance."""
    input:
        summary=results("{study}/summary.json"),
        manifest="workflow/report/{study}.yaml",
        png=lambda wildcards: page_files(wildcards.study, "png"),
        beside=lambda wildcards: page_files(wildcards.study, "pdf", "csv"),
        captions=page_captions,
        provenance=page_provenance,
    output:
        page=results("{study}/report/index.html"),
        figures=directory(results("{study}/report/figures")),
    log:
        results("{study}/logs/build_report.log"),
    localrule: True
    params:
        spec=report_spec,
        code=code("build_report"),
        captions=lambda wildcards, input: os.path.dirname(input.captions[0]),
        benchmarks=results("{study}/benchmarks"),
    shell:
        "python -m otcal.steps.build_report --spec {params.spec:q} --manifest {input.manifest}"
        " --summary {input.summary} --figures {input.png} --captions {params.captions}"
        " --provenance {input.provenance} --benchmarks {params.benchmarks}"
        " --output {output.page} > {log} 2>&1"


rule latent:
    """The latent study: figures, numbers and page."""
    input:
        results("latent/report/index.html"),
        page_files("latent", "pdf", "png", "csv"),  # asked for by themselves: a deleted one is made again
    localrule: True


rule simplex:
    """The simplex study: figures, numbers and page."""
    input:
        results("simplex/report/index.html"),
        page_files("simplex", "pdf", "png", "csv"),  # asked for by themselves: a deleted one is made again
    localrule: True


rule conditions:
    """Maps of both studies, compared in bins of columns of the jets."""
    input:
        rules.measure_bins.output,
        expand(rules.measure_flavour_bins.output, flavour=FLAVOURS),
    localrule: True


rule validation:
    """Simulated jets against JetClass."""
    input:
        rules.validate_simulation.output,
    localrule: True
