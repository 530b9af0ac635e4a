"""Put the mixture fit into tables: regions before and after it, components with bands, convergence.

[KY] = Kim, Yang (arXiv:2605.01363).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otcal.figures.cells import Axis, project
from otcal.figures.extraction import Extraction, matrix, take
from otcal.figures.tables import Columns, read, stack
from otcal.runtime.files import read_json

Array = NDArray[np.float64]

FEATURES = ("z1", "z2")


def varied(cells: Array, shift: Array, regions: Sequence[int]) -> Array:
    """Return components for shifted compositions, q_f + Σ_h δπ_{r_f,h} (q_f − q_h) (KY 34).

    Parameters
    ----------
    cells
        Cell masses of the components, shape (K, C1, C2).
    shift
        δπ of all regions, shape (R, K).
    regions
        Number r_f of the region that is enriched in each flavour.

    Returns
    -------
    cells
        What would be negative is zero; each component keeps its sum.
    """
    result = np.empty_like(cells)
    for flavour, region in enumerate(regions):
        moved = cells[flavour] + np.tensordot(shift[region], cells[flavour] - cells, axes=1)
        positive = np.maximum(moved, 0.0)
        result[flavour] = positive * (cells[flavour].sum() / positive.sum())
    return result


def band(nominal: Array, variations: Mapping[str, Array]) -> tuple[Array, Array]:
    """Return upper and lower edge: shifts of all variations in quadrature, each side by itself.

    Variations whose names differ behind the last underscore only (`eigen1_up`, `eigen1_down`) are
    one source of uncertainty: it counts once per side, with its largest shift to that side.
    """
    sources: dict[str, list[Array]] = {}
    for name, values in variations.items():
        sources.setdefault(name.rpartition("_")[0] or name, []).append(values - nominal)
    up, down = np.zeros_like(nominal), np.zeros_like(nominal)
    for shifts in sources.values():
        up += np.maximum(np.max(shifts, axis=0), 0.0) ** 2
        down += np.minimum(np.min(shifts, axis=0), 0.0) ** 2
    return nominal + np.sqrt(up), nominal - np.sqrt(down)


def read_variations(path: Path, extraction: Extraction) -> dict[str, Array]:
    """Read δπ of each variation, shape (R, K), from `variations.json`."""
    shape = extraction.pi.shape
    return {
        str(take(entry, "name", path)): matrix(entry, "delta_pi", shape, path)
        for entry in take(read_json(path), "variations", path)
    }


def count_scores(
    jets: Sequence[Array],
    cells: Mapping[str, Array],
    compositions: Mapping[str, Array],
    extraction: Extraction,
    axes: Sequence[Axis],
) -> Columns:
    """Tabulate each region's jets and the mixtures before and after the fit (KY Fig. 1).

    Parameters
    ----------
    jets
        ILR coordinates of each region's jets, shape (N, 2) each.
    cells, compositions
        Cell masses (K, C1, C2) and compositions (R, K) of `before` and `after`.
    extraction
        Names.
    axes
        Bins.

    Returns
    -------
    columns
        `region`, `enriched`, `feature`, `sample`, `flavour` (`all` for data), `low`, `high`,
        `jets` in the bin: counted for `data`, expected for the mixtures.
    """
    marginals = {sample: project(masses, axes) for sample, masses in cells.items()}
    parts: list[dict[str, Any]] = []
    for r, z in enumerate(jets):
        for d, feature in enumerate(FEATURES):
            common: dict[str, Any] = {"feature": feature, **_bins(axes[d])}
            common |= {"region": extraction.regions[r], "enriched": extraction.enriched[r]}
            counts = np.histogram(z[:, d], axes[d].edges)[0].astype(float)
            parts.append({**common, "sample": "data", "flavour": "all", "jets": counts})
            for sample, marginal in marginals.items():
                scale = len(z) * compositions[sample][r]
                parts += [
                    {**common, "sample": sample, "flavour": name, "jets": scale[k] * marginal[d][k]}
                    for k, name in enumerate(extraction.flavours)
                ]
    return stack(parts)


def count_components(
    jets: Sequence[Array],
    labels: Sequence[NDArray[np.int8]],
    cells: Array,
    variations: Mapping[str, Array],
    extraction: Extraction,
    axes: Sequence[Axis],
) -> Columns:
    """Tabulate π_{r,f} q̂_f with its bands, and the true jets (KY Figs. 5-7).

    Parameters
    ----------
    jets, labels
        ILR coordinates (N, 2) and flavour numbers (N,) of each region's jets.
    cells
        Cell masses of the extracted components, shape (K, C1, C2).
    variations
        δπ of each variation, shape (R, K).
    extraction
        Compositions; without true ones the column `truth` is NaN.
    axes
        Bins.

    Returns
    -------
    columns
        `region`, `enriched`, `feature`, `flavour`, `low`, `high`; in jets per bin `extracted`; band
        edges `shape_up`, `shape_down` of q̂_f alone (KY 49) and `total_up`, `total_down` of the
        product; `truth`.
    """
    order = [extraction.region(flavour) for flavour in extraction.flavours]
    nominal = project(cells, axes)
    shapes = {name: project(varied(cells, d, order), axes) for name, d in variations.items()}
    parts: list[dict[str, Any]] = []
    for r, (z, label) in enumerate(zip(jets, labels, strict=True)):
        for d, feature in enumerate(FEATURES):
            for k, flavour in enumerate(extraction.flavours):
                pi, size = extraction.pi[r, k], float(len(z))
                moved = {name: size * shape[d][k] for name, shape in shapes.items()}
                extracted = size * pi * nominal[d][k]
                shape = band(extracted, {name: pi * m for name, m in moved.items()})
                total = {name: (pi + variations[name][r, k]) * m for name, m in moved.items()}
                whole = band(extracted, total)
                truth = np.histogram(z[label == k, d], axes[d].edges)[0].astype(float)
                parts.append(
                    {"region": extraction.regions[r], "enriched": extraction.enriched[r]}
                    | {"feature": feature, "flavour": flavour}
                    | _bins(axes[d])
                    | {"extracted": extracted, "shape_up": shape[0], "shape_down": shape[1]}
                    | {"total_up": whole[0], "total_down": whole[1]}
                    | {"truth": np.full_like(truth, np.nan) if extraction.truth is None else truth}
                )
    return stack(parts)


def merge_histories(histories: Mapping[str, Path], extraction: Extraction) -> Columns:
    """Put the histories of all starts below one another, one row per iteration and fraction.

    Returns
    -------
    columns
        `start`, `iteration`, `log_likelihood`, `objective`, `region`, `flavour`, `fraction`.
    """
    parts: list[dict[str, Any]] = []
    common = ("iteration", "log_likelihood", "objective")
    names = [(r, f, f"pi_{r}_{f}") for r in extraction.regions for f in extraction.flavours]
    for start, path in histories.items():
        table = read(path, [*common, *(column for *_, column in names)])
        parts += [
            {"start": start, **{name: table[name].astype(float) for name in common}}
            | {"region": region, "flavour": flavour, "fraction": table[column].astype(float)}
            for region, flavour, column in names
        ]
    return stack(parts)


def _bins(axis: Axis) -> dict[str, Array]:
    return {"low": axis.edges[:-1], "high": axis.edges[1:]}
