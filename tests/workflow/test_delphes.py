"""A study whose engine is Delphes: its plan, and its rule with a program that stands in for it."""

from __future__ import annotations

import shutil

import pyarrow.parquet as pq
import pytest
import yaml

from otcal.runtime.files import sha256
from otcal.samples.tables import read_provenance
from support.checkout import SMOKE, Checkout
from support.delphes import install

SHARD = "results/smoke/latent/jets/training/QCD/0.parquet"


def presets(checkout: Checkout, jets: int = 120) -> tuple[str, str]:
    simulation = {"engine": "delphes", "datasets": {"training": {"jets": {"QCD": jets}}}}
    (checkout.path / "own.yaml").write_text(yaml.safe_dump({"latent": {"simulation": simulation}}))
    return SMOKE, "own.yaml"


def test_delphes_takes_the_place_of_the_array_code_in_its_study(checkout: Checkout) -> None:
    before = checkout.planned("latent")
    planned = checkout.planned("latent", presets=presets(checkout))
    assert planned.pop("simulate_delphes") == before.pop("simulate")
    assert planned == before
    both = checkout.planned(presets=presets(checkout))
    assert both["simulate"] == checkout.planned("simplex")["simulate"]


def test_a_shard_is_made_by_the_program_on_the_path(checkout: Checkout) -> None:
    bin_dir = checkout.path / ".venv" / "bin"
    bin_dir.mkdir(parents=True)
    install(bin_dir)
    command = f'PATH="{bin_dir}:$PATH" snakemake --cores 1 --configfile {{}} {{}} -- {SHARD}'
    files = presets(checkout, jets=100)
    done = checkout.run(["sh", "-c", command.format(*files)])
    assert done.returncode == 0, done.stderr[-3000:]
    table = pq.read_table(checkout.path / SHARD)
    assert len(table) == 100
    assert set(table["label_QCD"].to_pylist()) == {1}
    record = read_provenance(checkout.path / SHARD)
    assert record["step"] == "simulate_delphes"
    assert record["spec"]["process"] == "QCD"
    assert record["program"]["sha256"] == sha256(bin_dir / "DelphesPythia8")
    assert checkout.planned(SHARD, presets=files) == {}


@pytest.mark.skipif(shutil.which("DelphesPythia8") is not None, reason="the program is there")
def test_without_the_program_the_log_says_what_to_do(checkout: Checkout) -> None:
    done = checkout.snakemake(SHARD, presets=presets(checkout))
    assert done.returncode != 0
    log = checkout.path / "results/smoke/latent/logs/simulate_delphes/training-QCD-0.log"
    said = log.read_text()
    assert "DelphesPythia8: program: is not on the PATH" in said
    assert "--sdm conda" in said
    assert "Traceback" not in said
