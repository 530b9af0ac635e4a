"""A small study that looks like a real one: every file that figures are made from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from otcal.runtime.files import write_json
from otcal.samples.classes import CLASSES
from otcal.samples.jets import JET_SCHEMA, write_jets
from otcal.samples.latents import LATENT_SCHEMA, latent_writer
from otcal.samples.tables import fixed_size_list, write_table
from otcal.steps import tabulate_inputs, tabulate_latents
from otcal.tagger.constituents import from_table
from otcal.tagger.preprocessing import Preprocessing

WEIGHT_SCHEMA = pa.schema([("jet_id", pa.int64()), ("weight", pa.float64())])

_MIXING = np.random.default_rng(99).normal(size=(12, 128)) * np.linspace(2.0, 0.2, 12)[:, None]
_HEAD = np.random.default_rng(98).normal(size=(12, 10)) * 1.2
_BIAS = np.array([3.0, -1.0, -0.5, 0.5, -1.5, -2.0, 0.0, 0.3, -2.0, -5.0])


def latents(rng: np.random.Generator, jets: int, shift: float, first_id: int) -> dict[str, NDArray]:
    """Return latents of `jets` jets; `shift` moves and widens them, non-Gaussian tails included."""
    hidden = rng.normal(size=(jets, 12))
    hidden[:, 0] += 0.25 * hidden[:, 1] ** 2
    hidden[:, :3] = hidden[:, :3] * (1.0 + 0.3 * shift) + shift
    noise = 0.1 * rng.normal(size=(jets, 128))
    z10 = np.tanh(0.4 * hidden) @ _HEAD * 1.6 + _BIAS
    return {
        "jet_id": np.arange(first_id, first_id + jets),
        "label": np.zeros(jets, dtype=np.int8),
        "z128": (hidden @ _MIXING + noise).astype(np.float32),
        "z10": z10.astype(np.float32),
    }


def write_latents(path: Path, arrays: dict[str, NDArray]) -> None:
    """Write latents with dull kinematics, in two row groups."""
    jets = len(arrays["jet_id"])
    columns = {
        "jet_id": pa.array(arrays["jet_id"]),
        "label": pa.array(arrays["label"]),
        "zp128": fixed_size_list(arrays["z128"]),
        "z128": fixed_size_list(arrays["z128"]),
        "z10": fixed_size_list(arrays["z10"]),
    }
    for name in LATENT_SCHEMA.names:
        columns.setdefault(name, pa.array(np.full(jets, 600.0, dtype=np.float32)))
    table = pa.table(columns).select(LATENT_SCHEMA.names).cast(LATENT_SCHEMA)
    with latent_writer(path, {}) as writer:
        writer.write_table(table.slice(0, jets // 2))
        writer.write_table(table.slice(jets // 2))


def write_weights(path: Path, jet_id: NDArray, weights: NDArray) -> None:
    """Write weights of the reweighting baseline."""
    table = pa.table({"jet_id": pa.array(jet_id), "weight": pa.array(weights)})
    write_table(path, table, WEIGHT_SCHEMA, {})


def write_all_latents(directory: Path, jets: int) -> None:
    """Write source, target, calibrated and weights of every second source jet."""
    rng = np.random.default_rng(0)
    source = latents(rng, jets, 0.5, 0)
    source["label"][:50] = 1  # some jets of another class, which must not count
    write_latents(directory / "latents/source.parquet", source)
    write_latents(directory / "latents/target.parquet", latents(rng, jets, 0.0, 10_000_000))
    write_latents(directory / "latents/calibrated.parquet", latents(rng, jets, 0.04, 0))
    weights = rng.lognormal(sigma=1.0, size=jets)
    write_weights(directory / "closure/weights.parquet", source["jet_id"][::2], weights[::2])
    (directory / "closure/reweighting.json").write_text('{"rho": 0.312}', encoding="utf-8")


def closure_tables(directory: Path) -> dict[str, Path]:
    """Write ROC curves, areas and scores in the form of `collect_discriminators`."""
    directory.mkdir(parents=True, exist_ok=True)
    fpr = np.linspace(0.0, 1.0, 201)
    powers = {
        "nominal": (0.2, 0.45, 0.6),
        "calibrated": (0.9, 0.99, 1.02),
        "retrained": (0.5, 0.8, 0.9),
        "floor": (1.0, 1.0, 1.0),
    }
    roc = ["layer,evaluation,model,fpr,tpr,tpr_std"]
    auc = ["layer,evaluation,model,auc,std,stat,fits,n_other,n_target,auc_fit0"]
    for evaluation, values in powers.items():
        for layer, power in zip(("z128", "zp128", "z10"), values, strict=True):
            for model in ("mlp", "linear"):
                area = 1.0 / (1.0 + power)
                auc.append(f"{layer},{evaluation},{model},{area},0.004,0.003,3,900,950,{area}")
                spread = 0.01 * np.sin(np.pi * fpr)
                roc += [
                    f"{layer},{evaluation},{model},{x},{x**power},{s}"
                    for x, s in zip(fpr, spread, strict=True)
                ]
    scores = ["quantity,sample,low,high,density,error,count"]
    rng = np.random.default_rng(5)
    for quantity, edges in (
        ("logit", np.linspace(-6, 6, 41)),
        ("probability", np.linspace(0, 1, 41)),
    ):
        for sample, mean in (("source", -1.5), ("target", 1.5), ("calibrated", 1.3)):
            values = rng.normal(mean, 1.3, size=4000)
            if quantity == "probability":
                values = 1.0 / (1.0 + np.exp(-values))
            counts, _ = np.histogram(values, edges)
            scale = counts.sum() * np.diff(edges)
            scores += [
                f"{quantity},{sample},{low},{high},{n / s},{np.sqrt(n) / s},{n}"
                for low, high, n, s in zip(edges[:-1], edges[1:], counts, scale, strict=True)
            ]
    paths = {name: directory / f"{name}.csv" for name in ("roc", "auc", "scores")}
    for name, lines in {"roc": roc, "auc": auc, "scores": scores}.items():
        paths[name].write_text("\n".join(lines) + "\n", encoding="utf-8")
    return paths


def tagger_tables(directory: Path) -> dict[str, Path]:
    """Write ROC curves and a confusion matrix in the form of `evaluate_tagger`."""
    directory.mkdir(parents=True, exist_ok=True)
    x = np.linspace(0.0, 1.0, 201)
    roc = ["class,signal_efficiency,background_efficiency,qcd_efficiency"]
    confusion = ["true,predicted,jets,share"]
    rng = np.random.default_rng(7)
    for number, name in enumerate(CLASSES):
        power = 2.0 + 0.8 * number
        roc += [f"{name},{e},{e**power},{'' if number == 0 else e**power}" for e in x]
        shares = rng.dirichlet(np.where(np.arange(10) == number, 12.0, 0.5))
        confusion += [f"{name},{other},9,{s}" for other, s in zip(CLASSES, shares, strict=True)]
    paths = {"roc": directory / "roc.csv", "confusion": directory / "confusion.csv"}
    paths["roc"].write_text("\n".join(roc) + "\n", encoding="utf-8")
    paths["confusion"].write_text("\n".join(confusion) + "\n", encoding="utf-8")
    # The area below x^p is 1 / (p + 1).
    areas = {name: 1 - 1 / (3.0 + 0.8 * number) for number, name in enumerate(CLASSES) if number}
    write_json(directory / "metrics.json", {"auc": {"QCD": areas}})
    return paths


def learning_table(path: Path) -> None:
    """Write a learning curve in the form of `fit_map`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ["step,conjugate_failed,energy,energy_gain,energy_error,sliced_w2,dual,dual_error"]
    for step in range(0, 2001, 100):
        energy, dual = 0.004 + 0.026 * np.exp(-step / 400), -0.4 * (1 - np.exp(-step / 400))
        rows.append(f"{step},0.0,{energy},{energy - 0.03},0.001,0.01,{dual},0.02")
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


def jets(rng: np.random.Generator, count: int, smearing: float) -> pa.Table:
    """Return jets whose inputs look like JetClass's; `smearing` scales d0 and its error."""
    multiplicity = np.clip(rng.normal(40.0 * smearing**0.3, 12.0, count), 4, 110).astype(int)
    total = int(multiplicity.sum())
    offsets = pa.array(np.concatenate([[0], np.cumsum(multiplicity)]), pa.int32())
    charge = rng.choice([-1.0, 0.0, 1.0], total, p=[0.3, 0.4, 0.3])
    sigma = rng.choice([0.012, 0.02, 0.035, 0.07], total) * smearing
    pt, phi = np.exp(rng.normal(1.8, 1.2, total)), rng.uniform(-np.pi, np.pi, total)
    hadron = (charge != 0).astype(float)
    parts = {
        "part_isChargedHadron": hadron,
        "part_px": pt * np.cos(phi),
        "part_py": pt * np.sin(phi),
        "part_deta": np.clip(rng.standard_t(3, total) * 0.12, -0.8, 0.8),
        "part_dphi": np.clip(rng.standard_t(3, total) * 0.12, -0.8, 0.8),
        "part_d0val": sigma * rng.standard_t(2, total) * (charge != 0),
        "part_d0err": sigma * (charge != 0),
        "part_dzval": 2.0 * sigma * rng.standard_t(2, total) * (charge != 0),
        "part_dzerr": 2.0 * sigma * (charge != 0),
        "part_charge": charge,
    }
    pt_jet = 500.0 + np.clip(rng.exponential(110.0, count), 0, 499)
    eta = rng.uniform(-2.0, 2.0, count)
    whole = {
        "jet_id": rng.integers(0, 2**60, count),
        "jet_pt": pt_jet,
        "jet_eta": eta,
        "jet_phi": rng.uniform(-np.pi, np.pi, count),
        "jet_energy": pt_jet * np.cosh(eta),
        "jet_nparticles": multiplicity,
        "label_QCD": np.ones(count),
    }
    columns = {}
    for field in JET_SCHEMA:
        if pa.types.is_list(field.type):
            values = parts.get(field.name, np.zeros(total))
            flat = pa.array(values.astype(field.type.value_type.to_pandas_dtype()))
            columns[field.name] = pa.ListArray.from_arrays(offsets, flat)
        else:
            columns[field.name] = pa.array(
                whole.get(field.name, np.zeros(count)).astype(field.type.to_pandas_dtype())
            )
    return pa.table(columns)


def write_jets_and_transform(directory: Path, count: int) -> None:
    """Write jets of the three datasets, two files of the training one, and a fitted transform."""
    constituents = ["pt", "deta", "dphi", "d0val", "d0err", "dzval", "dzerr"]
    features = ["pt", "eta", "phi", "energy", "nparticles"]
    rng = np.random.default_rng(1)
    samples = {"training/a": 1.0, "training/b": 1.0, "source/a": 1.0, "target/a": 1.2}
    for name, smearing in samples.items():
        table = jets(rng, count, smearing)
        write_jets(directory / f"jets/{name}.parquet", table, {})
    ragged = from_table(table, constituents, features, CLASSES, "jets")
    fitted = Preprocessing.fit(ragged, constituents, features, quantiles=500, max_constituents=64)
    write_json(directory / "tagger/preprocessing.json", fitted.to_json())


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the results of a study with everything that the figures read."""
    root = tmp_path_factory.mktemp("study")
    closure_tables(root / "closure")
    tagger_tables(root / "tagger")
    learning_table(root / "transport/learning_curve.csv")
    write_all_latents(root, 3000)
    write_jets_and_transform(root, 400)
    tabulate_latents.main(
        [
            "--spec",
            json.dumps({"fractions": {"train": 0.25, "test": 0.75}}),
            *(f"--{name}={root}/latents/{name}.parquet" for name in tabulate_latents.SAMPLES),
            f"--weights={root}/closure/weights.parquet",
            f"--pca={root}/tables/pca.parquet",
            f"--pca-pairs={root}/tables/pca_pairs.parquet",
            f"--logits={root}/tables/logits.parquet",
            f"--logits-pairs={root}/tables/logits_pairs.parquet",
            f"--discriminants={root}/tables/discriminants.parquet",
        ]
    )
    tabulate_inputs.main(
        [
            "--spec={}",
            *("--training", f"{root}/jets/training/a.parquet", f"{root}/jets/training/b.parquet"),
            f"--source={root}/jets/source/a.parquet",
            f"--target={root}/jets/target/a.parquet",
            f"--preprocessing={root}/tagger/preprocessing.json",
            f"--output={root}/tables/inputs.parquet",
        ]
    )
    return root
