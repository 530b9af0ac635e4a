# Needs tables, figures and captions. Makes the numbers of the studies and the page of each.


rule summarise:
    """Gather the numbers of the latent study."""
    input:
        auc=rules.collect_discriminators.output.auc,
        reweighting=rules.reweight.output.reweighting,
        distances=rules.reweight.output.distances,
        tagger=rules.evaluate_tagger.output.metrics,
        validation=rules.validate_simulation.output.summary,
        map=rules.fit_map.output.description,
    output:
        results("latent/summary.json"),
    log:
        results("latent/logs/summarise.log"),
    localrule: True
    params:
        spec=json.dumps({"study": "latent"}),
        code=code("summarise"),
    shell:
        "python -m otcal.steps.summarise --spec {params.spec:q} --auc {input.auc}"
        " --reweighting {input.reweighting} --distances {input.distances}"
        " --tagger {input.tagger} --validation {input.validation} --map {input.map}"
        " --output {output} > {log} 2>&1"


rule merge_summaries:
    """Put the numbers of all studies into one file."""
    input:
        rules.summarise.output,
    output:
        results("summary.json"),
    log:
        results("logs/merge_summaries.log"),
    localrule: True
    params:
        spec=json.dumps({"studies": ["latent"]}),
        code=code("merge_summaries"),
    shell:
        "python -m otcal.steps.merge_summaries --spec {params.spec:q} --parts {input}"
        " --output {output} > {log} 2>&1"


rule build_report:
    """Build the page of the latent study: figures, closure tables, configuration, provenance."""
    input:
        summary=rules.summarise.output,
        manifest="workflow/report/latent.yaml",
        png=[f"{stem}.png" for stem in PAGE_IMAGES],
        beside=[f"{stem}.{kind}" for stem in PAGE_IMAGES for kind in ("pdf", "csv")],
        captions=[
            f"workflow/report/captions/{figure['caption']}" for figure in PAGE_FIGURES
        ],
        provenance=[
            rules.validate_simulation.output.summary,
            rules.fit_preprocessing.output[0],
            rules.train_tagger.output.description,
            rules.evaluate_tagger.output.metrics,
            results("latent/latents/source.parquet"),
            results("latent/latents/target.parquet"),
            rules.fit_map.output.description,
            results("latent/latents/calibrated.parquet"),
            results("latent/closure/discriminators/z128-nominal-mlp.json"),
            rules.collect_discriminators.output.auc,
            rules.reweight.output.reweighting,
        ],
    output:
        page=results("latent/report/index.html"),
        figures=directory(results("latent/report/figures")),
    log:
        results("latent/logs/build_report.log"),
    localrule: True
    params:
        spec=json.dumps(
            {"config": SETTINGS.model_dump(mode="json"), "figures": PAGE_FIGURES}
        ),
        code=code("build_report"),
        captions=lambda wildcards, input: os.path.dirname(input.captions[0]),
        benchmarks=results("latent/benchmarks"),
    shell:
        "python -m otcal.steps.build_report --spec {params.spec:q} --manifest {input.manifest}"
        " --summary {input.summary} --figures {input.png} --captions {params.captions}"
        " --provenance {input.provenance} --benchmarks {params.benchmarks}"
        " --output {output.page} > {log} 2>&1"


rule latent:
    """The latent study: figures, numbers and page."""
    input:
        rules.build_report.output,
    localrule: True


rule validation:
    """Simulated jets against JetClass."""
    input:
        rules.validate_simulation.output,
    localrule: True
