# Needs scores of simulation and pseudo-data. Makes control regions, the mixture fit, its uncertainty, and targets.


rule build_regions:
    """Mix pseudo-data into control regions and validation regions."""
    input:
        results("simplex/scores/data.parquet"),
    output:
        [results(f"simplex/regions/{region}.parquet") for region in REGIONS],
    log:
        results("simplex/logs/build_regions.log"),
    resources:
        # Scores of all data jets, twice while they are joined, and their order.
        mem_mb=memory(2000, jet_count("data", study=SIMPLEX), 150),
        runtime=minutes(15),
    params:
        spec=SIMPLEX.mixture.regions_spec(SIMPLEX.seed).model_dump_json(),
        code=code("build_regions"),
        outputs=folder,
    shell:
        "python -m otcal.steps.build_regions --spec {params.spec:q} --scores {input}"
        " --output {params.outputs} > {log} 2>&1"


rule pretrain_flows:
    """Fit one spline flow per flavour to labelled simulation."""
    input:
        results("simplex/scores/simulation.parquet"),
    output:
        weights=results("simplex/mixture/pretrained.safetensors"),
        description=results("simplex/mixture/pretrained.json"),
    log:
        results("simplex/logs/pretrain_flows.log"),
    benchmark:
        results("simplex/benchmarks/pretrain_flows.tsv")
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime=minutes(240),
    params:
        spec=SIMPLEX.mixture.pretrain_spec(
            SIMPLEX.splits, SIMPLEX.seed
        ).model_dump_json(),
        code=code("pretrain_flows"),
        checkpoint=results("simplex/mixture/pretraining.checkpoint.safetensors"),
    shell:
        "python -m otcal.steps.pretrain_flows --spec {params.spec:q} --scores {input}"
        " --output {output.weights} --checkpoint {params.checkpoint}"
        " --threads {threads} > {log} 2>&1"


rule extract_components:
    """Fit compositions and densities to the control regions by EM, from start {start}."""
    input:
        regions=FITTED_REGIONS,
        flows=rules.pretrain_flows.output.weights,
        description=rules.pretrain_flows.output.description,
    output:
        flows=results("simplex/mixture/start-{start}/flows.safetensors"),
        description=results("simplex/mixture/start-{start}/flows.json"),
        history=results("simplex/mixture/start-{start}/history.csv"),
        responsibilities=results(
            "simplex/mixture/start-{start}/responsibilities.parquet"
        ),
        composition=results("simplex/mixture/start-{start}/composition.json"),
    log:
        results("simplex/logs/extract_components/{start}.log"),
    benchmark:
        results("simplex/benchmarks/extract_components/{start}.tsv")
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime=minutes(240),
    params:
        spec=SIMPLEX.mixture.extract_spec(SIMPLEX.seed).model_dump_json(),
        code=code("extract_components"),
        outputs=folder,
        checkpoint=results("simplex/mixture/start-{start}/unfinished.safetensors"),
    shell:
        "python -m otcal.steps.extract_components --spec {params.spec:q} --start {wildcards.start}"
        " --regions {input.regions} --pretrained {input.flows} --output {params.outputs}"
        " --checkpoint {params.checkpoint} --threads {threads} > {log} 2>&1"


rule select_extraction:
    """Take the best of all starts, and report how far they are apart."""
    input:
        [
            results(f"simplex/mixture/start-{start}/{name}")
            for name in ("composition.json", "flows.safetensors", "flows.json")
            for start in range(SIMPLEX.mixture.starts)
        ],
    output:
        extraction=results("simplex/mixture/extraction.json"),
        flows=results("simplex/mixture/flows.safetensors"),
        description=results("simplex/mixture/flows.json"),
    log:
        results("simplex/logs/select_extraction.log"),
    localrule: True
    params:
        spec=json.dumps({}),
        code=code("select_extraction"),
        starts=STARTS,
    shell:
        "python -m otcal.steps.select_extraction --spec {params.spec:q} --starts {params.starts}"
        " --extraction {output.extraction} --flows {output.flows} > {log} 2>&1"


rule propagate_uncertainty:
    """Propagate the uncertainty of the compositions through the feedback of the fit."""
    input:
        extraction=rules.select_extraction.output.extraction,
        flows=rules.select_extraction.output.flows,
        description=rules.select_extraction.output.description,
        regions=FITTED_REGIONS,
    output:
        feedback=results("simplex/uncertainty/feedback.json"),
        variations=results("simplex/uncertainty/variations.json"),
    log:
        results("simplex/logs/propagate_uncertainty.log"),
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30),
    params:
        spec=SIMPLEX.uncertainty.propagate_spec().model_dump_json(),
        code=code("propagate_uncertainty"),
    shell:
        "python -m otcal.steps.propagate_uncertainty --spec {params.spec:q}"
        " --extraction {input.extraction} --flows {input.flows} --regions {input.regions}"
        " --feedback {output.feedback} --variations {output.variations}"
        " --threads {threads} > {log} 2>&1"


rule sample_targets:
    """Draw points from the extracted density of a flavour ({flavour}) and from its variations."""
    input:
        flows=rules.select_extraction.output.flows,
        description=rules.select_extraction.output.description,
        variations=rules.propagate_uncertainty.output.variations,
    output:
        results("simplex/targets/{flavour}.parquet"),
    log:
        results("simplex/logs/sample_targets/{flavour}.log"),
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30),
    params:
        spec=SIMPLEX.uncertainty.target_spec(SIMPLEX.seed).model_dump_json(),
        code=code("sample_targets"),
    shell:
        "python -m otcal.steps.sample_targets --spec {params.spec:q} --flavour {wildcards.flavour}"
        " --flows {input.flows} --variations {input.variations} --output {output}"
        " --threads {threads} > {log} 2>&1"


rule tabulate_mixture:
    """Count scores, components and iterations of the mixture fit."""
    input:
        regions=FITTED_REGIONS,
        pretrained=rules.pretrain_flows.output.weights,
        flows=rules.select_extraction.output.flows,
        extraction=rules.select_extraction.output.extraction,
        variations=rules.propagate_uncertainty.output.variations,
        histories=[
            results(f"simplex/mixture/start-{start}/history.csv")
            for start in range(SIMPLEX.mixture.starts)
        ],
    output:
        scores=results("simplex/tables/mixture.parquet"),
        components=results("simplex/tables/components.parquet"),
        convergence=results("simplex/tables/convergence.parquet"),
    log:
        results("simplex/logs/tabulate_mixture.log"),
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30),
    params:
        spec=SIMPLEX.tables.mixture.model_dump_json(),
        code=code("tabulate_mixture"),
    shell:
        "python -m otcal.steps.tabulate_mixture --spec {params.spec:q} --regions {input.regions}"
        " --pretrained {input.pretrained} --flows {input.flows} --extraction {input.extraction}"
        " --variations {input.variations} --histories {input.histories}"
        " --scores-table {output.scores} --components-table {output.components}"
        " --convergence-table {output.convergence} --threads {threads} > {log} 2>&1"
