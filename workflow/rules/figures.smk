# Needs jets, latents and closure tables. Makes small tables of counts, and every figure from small tables only.


rule tabulate_inputs:
    """Count the tagger's input features, before and after the quantile transform."""
    input:
        training=lambda wildcards: shards("latent", "training"),
        source=lambda wildcards: shards("latent", "source"),
        target=lambda wildcards: shards("latent", "target"),
        preprocessing=results("latent/tagger/preprocessing.json"),
    output:
        results("latent/tables/inputs.parquet"),
    log:
        results("latent/logs/tabulate_inputs.log"),
    benchmark:
        results("latent/benchmarks/tabulate_inputs.tsv")
    threads: 1
    resources:
        mem_mb=memory(3000),  # tables.inputs.max_jets are read, in pieces
        runtime=minutes(30),
    params:
        spec=LATENT.tables.inputs.model_dump_json(),
        training=numbered("latent", "training"),
        source=numbered("latent", "source"),
        target=numbered("latent", "target"),
        code=code("tabulate_inputs"),
    shell:
        "python -m otcal.steps.tabulate_inputs --spec {params.spec:q}"
        " --training {params.training:q} --source {params.source:q} --target {params.target:q}"
        " --preprocessing {input.preprocessing} --output {output} > {log} 2>&1"


rule tabulate_latents:
    """Count latents, outputs and physics discriminants of source, target and calibrated jets."""
    input:
        source=results("latent/latents/source.parquet"),
        target=results("latent/latents/target.parquet"),
        calibrated=results("latent/latents/calibrated.parquet"),
        weights=rules.reweight.output.weights,
    output:
        pca=results("latent/tables/pca.parquet"),
        pca_pairs=results("latent/tables/pca_pairs.parquet"),
        logits=results("latent/tables/logits.parquet"),
        logits_pairs=results("latent/tables/logits_pairs.parquet"),
        discriminants=results("latent/tables/discriminants.parquet"),
    log:
        results("latent/logs/tabulate_latents.log"),
    benchmark:
        results("latent/benchmarks/tabulate_latents.tsv")
    threads: 1
    resources:
        # Latents are read in pieces; of the weights all are held, with their jets and their order.
        mem_mb=memory(3000, jet_count("source", share=LATENT.splits.test), 50),
        runtime=minutes(30),
    params:
        spec=LATENT.tables.latents_spec(
            LATENT.splits.fractions(),
            LATENT.transport.classes,
            LATENT.closure.discriminants,
        ).model_dump_json(),
        code=code("tabulate_latents"),
    shell:
        "python -m otcal.steps.tabulate_latents --spec {params.spec:q}"
        " --source {input.source} --target {input.target} --calibrated {input.calibrated}"
        " --weights {input.weights} --pca {output.pca} --pca-pairs {output.pca_pairs}"
        " --logits {output.logits} --logits-pairs {output.logits_pairs}"
        " --discriminants {output.discriminants} > {log} 2>&1"


for study, figure in DRAWN:

    rule:
        name:
            f"draw_{figure.name}"
        input:
            **{
                option: results(f"{study}/{path}")
                for option, path in figure.inputs.items()
            },
        output:
            pdf=[results(f"{study}/figures/{panel}.pdf") for panel in figure.panels],
            png=report(
                [results(f"{study}/figures/{panel}.png") for panel in figure.panels],
                caption=f"../report/captions/{figure.caption}",
                category=figure.category,
                labels={"figure": figure.title, "in the paper": figure.number or "-"},
            ),
            csv=[results(f"{study}/figures/{panel}.csv") for panel in figure.panels],
        log:
            results(f"{study}/logs/figures/{figure.name}.log"),
        group:
            f"{study}_figures"
        threads: 1
        resources:
            mem_mb=memory(1000),
            runtime=minutes(10),
        params:
            spec=STUDIES[study].figures.model_dump_json(),
            code=code(figure.step),
            step=figure.step,
            figure=figure.name,
            tables=" ".join(
                f"--{option} {results(f'{study}/{path}')}"
                for option, path in figure.inputs.items()
            ),
            outputs=folder,
        shell:
            "python -m otcal.steps.{params.step} --spec {params.spec:q}"
            " --figure {params.figure} {params.tables} --outputs {params.outputs}"
            " > {log} 2>&1"
