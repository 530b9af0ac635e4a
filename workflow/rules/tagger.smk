# Needs jets, or files of latents. Makes the tagger, its performance on held-out jets, and the latents of source and
# target.


rule fit_preprocessing:
    """Fit the quantile transforms of the tagger's inputs on its training jets."""
    input:
        training_jets,
    output:
        results("{study}/tagger/preprocessing.json"),
    log:
        results("{study}/logs/fit_preprocessing.log"),
    benchmark:
        results("{study}/benchmarks/fit_preprocessing.tsv")
    threads: 1
    resources:
        mem_mb=preprocessing_memory,
        runtime=minutes(60),
    params:
        spec=preprocessing_spec,
        jets=numbered("{study}", "training"),
        code=code("fit_preprocessing"),
    shell:
        "python -m otcal.steps.fit_preprocessing --spec {params.spec:q} --jets {params.jets:q}"
        " --output {output} > {log} 2>&1"


rule train_tagger:
    """Train the tagger on jets of all classes; continues from its checkpoint when interrupted."""
    input:
        jets=training_jets,
        preprocessing=rules.fit_preprocessing.output,
    output:
        weights=results("{study}/tagger/tagger.safetensors"),
        description=results("{study}/tagger/tagger.json"),
        history=results("{study}/tagger/history.csv"),
    log:
        results("{study}/logs/train_tagger.log"),
    benchmark:
        results("{study}/benchmarks/train_tagger.tsv")
    threads: 8
    resources:
        mem_mb=training_memory,
        runtime=minutes(1440),
        gpu=training_gpus,
        device=SETTINGS.device,  # a resource: where it runs makes nothing stale
    params:
        spec=train_spec,
        jets=numbered("{study}", "training"),
        code=code("train_tagger"),
        checkpoint=results("{study}/tagger/checkpoint.safetensors"),
    shell:
        "python -m otcal.steps.train_tagger --spec {params.spec:q} --jets {params.jets:q}"
        " --preprocessing {input.preprocessing} --output {output.weights}"
        " --history {output.history} --checkpoint {params.checkpoint}"
        " --threads {threads} --device {resources.device} --processes {resources.gpu}"
        " > {log} 2>&1"


rule evaluate_tagger:
    """Measure ROC curves and the confusion matrix on jets that the training has not seen."""
    input:
        jets=training_jets,
        tagger=rules.train_tagger.output.weights,
        description=rules.train_tagger.output.description,
    output:
        metrics=results("{study}/tagger/metrics.json"),
        roc=results("{study}/tagger/roc.csv"),
        confusion=results("{study}/tagger/confusion.csv"),
    log:
        results("{study}/logs/evaluate_tagger.log"),
    benchmark:
        results("{study}/benchmarks/evaluate_tagger.tsv")
    threads: 8
    resources:
        mem_mb=memory(4000),
        runtime=minutes(120),
        gpu=gpus(),
        device=SETTINGS.device,  # a resource: where it runs makes nothing stale
    params:
        spec=evaluate_spec,
        jets=numbered("{study}", "training"),
        code=code("evaluate_tagger"),
    shell:
        "python -m otcal.steps.evaluate_tagger --spec {params.spec:q} --jets {params.jets:q}"
        " --tagger {input.tagger} --metrics {output.metrics} --roc {output.roc}"
        " --confusion {output.confusion} --threads {threads} --device {resources.device}"
        " > {log} 2>&1"


if LATENT.start == "latents":

    rule read_head:
        """Check the layers after the latent, an ONNX model, and keep them with the study."""
        input:
            LATENT.head.file,
        output:
            model=results("latent/head/head.onnx"),
            description=results("latent/head/head.json"),
        log:
            results("latent/logs/read_head.log"),
        localrule: True
        params:
            spec=LATENT.head.model_dump_json(),
            code=code("read_head"),
        shell:
            "python -m otcal.steps.read_head --spec {params.spec:q} --output {output.model}"
            " > {log} 2>&1"

    rule read_latents:
        """Read the latents of a dataset ({dataset}: source or target) from files, and run the head on them."""
        input:
            files=lambda wildcards: sources("latent", wildcards.dataset),
            head=rules.read_head.output.model,
            description=rules.read_head.output.description,
        output:
            results("latent/latents/{dataset}.parquet"),
        log:
            results("latent/logs/read_latents/{dataset}.log"),
        benchmark:
            results("latent/benchmarks/read_latents/{dataset}.tsv")
        wildcard_constraints:
            dataset="source|target",
        threads: 2
        resources:
            # Latents pass through in pieces, their ids stay.
            mem_mb=memory(
                3000, max(jet_count(side) for side in ("source", "target")), 50
            ),
            runtime=minutes(240),
        params:
            spec=lambda wildcards: LATENT.read_latents_spec(
                wildcards.dataset
            ).model_dump_json(),
            code=code("read_latents"),
        shell:
            "python -m otcal.steps.read_latents --spec {params.spec:q} --head {input.head}"
            " --output {output} --threads {threads} > {log} 2>&1"

else:

    rule export_latents:
        """Run the tagger over a dataset ({dataset}: source or target) and keep three of its layers."""
        input:
            jets=lambda wildcards: shards("latent", wildcards.dataset),
            tagger=results("latent/tagger/tagger.safetensors"),
            description=results("latent/tagger/tagger.json"),
        output:
            results("latent/latents/{dataset}.parquet"),
        log:
            results("latent/logs/export_latents/{dataset}.log"),
        benchmark:
            results("latent/benchmarks/export_latents/{dataset}.tsv")
        wildcard_constraints:
            dataset="source|target",
        threads: 8
        resources:
            mem_mb=memory(4000),
            runtime=minutes(240),
            gpu=gpus(),
            device=SETTINGS.device,  # a resource: where it runs makes nothing stale
        params:
            spec=LATENT.tagger.export_spec().model_dump_json(),
            jets=numbered("latent", "{dataset}"),
            code=code("export_latents"),
        shell:
            "python -m otcal.steps.export_latents --spec {params.spec:q} --jets {params.jets:q}"
            " --tagger {input.tagger} --output {output} --threads {threads}"
            " --device {resources.device} > {log} 2>&1"
