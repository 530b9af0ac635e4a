# Needs latents of source and target. Makes maps of all jets, with a condition, and of bins, and compares them.

COMPARED = ["inclusive", "conditional"]
BINS = [str(number) for number in range(len(LATENT.closure.bins.edges) - 1)]


rule fit_compared_map:
    """Fit a map to be compared in bins: {compared}."""
    input:
        source=results("latent/latents/source.parquet"),
        target=results("latent/latents/target.parquet"),
    output:
        map=results("latent/conditions/{compared}.safetensors"),
        description=results("latent/conditions/{compared}.json"),
        curve=results("latent/conditions/{compared}-learning_curve.csv"),
        diagnostics=results("latent/conditions/{compared}-diagnostics.json"),
    log:
        results("latent/logs/fit_compared_map/{compared}.log"),
    benchmark:
        results("latent/benchmarks/fit_compared_map/{compared}.tsv")
    wildcard_constraints:
        compared="|".join([*COMPARED, *BINS]),
    threads: 1
    resources:
        # The jets are in scratch files. In memory: their order, and the conditions.
        mem_mb=memory(
            4000,
            jet_count("source", "target", share=1 - LATENT.splits.test),
            80,
        ),
        runtime=minutes(720),
        gpu=gpus(),
        device=SETTINGS.device,  # a resource: where it runs makes nothing stale
    params:
        spec=lambda wildcards: LATENT.compared_map_spec(
            wildcards.compared
        ).model_dump_json(exclude_unset=True),
        code=code("fit_map"),
        checkpoint=results("latent/conditions/{compared}-checkpoint.safetensors"),
    shell:
        "python -m otcal.steps.fit_map --spec {params.spec:q} --source {input.source}"
        " --target {input.target} --output {output.map} --learning-curve {output.curve}"
        " --diagnostics {output.diagnostics} --checkpoint {params.checkpoint}"
        " --threads {threads} --device {resources.device} > {log} 2>&1"


rule measure_bins:
    """Compare the maps in bins of `closure.bins`, on jets that none has seen."""
    input:
        source=results("latent/latents/source.parquet"),
        target=results("latent/latents/target.parquet"),
        inclusive=results("latent/conditions/inclusive.safetensors"),
        conditional=results("latent/conditions/conditional.safetensors"),
        binned=[results(f"latent/conditions/{number}.safetensors") for number in BINS],
    output:
        table=results("latent/conditions/closure.csv"),
        image=report(
            results("latent/conditions/closure.png"),
            caption="../report/captions/bins.rst",
            category="Transport map",
            labels={"figure": "Closure in bins", "in the paper": "-"},
        ),
        pdf=results("latent/conditions/closure.pdf"),
    log:
        results("latent/logs/measure_bins.log"),
    benchmark:
        results("latent/benchmarks/measure_bins.tsv")
    threads: 1
    resources:
        # Source and target in z128, and the source as each kind of map moves it.
        mem_mb=memory(
            3000, jet_count("source", "target", share=LATENT.splits.test), 2600
        ),
        runtime=minutes(60),
    params:
        spec=LATENT.bins_spec().model_dump_json(),
        figure=stem,
        code=code("measure_bins"),
    shell:
        "python -m otcal.steps.measure_bins --spec {params.spec:q} --source {input.source}"
        " --target {input.target} --inclusive {input.inclusive} --conditional {input.conditional}"
        " --binned {input.binned} --output {output.table} --figure {params.figure}"
        " --threads {threads} > {log} 2>&1"
