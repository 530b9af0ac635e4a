"""A simplex study that looks like a real one: every file that its figures are made from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from otcal.config.simplex_tabulation import DisplacementTables, MixtureTables
from otcal.figures import cells, count_displacements, count_mixture, simplex_tables
from otcal.figures.extraction import Extraction
from otcal.figures.tables import stack, write_csv, write_pairs
from otcal.mixture.composition import Prior, perturbed
from otcal.mixture.uncertainty import propagate, variation_record
from otcal.runtime.files import write_json
from otcal.samples.flavours import FLAVOURS
from otcal.samples.scores import Scores, score_writer
from otcal.simplex import DISCRIMINANTS, discriminant, ilr_inverse
from support.gaussian_mixtures import TABLE_1, fit_compositions

Array = NDArray[np.float64]

REGIONS = tuple(f"{name}_enriched" for name in FLAVOURS)
KAPPAS = (0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Densities:
    """Three flavours, each a core and a tail: means (3, 2, 2), widths (3, 2), shares (3, 2)."""

    means: Array
    widths: Array
    shares: Array
    conditions: tuple[str, ...] = ()

    def log_prob(self, z: Array) -> Array:
        squares = ((z[:, None, None] - self.means) ** 2).sum(axis=-1) / self.widths**2
        terms = -0.5 * squares - np.log(2 * np.pi * self.widths**2) + np.log(self.shares)
        return np.logaddexp.reduce(terms, axis=-1)

    def sample(self, flavour: int, number: int, seed: int) -> Array:
        rng = np.random.default_rng([seed, flavour])
        part = rng.choice(2, number, p=self.shares[flavour])
        noise = rng.normal(size=(number, 2)) * self.widths[flavour, part, None]
        return self.means[flavour, part] + noise


SIMULATION = Densities(
    np.array([[[3.4, 2.9], [1.4, 0.4]], [[-1.5, 1.2], [-0.3, -0.4]], [[-0.3, -3.0], [0.1, -1.5]]]),
    np.array([[1.1, 1.5], [1.0, 1.3], [1.0, 1.4]]),
    np.array([[0.75, 0.25], [0.7, 0.3], [0.7, 0.3]]),
)
DATA = replace(SIMULATION, means=0.86 * SIMULATION.means, widths=1.06 * SIMULATION.widths)
FITTED = replace(DATA, means=DATA.means + np.array([0.02, -0.03]), widths=1.01 * DATA.widths)


def moved(z: Array) -> Array:
    """Return the image of simulated jets: what makes of `SIMULATION` nearly `FITTED`."""
    return 0.87 * z + 0.12 * np.tanh(z)


def draw(densities: Densities, pi: Array, jets: int, seed: int) -> tuple[Array, NDArray[np.int8]]:
    """Return ILR coordinates and flavour numbers of a region's jets."""
    label = np.random.default_rng(seed).choice(3, jets, p=pi / pi.sum()).astype(np.int8)
    z = np.empty((jets, 2))
    for k in range(3):
        z[label == k] = densities.sample(k, int((label == k).sum()), seed + 1)
    return z, label


def write_scores(path: Path, z: Array, label: NDArray[np.int8]) -> None:
    """Write scores with dull kinematics."""
    dull = np.full(len(z), 50.0, dtype=np.float32)
    scores = Scores(np.arange(len(z)), label, dull, dull, ilr_inverse(z))
    with score_writer(path, FLAVOURS, {}) as writer:
        writer.write_table(scores.to_table(FLAVOURS))


def write_extraction(path: Path, pi: Array, starts: int, truth: bool = True) -> None:
    """Write compositions in the form of the mixture fit."""
    rng = np.random.default_rng(11)
    nominal = perturbed(TABLE_1, 0.15, rng)
    begun = [perturbed(nominal, 0.2, rng) for _ in range(starts)]
    ends = [pi, *(perturbed(pi, 0.06, rng) for _ in range(starts - 1))]
    prior = Prior.around(nominal, [0, 1, 2], 0.3)
    write_json(
        path,
        {
            "regions": REGIONS,
            "enriched": FLAVOURS,
            "flavours": FLAVOURS,
            "pi": pi.tolist(),
            "nominal": nominal.tolist(),
            "truth": TABLE_1.tolist() if truth else None,
            "start": begun[0].tolist(),
            "prior": {"mean": prior.mean.tolist(), "covariance": prior.covariance.tolist()},
            "events": [20_000] * 3,
            "starts": [
                {"name": f"start-{n}", "pi": end.tolist(), "log_likelihood": -1e5 - n}
                | {"objective": -1e5 - n, "iterations": 30, "converged": True}
                for n, end in enumerate(ends)
            ],
            "spread": np.std(ends, axis=0).tolist(),
        },
    )


def write_histories(directory: Path, extraction: Extraction) -> dict[str, Path]:
    """Write the iterations of each start, which approach its end exponentially."""
    paths = {}
    for number, entry in enumerate(extraction.starts):
        iteration = np.arange(26 + 4 * number)
        left = np.exp(-iteration / 6.0)[:, None, None]
        # Away from its nominal value first, so that curves of different starts differ.
        begun = extraction.start if number == 0 else extraction.nominal * (1 + 0.05 * number)
        pi = entry["pi"] + left * (begun / begun.sum(axis=1, keepdims=True) - entry["pi"])
        objective = entry["objective"] - 900.0 * np.exp(-iteration / 3.0)
        columns = {"iteration": iteration, "log_likelihood": objective + 3, "objective": objective}
        for r, k in np.ndindex(3, 3):
            columns[f"pi_{REGIONS[r]}_{FLAVOURS[k]}"] = pi[:, r, k]
        path = directory / str(entry["name"]) / "history.csv"
        write_csv(path, columns, digits=10)
        paths[str(entry["name"])] = path
    return paths


def write_uncertainty(directory: Path, jets: list[Array], pi: Array, nominal: Array) -> None:
    """Write feedback and variations as computed for the fitted densities."""
    log_q = [FITTED.log_prob(z) for z in jets]
    prior = Prior.around(nominal, [0, 1, 2], 0.3)
    found = propagate(log_q, pi, [0, 1, 2], prior.covariance, TABLE_1)
    write_json(directory / "feedback.json", {"pi": pi.tolist(), **found.summary()})
    shifts = [variation_record(variation) for variation in found.variations]
    write_json(directory / "variations.json", {"variations": shifts})


def _samples(jets: int, pi: Array, seed: int) -> dict[str, tuple[Array, Array]]:
    """Return ILR coordinates and weights of each sample of a region."""
    simulation, _ = draw(SIMULATION, pi, jets, seed)
    data, _ = draw(DATA, pi, jets, seed + 10)
    one = np.ones(jets)
    weights = np.exp(np.clip(-0.02 * (simulation**2).sum(axis=1), -3, 0))
    return {
        "simulation": (simulation, one),
        "data": (data, one),
        "calibrated": (draw(FITTED, pi, jets, seed + 20)[0], one),
        "truth_target": (draw(DATA, pi, jets, seed + 30)[0], one),
        "reweighted": (simulation, weights / weights.mean()),
        "binned_sf": (0.93 * simulation + 0.02, one),
        "logit_space": (0.9 * simulation - 0.05, one),
    }


def write_closure(directory: Path, jets: int) -> None:
    """Write discriminants and distances of all regions."""
    edges = np.linspace(0.0, 1.0, 21)
    histograms, metrics = [], []
    mixtures = dict(zip(REGIONS, TABLE_1, strict=True)) | {"validation": np.ones(3) / 3}
    for number, (region, pi) in enumerate(mixtures.items()):
        samples = _samples(jets, pi, 100 * number)
        floor, _ = draw(DATA, pi, jets, 100 * number + 50)
        for name in DISCRIMINANTS:
            for kappa in KAPPAS:
                values = {
                    sample: (discriminant(name, ilr_inverse(z), kappa), w)
                    for sample, (z, w) in samples.items()
                }
                data = values["data"][0]
                lowest = _w1(discriminant(name, ilr_inverse(floor), kappa), np.ones(jets), data)
                for sample, (x, w) in values.items():
                    count, _ = np.histogram(x, edges, weights=w)
                    variance, _ = np.histogram(x, edges, weights=w**2)
                    shift = 0.06 * count * np.cos(5 * edges[1:])
                    band = sample == "calibrated"
                    up, down = (
                        count + s * np.abs(shift) if band else count * np.nan for s in (1, -1)
                    )
                    histograms.append(
                        {"region": region, "discriminant": name, "kappa": kappa, "sample": sample}
                        | {"low": edges[:-1], "high": edges[1:], "count": count}
                        | {"variance": variance, "up": up, "down": down}
                    )
                    if sample != "data":
                        metrics.append(
                            {"region": region, "discriminant": name, "kappa": kappa}
                            | {"sample": sample, "w1": _w1(x, w, data), "w1_floor": lowest}
                        )
    write_csv(directory / "discriminants.csv", stack(histograms))
    write_csv(directory / "metrics.csv", {k: [m[k] for m in metrics] for k in metrics[0]})


def _w1(x: Array, weights: Array, y: Array) -> float:
    """Return the Wasserstein distance of weighted x and of y, between quantiles."""
    order = np.argsort(x)
    level = (np.cumsum(weights[order]) - 0.5 * weights[order]) / weights.sum()
    grid = (np.arange(len(y)) + 0.5) / len(y)
    return float(np.abs(np.interp(grid, level, x[order]) - np.sort(y)).mean())


def write_study(root: Path, jets: int = 20_000, starts: int = 3) -> Extraction:
    """Write everything below `root`; the tables are made by the code that the steps call."""
    regions = [draw(DATA, pi, jets, 7 * r) for r, pi in enumerate(TABLE_1)]
    coordinates = [z for z, _ in regions]
    for name, (z, label) in zip(REGIONS, regions, strict=True):
        write_scores(root / f"regions/{name}.parquet", z, label)
    pi = fit_compositions([FITTED.log_prob(z) for z in coordinates], TABLE_1)
    write_extraction(root / "mixture/extraction.json", pi, starts)
    extraction = Extraction.read(root / "mixture/extraction.json")
    write_uncertainty(root / "uncertainty", coordinates, pi, extraction.nominal)
    settings = MixtureTables()
    axes = [cells.Axis.spanning(x, settings) for x in np.concatenate(coordinates).T]
    masses = {
        "before": cells.masses(SIMULATION, axes),
        "after": cells.masses(FITTED, axes),
    }
    compositions = {"before": extraction.start, "after": extraction.pi}
    shifts = count_mixture.read_variations(root / "uncertainty/variations.json", extraction)
    labels = [label for _, label in regions]
    tables = {
        "mixture": (
            count_mixture.count_scores(coordinates, masses, compositions, extraction, axes),
            simplex_tables.MIXTURE,
        ),
        "components": (
            count_mixture.count_components(
                coordinates, labels, masses["after"], shifts, extraction, axes
            ),
            simplex_tables.COMPONENTS,
        ),
        "convergence": (
            count_mixture.merge_histories(
                write_histories(root / "mixture", extraction), extraction
            ),
            simplex_tables.CONVERGENCE,
        ),
    }
    before = {name: SIMULATION.sample(k, jets, 3) for k, name in enumerate(FLAVOURS)}
    after = {name: moved(z) for name, z in before.items()}
    result = count_displacements.count(before, after, DisplacementTables())
    tables["displacements_plane"] = (result.plane, simplex_tables.PLANE)
    tables["displacements_simplex"] = (result.simplex, simplex_tables.SIMPLEX)
    for name, (columns, schema) in tables.items():
        simplex_tables.write(root / f"tables/{name}.parquet", columns, schema, {})
    write_pairs(root / "tables/displacements_density.parquet", result.densities, {})
    write_closure(root / "closure", jets)
    return extraction
