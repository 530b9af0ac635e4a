"""Finished studies with maps that are known, for what exports and applies calibrations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from otcal.config.closure import DISCRIMINANTS
from otcal.runtime.files import sha256, write_json
from otcal.runtime.weights import save_described
from otcal.samples import tables
from otcal.samples.classes import CLASSES
from otcal.samples.flavours import FLAVOURS
from otcal.samples.jets import JET_FLOATS
from otcal.samples.latents import LATENT_SCHEMA, LAYERS
from otcal.samples.scores import Scores, score_writer
from otcal.simplex import ilr, ilr_inverse
from otcal.tagger.head import FORMAT, Head, weights_metadata
from otcal.transport.convex import ConvexPotential
from otcal.transport.coordinates import precondition
from otcal.transport.fitted import TransportMap
from otcal.transport.gaussian import fit_gaussian

JETS = 2_000
SPLITS = {"train": 0.5, "validation": 0.1, "test": 0.4}
VARIATIONS = ("eigen1_up", "eigen1_down", "eigen2_up", "eigen2_down")
MEANS = np.array([[1.5, 1.5], [-1.0, 1.0], [0.0, -1.5]])


def probabilities(flavour: int, jets: int, seed: int) -> NDArray[np.float64]:
    """Return probabilities of simulated jets, shape (jets, 3), exact in float32."""
    z = MEANS[flavour] + np.random.default_rng([seed, flavour]).normal(size=(jets, 2))
    return ilr_inverse(z).astype(np.float32).astype(np.float64)


def some_map(x: NDArray, shift: float, seed: int) -> TransportMap:
    """Return a map with a bent potential that moves points x by about `shift`."""
    torch.manual_seed(seed)
    coordinates = precondition(fit_gaussian(x, 1.2 * x + shift), np.ones(x.shape[1]))
    potential = ConvexPotential(coordinates.rank, (12, 8), scales=torch.ones(coordinates.rank))
    with torch.no_grad():
        for parameter in potential.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return TransportMap(coordinates, [potential])


def write_simplex_study(root: Path, spec: dict[str, Any] | None = None) -> Path:
    """Write the files of a simplex study that an export reads; return its directory.

    `spec` are the settings in the origin of its scores.

    The second pair of variations leaves all flavours but b alone.
    """
    study = root / "simplex"
    labels = np.repeat(np.arange(3), JETS).astype(np.int8)
    p = np.concatenate([probabilities(k, JETS, 1) for k in range(3)])
    dull = np.full(len(p), 50.0, np.float32)
    (study / "scores").mkdir(parents=True)
    with score_writer(
        study / "scores/simulation.parquet", FLAVOURS, {"spec": spec or {}}
    ) as writer:
        scores = Scores(np.arange(len(p)), labels, dull, dull, p)
        writer.write_table(scores.to_table(FLAVOURS))
    for k, name in enumerate(FLAVOURS):
        x = ilr(p[labels == k])
        notes = {"flavour": name, "space": "ilr"}
        provenance = {"spec": {"splits": SPLITS, "steps": 10}, "seed": 7}
        maps = study / "maps" / name
        maps.mkdir(parents=True)
        nominal = some_map(x, 0.3, k)
        nominal.save(maps / "nominal.safetensors", {**notes, "provenance": provenance})
        entries = []
        for number, variation in enumerate(VARIATIONS):
            same = variation.startswith("eigen2") and name != "b"
            varied = nominal if same else some_map(x, 0.25 + 0.1 * number, k)
            path = maps / f"{variation}.safetensors"
            varied.save(path, {**notes, "variation": variation})
            entries.append({"variation": variation, "file": path.name, "sha256": sha256(path)})
        write_json(maps / "variations.json", {"flavour": name, "maps": entries})
    shifts = [{"name": name, "scale": 1.0, "prior_share": 0.9} for name in VARIATIONS]
    write_json(study / "uncertainty/variations.json", {"variations": shifts})
    numbers = {"simplex.closure.w1_ratio.b_c.1": 0.15, "simplex.composition.error.r.b": 0.01}
    write_json(study / "summary.json", {**numbers, "simplex.fit.starts": 3})
    return study


def write_tagger(path: Path) -> None:
    """Write the files of a tagger of which only the head is there, untrained."""
    torch.manual_seed(0)
    head = Head(16, [128, 128, 128], len(CLASSES))
    tensors = {f"head.{name}": tensor for name, tensor in head.state_dict().items()}
    description = {"format": FORMAT, "classes": list(CLASSES), "head": [128, 128, 128]}
    description |= {"architecture": {"d_model": 16}, "preprocessing": {}}
    path.parent.mkdir(exist_ok=True)
    save_described(path, tensors, description, weights_metadata())


def write_latents(path: Path, jet_id: NDArray, layers: dict[str, NDArray], seed: int) -> None:
    """Write latents of three classes, dealt out by turns."""
    rng = np.random.default_rng(seed)
    columns = {
        "jet_id": pa.array(jet_id),
        "label": pa.array((np.arange(len(jet_id)) % 3).astype(np.int8)),
        **{name: pa.array(rng.uniform(500, 1000, len(jet_id))) for name in JET_FLOATS},
        **{
            name: tables.fixed_size_list(values.astype(np.float32))
            for name, values in layers.items()
        },
    }
    tables.write_table(path, pa.table(columns), LATENT_SCHEMA, {})


def write_latent_study(root: Path) -> Path:
    """Write the files of a latent study that an export reads; return its directory.

    Its latents are all independent: what the map does to the first tells nothing about the logits.
    """
    study = root / "latent"
    rng = np.random.default_rng(3)
    source, target = (
        {name: rng.normal(size=(JETS, width)) for name, width in LAYERS.items()} for _ in range(2)
    )
    calibrated = source | {"z10": source["z10"] + 0.2 * rng.normal(size=source["z10"].shape)}
    ids = np.arange(JETS)
    write_latents(study / "latents/source.parquet", ids, source, 4)
    write_latents(study / "latents/calibrated.parquet", ids, calibrated, 4)
    write_latents(study / "latents/target.parquet", JETS + ids, target, 5)
    fitted = some_map(source["z128"], 0.5, 1)
    (study / "transport").mkdir()
    spec = {"layer": "z128", "classes": ["QCD", "Hbb"], "splits": SPLITS}
    provenance = {"spec": spec, "seed": 7}
    fitted.save(study / "transport/map.safetensors", {"layer": "z128", "provenance": provenance})
    write_tagger(study / "tagger/tagger.safetensors")
    write_json(study / "summary.json", {"latent.auc.z128.nominal.mlp": 0.9, "latent.map.uvp": 1.0})
    measured = [entry.model_dump(mode="json") for entry in DISCRIMINANTS]
    origin = {"provenance": {"spec": {"discriminants": measured}}}
    write_json(study / "closure/reweighting.json", origin)
    return study
