# Needs latents of source and target, and calibrated ones. Makes discriminators and the reweighting baseline.


rule train_discriminator:
    """Train D_L on layer {layer} ({model}) and evaluate it; {training} says on which two samples."""
    input:
        source=results("latent/latents/source.parquet"),
        target=results("latent/latents/target.parquet"),
        calibrated=results("latent/latents/calibrated.parquet"),
    output:
        description=results(
            "latent/closure/discriminators/{layer}-{training}-{model}.json"
        ),
        scores=results(
            "latent/closure/discriminators/{layer}-{training}-{model}.parquet"
        ),
    log:
        results("latent/logs/train_discriminator/{layer}-{training}-{model}.log"),
    benchmark:
        results("latent/benchmarks/train_discriminator/{layer}-{training}-{model}.tsv")
    threads: 1
    resources:
        # Layers are in scratch files. In memory: ids, folds, orders and weights, and the scores of all fits with the
        # columns beside them while they are written.
        mem_mb=memory(
            3000,
            jet_count("source", "target", share=LATENT.splits.test),
            100 + 30 * LATENT.closure.fits,
        ),
        runtime=minutes(120),
        gpu=gpus(),
        device=SETTINGS.device,  # a resource: where it runs makes nothing stale
    params:
        spec=discriminator_spec,
        code=code("train_discriminator"),
        checkpoint=results(
            "latent/closure/discriminators/{layer}-{training}-{model}.checkpoint"
        ),
    shell:
        "python -m otcal.steps.train_discriminator --spec {params.spec:q}"
        " --layer {wildcards.layer} --training {wildcards.training}"
        " --source {input.source} --target {input.target} --calibrated {input.calibrated}"
        " --output {output.description} --scores {output.scores} --checkpoint {params.checkpoint}"
        " --threads {threads} --device {resources.device} > {log} 2>&1"


rule collect_discriminators:
    """Put all AUCs, ROC curves and score histograms into three tables."""
    input:
        results=[
            results(f"latent/closure/discriminators/{'-'.join(entry)}.json")
            for entry in DISCRIMINATORS
        ],
        scores=[
            results(f"latent/closure/discriminators/{'-'.join(entry)}.parquet")
            for entry in DISCRIMINATORS
        ],
    output:
        auc=results("latent/closure/auc.csv"),
        roc=results("latent/closure/roc.csv"),
        histograms=results("latent/closure/scores.csv"),
    log:
        results("latent/logs/collect_discriminators.log"),
    resources:
        # 15 bytes for each score of a discriminator, fit and jet.
        mem_mb=memory(
            2000,
            jet_count("source", "target", share=LATENT.splits.test),
            15 * LATENT.closure.fits * len(DISCRIMINATORS),
        ),
        runtime=minutes(15),
    params:
        spec=LATENT.closure.collect.model_dump_json(),
        code=code("collect_discriminators"),
    shell:
        "python -m otcal.steps.collect_discriminators --spec {params.spec:q}"
        " --results {input.results} --scores {input.scores} --auc {output.auc}"
        " --roc {output.roc} --histograms {output.histograms} > {log} 2>&1"


rule reweight:
    """Calibrate by weights instead of by moving jets, and measure what that costs and closes."""
    input:
        source=results("latent/latents/source.parquet"),
        target=results("latent/latents/target.parquet"),
        calibrated=results("latent/latents/calibrated.parquet"),
        scores=[
            results(f"latent/closure/discriminators/{layer}-nominal-mlp.parquet")
            for layer in ("z128", "zp128", "z10")
        ],
    output:
        weights=results("latent/closure/weights.parquet"),
        reweighting=results("latent/closure/reweighting.json"),
        distances=results("latent/closure/distances.csv"),
    log:
        results("latent/logs/reweight.log"),
    benchmark:
        results("latent/benchmarks/reweight.tsv")
    threads: 1
    resources:
        # Layers are in scratch files. In memory: ids and folds, the scores of three discriminators, the discriminants.
        mem_mb=memory(
            3000,
            jet_count("source", "target", share=LATENT.splits.test),
            100 + 45 * LATENT.closure.fits,
        ),
        runtime=minutes(30),
    params:
        spec=LATENT.closure.reweight(CLOSURE_JETS, LATENT.seed).model_dump_json(),
        code=code("reweight"),
    shell:
        "python -m otcal.steps.reweight --spec {params.spec:q} --source {input.source}"
        " --target {input.target} --calibrated {input.calibrated} --scores {input.scores}"
        " --weights {output.weights} --output {output.reweighting}"
        " --distances {output.distances} --threads {threads} > {log} 2>&1"
