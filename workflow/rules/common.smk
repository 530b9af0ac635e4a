# Needs: the merged configuration. Makes: the validated settings and the helpers of the other rule files.

import json
import math
import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from otcal import cluster
from otcal.config.samples import FILES, shards as dataset_shards
from otcal.config.study import load_settings
from otcal.runtime.claim import claim
from otcal.runtime.errors import InputError
from otcal.runtime.fingerprint import fingerprint
from otcal.runtime.interruption import relay

# A step takes the place of its shell: a signal to the whole job would end the shell, and Snakemake would go on while
# the step still finishes its checkpoint. The warning before a job's time is up is for fits alone.
shell.prefix("set -euo pipefail; trap '' USR1 USR2; exec ")
if workflow.remote_exec:
    relay()

# Threads that wait must not spin: jobs share the cores with each other.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# The interpreter of a step whose conda environment holds the program that it runs, and another Python.
os.environ.setdefault("OTCAL_PYTHON", sys.executable)

try:
    SETTINGS = load_settings(config)
    STUDIES = {"latent": SETTINGS.latent, "simplex": SETTINGS.simplex}
    SHARDS = {
        name: dataset_shards(name, study.simulation, study.samples)
        for name, study in STUDIES.items()
    }
    # Files that hold what somebody's tagger made of jets, by study and dataset.
    SOURCES = {
        study: {
            name: list(files.found(f"{study}.samples.{name}").values())
            for name, files in settings.samples.items()
            if files.holds != "jets"
        }
        for study, settings in STUDIES.items()
    }
except InputError as error:
    raise WorkflowError(str(error))


onstart:
    global CLAIM
    try:
        # Held by the running Snakemake until its end, whatever it makes; neither plans nor jobs come here.
        slurm = workflow.executor_plugin.name == "slurm"
        CLAIM = claim(cluster.LOCK, cluster.check_free if slurm else None)
    except InputError as error:
        raise WorkflowError(str(error))


RESULTS = SETTINGS.results
LATENT = SETTINGS.latent
SIMPLEX = SETTINGS.simplex
FLAVOURS = SIMPLEX.mixture.flavours
REGIONS = list(SIMPLEX.mixture.regions)
DISCRIMINATORS = [
    (layer, training, model)
    for layer in ("z128", "zp128", "z10")
    for training in ("nominal", "retrained", "floor")
    for model in ("mlp", "linear")
    if (training, model) != ("floor", "linear")
]


wildcard_constraints:
    study="latent|simplex",
    dataset="[A-Za-z0-9_]+",
    sample="simulation|data",
    start="[0-9]+",
    flavour="b|c|light",
    variant="nominal|truth|logit",
    process=f"(?!{FILES}/)[A-Za-z0-9_]+",
    shard="[0-9]+",
    layer="z128|zp128|z10",
    training="nominal|retrained|floor",
    model="mlp|linear",


def results(path):
    """Path of a file below the results directory."""
    return f"{RESULTS}/{path}"


FITTED_REGIONS = [
    results(f"simplex/regions/{region}.parquet") for region in SIMPLEX.mixture.fitted()
]
UNFITTED_REGIONS = [
    results(f"simplex/regions/{region}.parquet")
    for region in REGIONS
    if region not in SIMPLEX.mixture.fitted()
]
STARTS = [
    results(f"simplex/mixture/start-{start}") for start in range(SIMPLEX.mixture.starts)
]


def code(step):
    """Fingerprint of everything that a step's command can execute inside the package: taken for jobs that are planned."""
    return lambda wildcards: fingerprint(f"otcal.steps.{step}")


def starts_late(study):
    """Whether a study starts from what somebody's tagger made of jets: there are no jets, and no tagger of ours."""
    return STUDIES[study].start != "jets"


# What holds the layers after the latent, and what describes it.
LATENT_HEAD = {
    "tagger": results(
        "latent/head/head.onnx"
        if starts_late("latent")
        else "latent/tagger/tagger.safetensors"
    ),
    "architecture": results(
        "latent/head/head.json"
        if starts_late("latent")
        else "latent/tagger/tagger.json"
    ),
}


def sources(study, dataset):
    """Files of a dataset that holds what somebody's tagger made of jets."""
    return SOURCES[study][dataset]


def shards(study, dataset):
    """Files of a dataset's jets."""
    if dataset not in SHARDS[study]:
        raise WorkflowError(
            f"{study}: dataset '{dataset}' has no jets: its samples hold what a tagger made of them"
        )
    return [
        results(f"{study}/jets/{dataset}/{process}/{number}.parquet")
        for process, number in SHARDS[study][dataset]
    ]


def numbered(study, dataset):
    """The same files as an option of a command, one pattern for each process: a shell takes no thousands of names.

    Study and dataset may be wildcards. A function, as Snakemake would look for wildcards in the patterns.
    """

    def patterns(wildcards):
        names = [name.format(**wildcards) for name in (study, dataset)]
        last = dict(list(SHARDS[names[0]][names[1]]))  # each process's last shard
        return [
            results("{}/jets/{}/{}/{{0..{}}}.parquet".format(*names, *shard))
            for shard in last.items()
        ]

    return patterns


def simulated_by(engine):
    """Pattern of the studies whose jets an engine simulates; one that no name matches when there is none."""
    studies = [
        name for name, study in STUDIES.items() if study.simulation.engine == engine
    ]
    return "|".join(studies) or "(?!)"


def read_by(step):
    """Pattern of the studies, each in front of a dataset, whose files of jets a step reads; none matches when there is none."""
    places = [
        f"{name}(?=/jets/{dataset}/)"
        for name, study in STUDIES.items()
        for dataset, files in study.samples.items()
        if files.holds == "jets" and files.step == step
    ]
    return "|".join(places) or "(?!)"


def training_jets(wildcards):
    """Files of the jets that train and test a study's tagger."""
    return shards(wildcards.study, "training")


def shard_of(wildcards):
    """One shard of jets: made by a process, or read from a file."""
    process = getattr(wildcards, "process", FILES)
    dataset = SHARDS[wildcards.study][wildcards.dataset]
    return dataset[process, int(wildcards.shard)]


def shard_spec(wildcards):
    """Settings of one shard of jets."""
    return shard_of(wildcards).model_dump_json()


def shard_file(wildcards):
    """File that a shard is read from."""
    return shard_of(wildcards).file


def preprocessing_spec(wildcards):
    """Settings of the fit of the tagger's input transforms."""
    return STUDIES[wildcards.study].tagger.preprocessing_spec().model_dump_json()


def train_spec(wildcards):
    """Settings of the tagger's training."""
    study = STUDIES[wildcards.study]
    return study.tagger.train_spec(study.seed).model_dump_json()


def score_spec(wildcards):
    """Settings of the export of a dataset's scores."""
    return SIMPLEX.score_spec(wildcards.sample).model_dump_json()


def flavour_maps(variant):
    """Maps of all flavours, of one kind."""
    return [
        results(f"simplex/maps/{flavour}/{variant}.safetensors") for flavour in FLAVOURS
    ]


def flavour_map_spec(wildcards):
    """Settings of a flavour's map: its target and its space follow from its name."""
    target, space = {
        "nominal": ("extracted", "ilr"),
        "truth": ("truth", "ilr"),
        "logit": ("extracted", "logit"),
    }[wildcards.variant]
    spec = SIMPLEX.maps.map_spec(
        wildcards.flavour,
        SIMPLEX.splits,
        SIMPLEX.seed,
        target,
        space,
        SIMPLEX.mixture.conditions,
    )
    return spec.model_dump_json()


def variation_map_spec(wildcards):
    """Settings of the maps of a flavour's variations."""
    spec = SIMPLEX.maps.variation_spec(wildcards.flavour, SIMPLEX.splits, SIMPLEX.seed)
    return spec.model_dump_json()


def evaluate_spec(wildcards):
    """Settings of the tagger's evaluation."""
    return STUDIES[wildcards.study].tagger.evaluate_spec().model_dump_json()


def folder(wildcards, output):
    """Directory of a rule's outputs."""
    return os.path.dirname(output[0])


def named(wildcards, input):
    """A rule's named inputs as options of its command."""
    return " ".join(
        f"--{name.replace('_', '-')} {path}" for name, path in input.items()
    )


def stem(wildcards, output):
    """Path of a rule's image without its suffix."""
    return os.path.splitext(output.image)[0]


def jet_count(*datasets, study=LATENT, share=1.0):
    """Configured number of jets of datasets, or of a share of them."""
    return share * sum(sum(study.jets(name).values()) for name in datasets)


def training_count(name, *splits):
    """Number of jets in splits of the dataset that trains a study's tagger."""
    study = STUDIES[name]
    shares = study.tagger.splits.fractions()
    return jet_count("training", study=study, share=sum(shares[one] for one in splits))


def memory(megabytes, count=0, size=0):
    """Memory of a job in MB: a basis, and `size` bytes for each of `count` jets; doubled with every attempt."""
    total = megabytes + int(count * size / 1e6)
    return lambda wildcards, attempt: total * 2 ** (attempt - 1)


def map_memory(conditions):
    """Memory of a fit of a latent map: the order of its jets, as they are in scratch files; with conditions the jets too.

    With conditions, latents are held in single and, while their dependence is taken out, in double precision.
    """
    size = 50 + (2600 if conditions else 0)
    jets = jet_count("source", "target", share=1 - LATENT.splits.test)
    return memory(4000, jets, size)


def minutes(count):
    """Time limit of a job in minutes, doubled with every attempt."""
    return lambda wildcards, attempt: count * 2 ** (attempt - 1)


def shard_minutes(rate):
    """Time limit of a shard in minutes: five, and its jets at so many per second; doubled with every attempt."""

    def limit(wildcards, attempt):
        jets = shard_of(wildcards).jets
        return (5 + math.ceil(jets / (rate * 60))) * 2 ** (attempt - 1)

    return limit


def gpus():
    """GPUs of a training job: none when the device is the CPU."""
    return 0 if SETTINGS.device == "cpu" else 1


def training_gpus(wildcards):
    """GPUs that train a study's tagger together."""
    return gpus() * STUDIES[wildcards.study].tagger.gpus


def preprocessing_memory(wildcards, attempt):
    """Memory of the fit of the input transforms: at most fit_jets are kept, 1.5 kB each, joined, and columns sorted."""
    most = STUDIES[wildcards.study].tagger.preprocessing.fit_jets
    count = min(most, training_count(wildcards.study, "train"))
    return memory(4000, count, 4000)(wildcards, attempt)


def training_memory(wildcards, attempt):
    """Memory of a training: in each process 1.2 kB per jet, held twice while they are joined; on disk their order and offsets."""
    processes = max(1, training_gpus(wildcards))
    stored = STUDIES[wildcards.study].tagger.training.storage
    count = processes * training_count(wildcards.study, "train", "validation")
    size = 2400 if stored == "memory" else 100
    return memory(4000 + 4000 * processes, count, size)(wildcards, attempt)


CLOSURE_JETS = LATENT.closure.selection(
    LATENT.splits.fractions(), LATENT.transport.classes
)


def discriminator_spec(wildcards):
    """Settings of one discriminator: only the block of its own model."""
    spec = LATENT.closure.discriminator(CLOSURE_JETS, wildcards.model, LATENT.seed)
    return spec.model_dump_json()
