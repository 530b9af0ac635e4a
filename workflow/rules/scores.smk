# Needs jets and tagger of the simplex study, or files of scores. Makes the scores of simulation and pseudo-data.


if SIMPLEX.start == "scores":

    rule read_scores:
        """Read the scores of a dataset ({sample}: simulation or data) from files that exist."""
        input:
            lambda wildcards: sources("simplex", wildcards.sample),
        output:
            results("simplex/scores/{sample}.parquet"),
        log:
            results("simplex/logs/read_scores/{sample}.log"),
        benchmark:
            results("simplex/benchmarks/read_scores/{sample}.tsv")
        threads: 1
        resources:
            # Scores pass through in pieces, their ids stay.
            mem_mb=memory(
                2000,
                max(jet_count(side, study=SIMPLEX) for side in ("simulation", "data")),
                50,
            ),
            runtime=minutes(240),
        params:
            spec=lambda wildcards: SIMPLEX.read_scores_spec(
                wildcards.sample
            ).model_dump_json(),
            code=code("read_scores"),
        shell:
            "python -m otcal.steps.read_scores --spec {params.spec:q} --output {output} > {log} 2>&1"

else:

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
