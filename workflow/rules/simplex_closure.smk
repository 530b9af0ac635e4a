# Needs maps per flavour, regions and flows. Makes the closure of the discriminants in all regions.


rule measure_closure:
    """Compare calibrated with pseudo-data in all regions, beside the alternatives to the calibration."""
    input:
        simulation=results("simplex/scores/simulation.parquet"),
        regions=[results(f"simplex/regions/{region}.parquet") for region in REGIONS],
        pretrained=results("simplex/mixture/pretrained.safetensors"),
        flows=results("simplex/mixture/flows.safetensors"),
        extraction=results("simplex/mixture/extraction.json"),
        variations=results("simplex/uncertainty/variations.json"),
        targets=[results(f"simplex/targets/{flavour}.parquet") for flavour in FLAVOURS],
        maps=flavour_maps("nominal"),
        truth=flavour_maps("truth"),
        logit=flavour_maps("logit"),
        varied=[
            results(f"simplex/maps/{flavour}/variations.json") for flavour in FLAVOURS
        ],
    output:
        discriminants=results("simplex/closure/discriminants.csv"),
        metrics=results("simplex/closure/metrics.csv"),
        diagnostics=results("simplex/closure/diagnostics.json"),
    log:
        results("simplex/logs/measure_closure.log"),
    benchmark:
        results("simplex/benchmarks/measure_closure.tsv")
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=minutes(60),
    params:
        spec=SIMPLEX.closure.closure_spec(
            SIMPLEX.splits, SIMPLEX.seed
        ).model_dump_json(),
        code=code("measure_closure"),
    shell:
        "python -m otcal.steps.measure_closure --spec {params.spec:q}"
        " --simulation {input.simulation} --regions {input.regions} --maps {input.maps}"
        " --variation-maps {input.varied} --targets {input.targets} --truth-maps {input.truth}"
        " --logit-maps {input.logit} --pretrained {input.pretrained} --flows {input.flows}"
        " --extraction {input.extraction} --variations {input.variations}"
        " --discriminants {output.discriminants} --metrics {output.metrics}"
        " --diagnostics {output.diagnostics} --threads {threads} > {log} 2>&1"
