# Needs nothing, or files of jets. Makes jets (one file per dataset, process and shard), and their comparison with
# JetClass.


rule simulate:
    """Generate, detect and cluster one shard of jets ({study}, {dataset}, {process}, {shard})."""
    output:
        results("{study}/jets/{dataset}/{process}/{shard}.parquet"),
    log:
        results("{study}/logs/simulate/{dataset}-{process}-{shard}.log"),
    benchmark:
        results("{study}/benchmarks/simulate/{dataset}-{process}-{shard}.tsv")
    wildcard_constraints:
        study=simulated_by("array"),
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime=shard_minutes(30),
    params:
        spec=shard_spec,
        code=code("simulate"),
    shell:
        "python -m otcal.steps.simulate --spec {params.spec:q} --output {output} > {log} 2>&1"


rule simulate_delphes:
    """Generate one shard of jets with Delphes itself ({study}, {dataset}, {process}, {shard})."""
    output:
        results("{study}/jets/{dataset}/{process}/{shard}.parquet"),
    log:
        results("{study}/logs/simulate_delphes/{dataset}-{process}-{shard}.log"),
    benchmark:
        results("{study}/benchmarks/simulate_delphes/{dataset}-{process}-{shard}.tsv")
    wildcard_constraints:
        study=simulated_by("delphes"),
    conda:
        "../../envs/delphes.yaml"
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime=shard_minutes(3),
    params:
        spec=shard_spec,
        code=code("simulate_delphes"),
    shell:
        '"$OTCAL_PYTHON" -m otcal.steps.simulate_delphes --spec {params.spec:q} --output {output} > {log} 2>&1'


rule read_jets:
    """Read one shard of jets ({study}, {dataset}, {shard}) from a file that exists."""
    input:
        shard_file,
    output:
        results(f"{{study}}/jets/{{dataset}}/{FILES}/{{shard}}.parquet"),
    log:
        results("{study}/logs/read_jets/{dataset}-{shard}.log"),
    benchmark:
        results("{study}/benchmarks/read_jets/{dataset}-{shard}.tsv")
    wildcard_constraints:
        study=read_by("read_jets"),
    threads: 1
    resources:
        mem_mb=memory(2000),  # whatever the number of jets: they pass through in pieces
        runtime=shard_minutes(1000),
    params:
        spec=shard_spec,
        code=code("read_jets"),
    shell:
        "python -m otcal.steps.read_jets --spec {params.spec:q} --output {output} > {log} 2>&1"


rule read_delphes:
    """Make one shard of jets ({study}, {dataset}, {shard}) of events in a file that Delphes wrote."""
    input:
        shard_file,
    output:
        results(f"{{study}}/jets/{{dataset}}/{FILES}/{{shard}}.parquet"),
    log:
        results("{study}/logs/read_delphes/{dataset}-{shard}.log"),
    benchmark:
        results("{study}/benchmarks/read_delphes/{dataset}-{shard}.tsv")
    wildcard_constraints:
        study=read_by("read_delphes"),
    threads: 1
    resources:
        mem_mb=memory(3000),  # whatever the number of events: they pass through in pieces
        runtime=shard_minutes(10),
    params:
        spec=shard_spec,
        code=code("read_delphes"),
    shell:
        "python -m otcal.steps.read_delphes --spec {params.spec:q} --output {output} > {log} 2>&1"


rule validate_simulation:
    """Compare the jets of all classes, mixed evenly, with the public quantiles of JetClass."""
    input:
        lambda wildcards: shards("latent", "training"),
    output:
        summary=results("latent/validation/summary.csv"),
        quantiles=results("latent/validation/inputs.csv"),
        image=report(
            results("latent/validation/inputs.png"),
            caption="../report/captions/validation.rst",
            category="Samples",
            labels={"figure": "Simulated jets against JetClass", "in the paper": "-"},
        ),
        pdf=results("latent/validation/inputs.pdf"),
    log:
        results("latent/logs/validate_simulation.log"),
    benchmark:
        results("latent/benchmarks/validate_simulation.tsv")
    threads: 1
    resources:
        mem_mb=memory(4000),  # whatever the number of jets: at most `max_jets` are compared
        runtime=minutes(30),
    params:
        spec="{}",
        jets=numbered("latent", "training"),
        figure=stem,
        code=code("validate_simulation"),
    shell:
        "python -m otcal.steps.validate_simulation --spec {params.spec:q} --jets {params.jets:q}"
        " --summary {output.summary} --quantiles {output.quantiles} --figure {params.figure}"
        " > {log} 2>&1"
