"""The workflow on a real Slurm: what is allocated, and what faults cost.

All in one file: distributed over files, each process of pytest-xdist would start a cluster.
After every fault the outputs must be those of an undisturbed local run, byte by byte.
"""

from __future__ import annotations

import math
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from otcal.runtime import checkpoint
from support.checkout import SMOKE, Checkout, copy_project
from support.slurm import (
    CLUSTER,
    TINY,
    Submitter,
    accounting,
    ended,
    eventually,
    held_steps,
    needs_slurm,
    products,
    running_step,
    slurm,
    waits,
)

pytestmark = [needs_slurm, pytest.mark.heavy]

TAGGER = "results/smoke/simplex/tagger/tagger.json"
CHECKPOINT = "results/smoke/simplex/tagger/checkpoint.safetensors"
LOG = "results/smoke/simplex/logs/train_tagger.log"
SHARDS = [
    f"results/smoke/simplex/jets/training/{process}/0.parquet"
    for process in ("ttbar", "ttbar_charm")
]
LOCAL = {"select_extraction"}
"""Rules that run beside Snakemake, of those that are asked for."""

GPU = {
    "train_tagger",
    "evaluate_tagger",
    "export_latents",
    "export_scores",
    "fit_map",
    "calibrate",
    "train_discriminator",
}
GROUPS = {
    "simulate": ("shards", 8),
    "train_discriminator": ("discriminators", 100),
    "fit_flavour_map": ("maps", 100),
    "fit_truth_map": ("maps", 100),
    "vary_flavour_maps": ("variations", 100),
}
"""Groups of the smoke run, and how many jobs may be in one."""

TRAIN = (TAGGER, "--set-threads", "train_tagger=1")
SINGLE = ("--group-components", "shards=1")  # a job for each shard

Without = Callable[..., Checkout]


def gpus(resources: str) -> int:
    """Return the number of GPUs in Slurm's list of allocated resources."""
    found = re.search(r"gres/gpu=(\d+)", resources)
    return int(found[1]) if found else 0


def megabytes(memory: str) -> int:
    """Return Slurm's requested memory, such as 1500M or 2G, in MB."""
    return int(memory[:-1]) * {"M": 1, "G": 1024}[memory[-1]]


def rules_of(comment: str) -> str:
    """Return the rule (of a group: group and rules) that the plugin writes into a job's comment."""
    return comment.removeprefix("rule_").split("_wildcards_")[0]


def test_smoke_preset_of_both_studies(submit: Submitter, tmp_path: Path) -> None:
    """Every rule that works for more than seconds, and a group of figures.

    Discriminators of one kind stand for the others, two figures for all.
    """
    project = copy_project(tmp_path / "otcal")
    panels = ("latent/figures/tagger_roc.png", "latent/figures/learning_curve.png")
    tables = (
        "latent/validation/summary.csv",
        "latent/closure/reweighting.json",
        "simplex/closure/metrics.csv",
        "latent/tables/inputs.parquet",
        "latent/tables/pca.parquet",
        "simplex/tables/mixture.parquet",
        "simplex/tables/displacements_plane.parquet",
    )
    targets = [f"results/smoke/{path}" for path in (*tables, *panels)]
    planned = project.planned(*targets)
    # Beyond the profile's, groups of fits that take seconds here: fewer jobs to start.
    groups = [f"{rule}={group}" for rule, (group, _) in GROUPS.items()]
    sizes = dict(GROUPS.values()) | {"latent_figures": 100}
    run = submit(
        project,
        *targets,
        "--groups",
        *groups,
        "--group-components",
        *(f"{group}={size}" for group, size in sizes.items()),
        presets=(SMOKE,),
    )
    assert "Trying to restart" not in run.finish()
    jobs = ended(project.path)
    assert {job.state for job in jobs} == {"COMPLETED"}
    together = {*GROUPS, "draw_learning", "draw_tagger"}
    assert Counter(rules_of(job.comment) for job in jobs) == {
        "shards_simulate": math.ceil(planned["simulate"] / sizes["shards"]),
        "discriminators_train_discriminator": 1,
        "maps_fit_flavour_map_fit_truth_map": 1,
        "variations_vary_flavour_maps": 1,
        "latent_figures_draw_learning_draw_tagger": 1,
    } | {rule: count for rule, count in planned.items() if rule not in together | LOCAL}
    on_gpu = {rules_of(job.comment) for job in jobs if gpus(job.resources) == 1}
    assert on_gpu == GPU - {"train_discriminator"} | {"discriminators_train_discriminator"}
    assert {(job.partition, gpus(job.resources)) for job in jobs} == {("gpu", 1), ("cpu", 0)}


def test_cancelled_training_goes_on_with_two_gpus(
    submit: Submitter, without: Without, reference: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTCAL_CHECKPOINT_EVERY_S", "0")
    project = without("simplex/tagger")
    model = ("--set-resources", "train_tagger:gpu_model=toy")
    run = submit(project, *TRAIN, *model, "--config", "simplex={tagger: {gpus: 2}}")
    running_step(project.path, "train_tagger")
    eventually("a checkpoint", (project.path / CHECKPOINT).exists)
    step = held_steps(project.path, "train_tagger")[0]
    slurm("scancel", step.job)
    run.finish()
    jobs = ended(project.path)
    trainings = [job for job in jobs if job.comment.startswith("rule_train_tagger")]
    assert [job.state.split()[0] for job in trainings] == ["CANCELLED", "COMPLETED"]
    assert {(job.partition, gpus(job.resources)) for job in trainings} == {("gpu", 2)}
    assert all("gres/gpu:toy=2" in job.resources for job in trainings)
    others = [job for job in jobs if job not in trainings]
    assert {(job.partition, gpus(job.resources)) for job in others} == {("cpu", 0)}
    assert f"tagger: continues from {CHECKPOINT}" in (project.path / LOG).read_text()
    assert products(project, "simplex/tagger") == products(reference, "simplex/tagger")


def test_fit_is_warned_before_its_time_is_up(
    submit: Submitter, without: Without, reference: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTCAL_CHECKPOINT_EVERY_S", "0")
    project = without("simplex/tagger")
    run = submit(project, *TRAIN)
    step = running_step(project.path, "train_tagger")
    eventually("a checkpoint", (project.path / CHECKPOINT).exists)
    step.process.suspend()  # it gets what comes when it wakes up
    done = checkpoint.load_fit(project.path / CHECKPOINT)["step"]
    slurm("scontrol", "update", f"jobid={step.job}", "EndTime=now+80seconds")
    eventually("the warning", lambda: waits(step, signal.SIGUSR1))
    step.process.resume()
    printed = run.finish()
    trainings = [job for job in ended(project.path) if job.comment.startswith("rule_train_tagger")]
    assert [job.state for job in trainings] == ["FAILED", "COMPLETED"]
    assert int(trainings[1].minutes) == 2 * 1440
    assert f"stopped by SIGUSR1; the same command continues from {CHECKPOINT}" in printed
    log = (project.path / LOG).read_text()
    # The step that it was in when it slept may be over.
    continued = re.search(rf"continues from {CHECKPOINT} after (\d+) steps", log)
    assert continued
    assert int(continued[1]) in (done, done + 1)
    assert products(project, "simplex/tagger") == products(reference, "simplex/tagger")


def test_group_over_its_memory_gets_more(
    submit: Submitter, without: Without, reference: Checkout
) -> None:
    project = without("simplex/jets")
    project.edit("workflow/rules/simulate.smk", "memory(1500)", "memory(200)")
    submit(project, *SHARDS, "--retries", "3").finish()
    jobs = ended(project.path)
    assert {job.comment for job in jobs} == {"rule_shards_simulate"}
    asked = [megabytes(job.memory) for job in jobs]
    assert asked == [200 * 2**attempt for attempt in range(len(jobs))]
    assert len(jobs) > 1
    *killed, last = jobs
    assert {job.state for job in killed} == {"OUT_OF_MEMORY"}
    assert last.state == "COMPLETED"
    assert products(project, "simplex/jets") == products(reference, "simplex/jets")


def test_job_over_its_time_gets_more(
    submit: Submitter, without: Without, reference: Checkout
) -> None:
    project = without("simplex/jets")
    run = submit(project, SHARDS[0], *SINGLE)
    (step,) = held_steps(project.path, "simulate")  # a step that hangs
    (job,) = eventually("the job's record", lambda: accounting(project.path))
    asked = int(job.minutes)
    # Limits are whole minutes; the end of a running job can be set to the second.
    slurm("scontrol", "update", f"jobid={step.job}", "EndTime=now+1seconds")
    run.finish()
    jobs = ended(project.path)
    assert [job.state for job in jobs] == ["TIMEOUT", "COMPLETED"]
    assert int(jobs[1].minutes) == 2 * asked
    made = (project.path / SHARDS[0]).read_bytes()
    assert made == (reference.path / SHARDS[0]).read_bytes()


def test_controller_restarts_under_a_group_of_shards(
    submit: Submitter, without: Without, reference: Checkout
) -> None:
    project = without("simplex/jets")
    run = submit(project, *SHARDS)
    (step,) = held_steps(project.path, "simulate")
    subprocess.run([CLUSTER, "restart-controller"], check=True)
    step.process.resume()
    run.finish()
    (job,) = ended(project.path)
    assert (job.state, job.comment) == ("COMPLETED", "rule_shards_simulate")
    # One after the other: memory and CPUs of one shard, the time of both (6 minutes each).
    assert megabytes(job.memory) == 1500
    assert "cpu=1," in job.resources
    assert int(job.minutes) == 12
    assert products(project, "simplex/jets") == products(reference, "simplex/jets")


def test_drained_node_finishes_its_job_and_goes_on_later_without_gpus(
    submit: Submitter, without: Without, reference: Checkout
) -> None:
    project = without("simplex/tagger")
    run = submit(project, *TRAIN, "--config", "device=cpu")
    (step,) = held_steps(project.path, "fit_preprocessing")
    node = slurm("sinfo", "--noheader", "--format=%n").split()[0]
    slurm("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    step.process.resume()
    try:
        waiting = eventually(
            "a job that waits for the node",
            lambda: [job for job in accounting(project.path) if job.state == "PENDING"],
        )
    finally:
        slurm("scontrol", "update", f"nodename={node}", "state=resume")
    run.finish()
    first, second = ended(project.path)
    assert (first.number, second.number) == (step.job, waiting[0].number)
    assert (first.state, second.state) == ("COMPLETED", "COMPLETED")
    assert first.end <= second.start
    assert {(job.partition, gpus(job.resources)) for job in (first, second)} == {("cpu", 0)}
    made, expected = (products(p, "simplex/tagger") for p in (project, reference))
    assert made == expected


def test_resume_after_sigkill_cancels_its_own_orphans_first(
    submit: Submitter, without: Without, reference: Checkout
) -> None:
    project, other = without("simplex/jets"), without("simplex/jets", to="other")
    killed = submit(project, *SHARDS, *SINGLE)
    neighbour = submit(other, SHARDS[0], *SINGLE, "--set-resources", "simulate:runtime=60")
    held_steps(project.path, "simulate", jobs=len(SHARDS))
    (theirs,) = held_steps(other.path, "simulate")
    resume = ("python", "-m", "otcal.cluster", "resume")

    alive = submit(project, *SHARDS, *SINGLE, command=resume)
    assert alive.process.wait() == 2
    assert f"is held by process {killed.process.pid} on " in alive.output.read_text()

    killed.process.send_signal(signal.SIGKILL)
    killed.process.wait()
    refused = submit(project, *SHARDS, *SINGLE)
    assert refused.process.wait() != 0  # Snakemake alone refuses: the directory is locked
    assert "Directory cannot be locked" in refused.output.read_text()
    project.run(["snakemake", "--unlock", *SHARDS, "--configfile", *TINY])  # as it then proposes
    refused = submit(project, *SHARDS, *SINGLE)
    assert refused.process.wait() != 0
    assert "of an earlier run here still wait or run" in refused.output.read_text()
    assert len(accounting(project.path)) == len(SHARDS)

    submit(project, *SHARDS, *SINGLE, command=resume).finish()
    jobs = ended(project.path)
    orphans = [job for job in jobs if job.run == jobs[0].run]
    again = [job for job in jobs if job.run != jobs[0].run]
    assert {job.state.split()[0] for job in orphans} == {"CANCELLED"}
    assert {job.state for job in again} == {"COMPLETED"}
    assert max(job.end for job in orphans) <= min(job.start for job in again)
    assert len(again) == len(SHARDS)
    assert products(project, "simplex/jets") == products(reference, "simplex/jets")

    (untouched,) = accounting(other.path)
    assert untouched.state == "RUNNING"
    theirs.process.resume()
    neighbour.finish()
    assert (other.path / SHARDS[0]).read_bytes() == (reference.path / SHARDS[0]).read_bytes()
