# Needs scores, regions, and targets per flavour. Makes one map per flavour and variation, and where they move jets.


rule fit_flavour_map:
    """Fit the map of a flavour ({flavour}) to its extracted density, in the ILR plane or ({variant}) in logits."""
    input:
        source=results("simplex/scores/simulation.parquet"),
        target=results("simplex/targets/{flavour}.parquet"),
        exclude=[],
    output:
        map=results("simplex/maps/{flavour}/{variant}.safetensors"),
        description=results("simplex/maps/{flavour}/{variant}.json"),
        curve=results("simplex/maps/{flavour}/{variant}.csv"),
        diagnostics=results("simplex/maps/{flavour}/{variant}-diagnostics.json"),
    log:
        results("simplex/logs/fit_flavour_map/{flavour}-{variant}.log"),
    benchmark:
        results("simplex/benchmarks/fit_flavour_map/{flavour}-{variant}.tsv")
    wildcard_constraints:
        variant="nominal|logit",
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime=minutes(120),
    params:
        spec=flavour_map_spec,
        code=code("fit_flavour_map"),
        checkpoint=results("simplex/maps/{flavour}/{variant}.checkpoint.safetensors"),
    shell:
        "python -m otcal.steps.fit_flavour_map --spec {params.spec:q} --source {input.source}"
        " --target {input.target} --exclude {input.exclude} --output {output.map}"
        " --learning-curve {output.curve} --diagnostics {output.diagnostics} --checkpoint {params.checkpoint}"
        " --threads {threads} > {log} 2>&1"


use rule fit_flavour_map as fit_truth_map with:
    input:
        source=results("simplex/scores/simulation.parquet"),
        target=results("simplex/scores/data.parquet"),
        exclude=UNFITTED_REGIONS,
    output:
        map=results("simplex/maps/{flavour}/{variant}.safetensors"),
        description=results("simplex/maps/{flavour}/{variant}.json"),
        curve=results("simplex/maps/{flavour}/{variant}.csv"),
        diagnostics=results("simplex/maps/{flavour}/{variant}-diagnostics.json"),
    wildcard_constraints:
        variant="truth",


rule vary_flavour_maps:
    """Fit the map of a flavour ({flavour}) again to each variation of its target, from the nominal one."""
    input:
        source=results("simplex/scores/simulation.parquet"),
        target=results("simplex/targets/{flavour}.parquet"),
        initial=results("simplex/maps/{flavour}/nominal.safetensors"),
        description=results("simplex/maps/{flavour}/nominal.json"),
    output:
        results("simplex/maps/{flavour}/variations.json"),
    log:
        results("simplex/logs/vary_flavour_maps/{flavour}.log"),
    benchmark:
        results("simplex/benchmarks/vary_flavour_maps/{flavour}.tsv")
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime=minutes(240),
    params:
        spec=variation_map_spec,
        code=code("vary_flavour_maps"),
        checkpoint=results("simplex/maps/{flavour}/variations.checkpoint.safetensors"),
    shell:
        "python -m otcal.steps.vary_flavour_maps --spec {params.spec:q} --source {input.source}"
        " --target {input.target} --initial {input.initial} --output {output}"
        " --checkpoint {params.checkpoint}"
        " --threads {threads} > {log} 2>&1"


rule tabulate_displacements:
    """Average how far the maps move jets, in the ILR plane and on the simplex."""
    input:
        simulation=results("simplex/scores/simulation.parquet"),
        maps=[
            results(f"simplex/maps/{flavour}/nominal.safetensors")
            for flavour in FLAVOURS
        ],
        descriptions=[
            results(f"simplex/maps/{flavour}/nominal.json") for flavour in FLAVOURS
        ],
    output:
        plane=results("simplex/tables/displacements_plane.parquet"),
        simplex=results("simplex/tables/displacements_simplex.parquet"),
        density=results("simplex/tables/displacements_density.parquet"),
    log:
        results("simplex/logs/tabulate_displacements.log"),
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime=minutes(30),
    params:
        spec=SIMPLEX.tables.displacements.model_dump_json(),
        code=code("tabulate_displacements"),
    shell:
        "python -m otcal.steps.tabulate_displacements --spec {params.spec:q}"
        " --simulation {input.simulation} --maps {input.maps} --plane-table {output.plane}"
        " --simplex-table {output.simplex} --density-table {output.density}"
        " --threads {threads} > {log} 2>&1"
