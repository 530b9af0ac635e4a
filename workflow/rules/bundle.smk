# Needs finished maps and summaries. Makes the calibrations that `otcal apply` reads; not part of `all`, as it needs the
# extra packages of otcal[bundle].


rule export_simplex:
    """Export the maps of all flavours and variations as ONNX models, with scale factors and model card."""
    input:
        scores=results("simplex/scores/simulation.parquet"),
        maps=flavour_maps("nominal"),
        varied=[
            results(f"simplex/maps/{flavour}/variations.json") for flavour in FLAVOURS
        ],
        variations=results("simplex/uncertainty/variations.json"),
        summary=results("simplex/summary.json"),
    output:
        directory(results("simplex/bundle")),
    log:
        results("simplex/logs/export_bundle.log"),
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime=minutes(30),
    params:
        spec=SIMPLEX.bundle.model_dump_json(),
        code=code("export_bundle"),
        study=folder,
    shell:
        "python -m otcal.steps.export_bundle --spec {params.spec:q} --kind simplex"
        " --study {params.study} --output {output} --threads {threads} > {log} 2>&1"


rule export_latent:
    """Export the map of the latents and the rest of the tagger's head as ONNX models, with scale factors and model card."""
    input:
        **LATENT_HEAD,
        map=results("latent/transport/map.safetensors"),
        description=results("latent/transport/map.json"),
        latents=[
            results(f"latent/latents/{name}.parquet")
            for name in ("source", "calibrated", "target")
        ],
        closure=results("latent/closure/reweighting.json"),
        summary=results("latent/summary.json"),
    output:
        directory(results("latent/bundle")),
    log:
        results("latent/logs/export_bundle.log"),
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime=minutes(30),
    params:
        spec=LATENT.bundle.model_dump_json(),
        code=code("export_bundle"),
        study=folder,
    shell:
        "python -m otcal.steps.export_bundle --spec {params.spec:q} --kind latent"
        " --study {params.study} --output {output} --threads {threads} > {log} 2>&1"


rule bundle:
    """Calibrations of both studies, to be applied elsewhere (docs/bundle.md)."""
    input:
        rules.export_simplex.output,
        rules.export_latent.output,
    localrule: True
