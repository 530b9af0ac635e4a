"""The steps that tabulate the simplex study write what the library counts from their files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from otcal.config.simplex_tabulation import DisplacementTables, MixtureTables
from otcal.figures.tables import read_pairs
from otcal.runtime.errors import InputError
from otcal.samples.flavours import FLAVOURS
from otcal.samples.tables import read_provenance
from otcal.steps import tabulate_displacements, tabulate_mixture
from otcal.transport.coordinates import Coordinates
from otcal.transport.fitted import TransportMap
from otcal.transport.potentials import QuadraticPotential
from support.simplex_study import (
    FITTED,
    REGIONS,
    SIMULATION,
    Densities,
    write_scores,
    write_study,
)

SHIFTS = np.array([[-0.5, -0.25], [0.25, 0.0], [0.0, 0.5]])


class StubComponents:
    """Known densities in place of flows: the file holds a name instead of weights."""

    @staticmethod
    def load(path: Path) -> Densities:
        return {"pretrained": SIMULATION, "fitted": FITTED}[path.read_text()]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    write_study(root, jets=3000, starts=2)
    (root / "mixture/pretrained.safetensors").write_text("pretrained")
    (root / "mixture/flows.safetensors").write_text("fitted")
    return root


def mixture_arguments(study, outputs):
    return [
        "--spec={}",
        "--regions",
        *(str(study / f"regions/{name}.parquet") for name in REGIONS),
        f"--pretrained={study}/mixture/pretrained.safetensors",
        f"--flows={study}/mixture/flows.safetensors",
        f"--extraction={study}/mixture/extraction.json",
        f"--variations={study}/uncertainty/variations.json",
        "--histories",
        *(str(study / f"mixture/start-{n}/history.csv") for n in range(2)),
        f"--scores-table={outputs}/mixture.parquet",
        f"--components-table={outputs}/components.parquet",
        f"--convergence-table={outputs}/convergence.parquet",
    ]


def test_mixture_tables_are_the_librarys_counts(study, tmp_path, monkeypatch):
    monkeypatch.setattr(tabulate_mixture, "Components", StubComponents)
    tabulate_mixture.main(mixture_arguments(study, tmp_path))
    for name in ("mixture", "components", "convergence"):
        made = pd.read_parquet(tmp_path / f"{name}.parquet")
        expected = pd.read_parquet(study / f"tables/{name}.parquet")
        # Scores on disk are single precision.
        pd.testing.assert_frame_equal(made, expected, rtol=1e-4, atol=1.01)
    provenance = read_provenance(tmp_path / "mixture.parquet")
    assert provenance["step"] == "tabulate_mixture"
    assert len(provenance["inputs"]) == 3 + 4 + 2
    assert provenance["spec"] == MixtureTables().model_dump()


def test_mixture_with_a_region_too_few_is_an_input_error(study, tmp_path, monkeypatch):
    monkeypatch.setattr(tabulate_mixture, "Components", StubComponents)
    line = mixture_arguments(study, tmp_path)
    with pytest.raises(InputError, match=r"there are 2\. Give those of b_enriched, c_enriched"):
        tabulate_mixture.main([*line[:2], *line[3:]])


def write_translation(path, shift):
    """Write a map that moves every point alike."""
    target = torch.tensor(shift, dtype=torch.float32)
    units = (torch.eye(2) for _ in range(4))
    coordinates = Coordinates(torch.zeros(2), target, *units, torch.ones(2), None)
    notes = {"flavour": path.stem, "space": "ilr"}
    TransportMap(coordinates, [QuadraticPotential(2)]).save(path, notes)


def displacement_arguments(root):
    maps = [f"{root}/{name}.safetensors" for name in FLAVOURS]
    names = ("plane", "simplex", "density")
    tables = [f"--{name}-table={root}/{name}.parquet" for name in names]
    return ["--spec={}", f"--simulation={root}/simulation.parquet", *tables, "--maps", *maps]


def test_each_flavour_is_moved_by_its_own_map(tmp_path):
    z = np.concatenate([SIMULATION.sample(k, 2000, 5) for k in range(3)])
    label = np.repeat(np.arange(3, dtype=np.int8), 2000)
    write_scores(tmp_path / "simulation.parquet", z, label)
    for name, shift in zip(FLAVOURS, SHIFTS, strict=True):
        write_translation(tmp_path / f"{name}.safetensors", shift)
    tabulate_displacements.main(displacement_arguments(tmp_path))
    plane = pd.read_parquet(tmp_path / "plane.parquet")
    assert set(plane["flavour"]) == set(FLAVOURS)
    for name, shift in zip(FLAVOURS, SHIFTS, strict=True):
        rows = plane[plane["flavour"] == name]
        assert rows["jets"].sum() > 1000
        moved = rows[["moved_z1", "moved_z2"]].to_numpy() - rows[["z1", "z2"]].to_numpy()
        np.testing.assert_allclose(moved, np.broadcast_to(shift, moved.shape), atol=1e-5)
    simplex = pd.read_parquet(tmp_path / "simplex.parquet")
    assert (simplex.groupby("flavour")["jets"].sum() == 2000).all()
    pairs = read_pairs(tmp_path / "density.parquet")
    assert {key[2] for key in pairs} == {
        f"{name}/{sample}" for name in FLAVOURS for sample in ("simulation", "calibrated")
    }
    provenance = read_provenance(tmp_path / "plane.parquet")
    assert provenance["spec"] == DisplacementTables().model_dump()
    with pytest.raises(InputError, match=r"there are 2\. Give the maps of b, c, light"):
        tabulate_displacements.main(displacement_arguments(tmp_path)[:-1])
