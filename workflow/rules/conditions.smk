# Needs latents of source and target, or scores. Makes maps of all jets, with conditions, and of bins, and compares them.

from otcal.config.bins import bin_columns, named_bins

COMPARED = ["inclusive", "conditional"]
BINS = list(named_bins(LATENT.closure.bins))
FLAVOUR_BINS = list(named_bins(SIMPLEX.maps.bins))


use rule fit_map as fit_compared_map with:
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
    resources:
        mem_mb=map_memory(bin_columns(LATENT.closure.bins)),
        runtime=minutes(720),
        gpu=gpus(),
        device=SETTINGS.device,  # a resource: where it runs makes nothing stale
    params:
        spec=lambda wildcards: LATENT.compared_map_spec(
            wildcards.compared
        ).model_dump_json(exclude_unset=True),
        code=code("fit_map"),
        checkpoint=results("latent/conditions/{compared}-checkpoint.safetensors"),


rule measure_bins:
    """Compare the maps in bins of `closure.bins`, on jets that none has seen."""
    input:
        source=results("latent/latents/source.parquet"),
        target=results("latent/latents/target.parquet"),
        inclusive=results("latent/conditions/inclusive.safetensors"),
        conditional=results("latent/conditions/conditional.safetensors"),
        binned=[results(f"latent/conditions/{name}.safetensors") for name in BINS],
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


use rule fit_truth_map as fit_compared_flavour_map with:
    output:
        map=results("simplex/conditions/{flavour}/{compared}.safetensors"),
        description=results("simplex/conditions/{flavour}/{compared}.json"),
        curve=results("simplex/conditions/{flavour}/{compared}-learning_curve.csv"),
        diagnostics=results("simplex/conditions/{flavour}/{compared}-diagnostics.json"),
    log:
        results("simplex/logs/fit_compared_flavour_map/{flavour}-{compared}.log"),
    benchmark:
        results("simplex/benchmarks/fit_compared_flavour_map/{flavour}-{compared}.tsv")
    wildcard_constraints:
        compared="|".join([*COMPARED, *FLAVOUR_BINS]),
    params:
        spec=lambda wildcards: SIMPLEX.maps.compared_map_spec(
            wildcards.flavour, SIMPLEX.splits, SIMPLEX.seed, wildcards.compared
        ).model_dump_json(),
        code=code("fit_flavour_map"),
        checkpoint=results(
            "simplex/conditions/{flavour}/{compared}-checkpoint.safetensors"
        ),


rule measure_flavour_bins:
    """Compare the maps of a flavour ({flavour}) to labelled data in bins of `maps.bins`, on jets that none has seen."""
    input:
        simulation=results("simplex/scores/simulation.parquet"),
        data=UNFITTED_REGIONS,
        inclusive=results("simplex/conditions/{flavour}/inclusive.safetensors"),
        conditional=results("simplex/conditions/{flavour}/conditional.safetensors"),
        binned=[
            results(f"simplex/conditions/{{flavour}}/{name}.safetensors")
            for name in FLAVOUR_BINS
        ],
    output:
        table=results("simplex/conditions/{flavour}/closure.csv"),
        image=report(
            results("simplex/conditions/{flavour}/closure.png"),
            caption="../report/captions/simplex_bins.rst",
            category="Maps",
            labels={"figure": "Closure in bins, {flavour}", "in the paper": "-"},
        ),
        pdf=results("simplex/conditions/{flavour}/closure.pdf"),
    log:
        results("simplex/logs/measure_flavour_bins/{flavour}.log"),
    benchmark:
        results("simplex/benchmarks/measure_flavour_bins/{flavour}.tsv")
    threads: 1
    resources:
        mem_mb=memory(2000, jet_count("simulation", study=SIMPLEX), 150),
        runtime=minutes(30),
    params:
        spec=lambda wildcards: SIMPLEX.maps.bins_spec(
            wildcards.flavour, SIMPLEX.splits
        ).model_dump_json(),
        figure=stem,
        code=code("measure_flavour_bins"),
    shell:
        "python -m otcal.steps.measure_flavour_bins --spec {params.spec:q}"
        " --simulation {input.simulation} --data {input.data} --inclusive {input.inclusive}"
        " --conditional {input.conditional} --binned {input.binned} --output {output.table}"
        " --figure {params.figure} --threads {threads} > {log} 2>&1"
