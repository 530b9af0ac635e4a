# Needs jets and tagger of the simplex study. Makes the scores of simulation and pseudo-data.


rule export_scores:
    """Run the tagger over a dataset ({sample}: simulation or data) and keep its probabilities."""
    input:
        jets=lambda wildcards: shards("simplex", wildcards.sample),
        tagger=results("simplex/tagger/tagger.safetensors"),
        description=results("simplex/tagger/tagger.json"),
    output:
        results("simplex/scores/{sample}.parquet"),
    log:
        results("simplex/logs/export_scores/{sample}.log"),
    benchmark:
        results("simplex/benchmarks/export_scores/{sample}.tsv")
    threads: 8
    resources:
        mem_mb=memory(4000),
        runtime=minutes(240),
        gpu=gpus(),
        device=SETTINGS.device,  # a resource: where it runs makes nothing stale
    params:
        spec=score_spec,
        jets=numbered("simplex", "{sample}"),
        code=code("export_scores"),
    shell:
        "python -m otcal.steps.export_scores --spec {params.spec:q} --jets {params.jets:q}"
        " --tagger {input.tagger} --output {output} --threads {threads}"
        " --device {resources.device} > {log} 2>&1"
