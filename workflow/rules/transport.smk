# Needs latents of source and target. Makes the transport map and the calibrated latents.


rule fit_map:
    """Fit the optimal-transport map from source to target."""
    input:
        source=results("latent/latents/source.parquet"),
        target=results("latent/latents/target.parquet"),
    output:
        map=results("latent/transport/map.safetensors"),
        description=results("latent/transport/map.json"),
        curve=results("latent/transport/learning_curve.csv"),
        diagnostics=results("latent/transport/diagnostics.json"),
    log:
        results("latent/logs/fit_map.log"),
    benchmark:
        results("latent/benchmarks/fit_map.tsv")
    threads: 1  # one thread makes the map a function of the seed alone; the fit gains little from more
    resources:
        mem_mb=map_memory(LATENT.transport.conditions),
        runtime=minutes(720),
        gpu=gpus(),
        device=SETTINGS.device,  # a resource: where it runs makes nothing stale
    params:
        spec=LATENT.map_spec().model_dump_json(exclude_unset=True),
        code=code("fit_map"),
        checkpoint=results("latent/transport/checkpoint.safetensors"),
    shell:
        "python -m otcal.steps.fit_map --spec {params.spec:q} --source {input.source}"
        " --target {input.target} --output {output.map} --learning-curve {output.curve}"
        " --diagnostics {output.diagnostics} --checkpoint {params.checkpoint}"
        " --threads {threads} --device {resources.device} > {log} 2>&1"


rule calibrate:
    """Move the source's latents, and run the rest of the tagger's head on them again."""
    input:
        **LATENT_HEAD,
        source=results("latent/latents/source.parquet"),
        map=rules.fit_map.output.map,
        description=rules.fit_map.output.description,
    output:
        results("latent/latents/calibrated.parquet"),
    log:
        results("latent/logs/calibrate.log"),
    benchmark:
        results("latent/benchmarks/calibrate.tsv")
    threads: 8
    resources:
        mem_mb=memory(3000),
        runtime=minutes(120),
        gpu=gpus(),
        device=SETTINGS.device,  # a resource: where it runs makes nothing stale
    params:
        spec=json.dumps({"classes": LATENT.transport.classes}),
        code=code("calibrate"),
    shell:
        "python -m otcal.steps.calibrate --spec {params.spec:q} --source {input.source}"
        " --map {input.map} --tagger {input.tagger} --output {output}"
        " --threads {threads} --device {resources.device} > {log} 2>&1"
