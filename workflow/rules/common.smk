# Needs: the merged configuration. Makes: the validated settings and the helpers of the other rule files.

import json
import os

from snakemake.exceptions import WorkflowError

from otcal.config.study import load_settings
from otcal.figures.catalogue import FIGURES
from otcal.runtime.errors import InputError
from otcal.runtime.fingerprint import fingerprint

# Threads that wait must not spin: jobs share the cores with each other.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

try:
    SETTINGS = load_settings(config)
except InputError as error:
    raise WorkflowError(str(error))

RESULTS = SETTINGS.results
LATENT = SETTINGS.latent
LATENT_SHARDS = {
    dataset: LATENT.simulation.shards(dataset) for dataset in LATENT.simulation.datasets
}
DISCRIMINATORS = [
    (layer, training, model)
    for layer in ("z128", "zp128", "z10")
    for training in ("nominal", "retrained", "floor")
    for model in ("mlp", "linear")
    if (training, model) != ("floor", "linear")
]


wildcard_constraints:
    dataset="[A-Za-z0-9_]+",
    process="[A-Za-z0-9]+",
    shard="[0-9]+",
    layer="z128|zp128|z10",
    training="nominal|retrained|floor",
    model="mlp|linear",


def results(path):
    """Path of a file below the results directory."""
    return f"{RESULTS}/{path}"


def code(step):
    """Fingerprint of everything that a step's command can execute inside the package."""
    return fingerprint(f"otcal.steps.{step}")


def shards(dataset, root="jets"):
    """Files of a dataset's jets."""
    return [
        results(f"latent/{root}/{dataset}/{process}/{number}.parquet")
        for process, number in LATENT_SHARDS[dataset]
    ]


def shard_spec(wildcards):
    """Settings of one shard of jets."""
    shard = LATENT_SHARDS[wildcards.dataset][wildcards.process, int(wildcards.shard)]
    return shard.model_dump_json()


def folder(wildcards, output):
    """Directory of a rule's outputs."""
    return os.path.dirname(output[0])


def stem(wildcards, output):
    """Path of a rule's image without its suffix."""
    return os.path.splitext(output.image)[0]


def jet_count(*datasets, share=1.0):
    """Configured number of jets of datasets, or of a share of them."""
    blocks = [LATENT.simulation.datasets[name] for name in datasets]
    return share * sum(sum(block.jets.values()) for block in blocks)


LAYER = 4 * 128  # bytes of one jet's z128


def memory(megabytes, count=0, size=0):
    """Memory of a job in MB: a basis, and `size` bytes for each of `count` jets; doubled with every attempt."""
    total = megabytes + int(count * size / 1e6)
    return lambda wildcards, attempt: total * 2 ** (attempt - 1)


def minutes(count):
    """Time limit of a job in minutes, doubled with every attempt."""
    return lambda wildcards, attempt: count * 2 ** (attempt - 1)


def gpus():
    """GPUs of a training job: none when the device is the CPU."""
    return 0 if SETTINGS.device == "cpu" else 1


CLOSURE_JETS = LATENT.closure.selection(
    LATENT.splits.fractions(), LATENT.transport.classes
)


def discriminator_spec(wildcards):
    """Settings of one discriminator: only the block of its own model."""
    spec = LATENT.closure.discriminator(CLOSURE_JETS, wildcards.model, LATENT.seed)
    return spec.model_dump_json()


# What the page of the latent study shows: the catalogue, and the simulation's validation.
PAGE_FIGURES = [
    {
        "name": figure.name,
        "title": figure.title,
        "number": figure.number,
        "caption": figure.caption,
        "panels": figure.panels,
    }
    for figure in FIGURES
] + [
    {
        "name": "validation",
        "title": "Inputs against JetClass",
        "number": "",
        "caption": "validation.rst",
        "panels": ["inputs"],
    }
]
PAGE_IMAGES = [
    results(f"latent/figures/{panel}") for figure in FIGURES for panel in figure.panels
] + [results("latent/validation/inputs")]
