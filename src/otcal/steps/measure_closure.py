"""Compare calibrated simulation with the data of all regions, in discriminants and at many κ."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from otcal.closure.simplex_bands import make_bands
from otcal.closure.simplex_closure import compare
from otcal.closure.simplex_jets import FlavourJets, compose, order, region_counts
from otcal.closure.simplex_samples import assemble, pair_names, variation_files
from otcal.closure.simplex_versions import (
    Densities,
    LogDensities,
    Map,
    add_shortcut,
    make_versions,
)
from otcal.closure.vertical import ScaleFactors, b_score, scale_factors, working_points
from otcal.config.simplex_closure import SimplexClosureSpec
from otcal.mixture.feedback import enriched_regions
from otcal.mixture.flows import Components
from otcal.mixture.points import join
from otcal.runtime import cli, device
from otcal.runtime.errors import InputError
from otcal.runtime.files import atomic_path, read_json, write_json
from otcal.runtime.progress import progress
from otcal.runtime.provenance import record
from otcal.samples import splits
from otcal.samples.flavours import FLAVOURS
from otcal.samples.scores import Scores, read_scores
from otcal.transport.flavour_samples import extracted, simulated
from otcal.transport.simplex_maps import SimplexMap

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    names = ", ".join(FLAVOURS)
    parser.add_argument("--simulation", type=Path, required=True, help="scores of simulated jets")
    parser.add_argument(
        "--regions", type=Path, nargs="+", required=True, help="scores of the regions' data jets"
    )
    for option, text, required in (
        ("maps", f"nominal maps of {names}", True),
        ("variation-maps", f"lists of the variations' maps of {names}", True),
        ("targets", f"samples of the extracted densities of {names}", True),
        ("truth-maps", f"maps of {names} to labelled data", False),
        ("logit-maps", f"maps of {names} in the logits of single classes", False),
    ):
        parser.add_argument(
            f"--{option}", type=Path, nargs=len(FLAVOURS), required=required, help=text
        )
    for option, text in (
        ("pretrained", "flows of the simulation (safetensors)"),
        ("flows", "extracted flows (safetensors)"),
        ("extraction", "the fit (JSON)"),
        ("variations", "shifts of the fit (JSON)"),
        ("discriminants", "histograms to write (CSV)"),
        ("metrics", "figures of merit to write (CSV)"),
        ("diagnostics", "compositions, leakage and scale factors to write (JSON)"),
    ):
        parser.add_argument(f"--{option}", type=Path, required=True, help=text)
    options = parser.parse_args(argv)
    spec = cli.load_spec(options.spec, SimplexClosureSpec)
    device.limit_threads(options.threads)

    scores = [simulated(options.simulation, flavour, spec.splits) for flavour in FLAVOURS]
    jets, pairs, diagnostics = _versions(options, spec, scores)
    with progress(len(spec.discriminants) * len(spec.kappas), "bands", "bands") as bar:
        bands = make_bands(jets, pairs, spec, bar.advance)
    ranked = [_test_jets(one, spec) for one in scores]
    fractions = _fitted_fractions(options.extraction)
    histograms, metrics = [], []
    diagnostics["regions"] = {}
    with progress(len(options.regions), "closure", "regions") as bar:
        for path in options.regions:
            data = read_scores(path, FLAVOURS)
            wanted = region_counts(path, data, FLAVOURS, fractions.get(path.stem))
            counts = compose(wanted, np.array([len(rank) for rank in ranked]))
            if not counts.any():
                raise InputError(
                    path, "label", "has no flavour with simulated jets", "Simulate more jets"
                )
            rows = [rank[:count] for rank, count in zip(ranked, counts, strict=True)]
            known = data.labels if (data.labels >= 0).all() else None
            region = assemble(path.stem, data.p, jets, rows, known)
            tables = compare(region, bands, spec, spec.seed)
            histograms.append(tables[0])
            metrics.append(tables[1])
            diagnostics["regions"][path.stem] = {
                "data_jets": len(data),
                "simulated_jets": dict(zip(FLAVOURS, counts.tolist(), strict=True)),
            }
            bar.advance(note=path.stem)
    inputs = [options.simulation, *options.regions, *options.maps, *options.variation_maps]
    inputs += [*(options.truth_maps or []), *(options.logit_maps or []), *options.targets]
    inputs += [options.pretrained, options.flows, options.extraction, options.variations]
    provenance = record("measure_closure", spec.model_dump(mode="json"), inputs, spec.seed)
    _write(options.discriminants, histograms)
    _write(options.metrics, metrics)
    write_json(options.diagnostics, {**diagnostics, "provenance": provenance})


def _versions(
    options: Any, spec: SimplexClosureSpec, scores: Sequence[Scores]
) -> tuple[list[FlavourJets], list[tuple[str, str]], dict[str, Any]]:
    """Return all versions of each flavour's jets, the variations' pairs, and diagnostics."""
    simulation, data = Components.load(options.pretrained), Components.load(options.flows)
    shifts = _shifts(options.variations)
    factors = _scale_factors(options, spec)
    jets, leakage, names = [], {}, list(shifts[0])
    for number, (flavour, one) in enumerate(zip(FLAVOURS, scores, strict=True)):
        paths = {"calibrated": options.maps[number]}
        if options.truth_maps:
            paths["truth_target"] = options.truth_maps[number]
        if options.logit_maps:
            paths["logit_space"] = options.logit_maps[number]
        files = variation_files(options.variation_maps[number])
        if set(files) != set(names):
            raise InputError(
                options.variation_maps[number],
                "maps",
                f"are of {', '.join(files) or 'no variation'}",
                f"{options.variations.name} has: {', '.join(names)}",
            )
        densities = Densities(_density(simulation, one), _density(data, one))
        versions, leakage[flavour] = make_versions(
            one.p,
            number,
            {name: _map(path, flavour, one) for name, path in paths.items()},
            {name: _map(files[name], flavour, one) for name in names},
            densities,
            factors[number],
            spec.tagging.charm_share,
        )
        add_shortcut(versions, number, shifts[number], densities.data, spec.ratio_limit)
        jets.append(versions)
        log.info("%s: %d simulated jets", flavour, len(one))
    diagnostics = {
        "leakage": leakage,
        "working_points": factors[0].thresholds.tolist(),
        "scale_factors": {
            name: one.factors.tolist() for name, one in zip(FLAVOURS, factors, strict=True)
        },
    }
    return jets, pair_names(names, options.variations), diagnostics


def _map(path: Path, flavour: str, jets: Scores) -> Map:
    """Return a map of probabilities of these jets, each at its own conditions."""
    found = SimplexMap.load(path, flavour)
    return partial(found, conditions=jets.conditions(found.conditions))


def _density(components: Components, jets: Scores) -> LogDensities:
    """Return log-densities of probabilities of these jets, each at its own conditions."""
    names = components.conditions
    given = jets.conditions(names)
    return lambda p: components.log_prob(join(p, given, names))


def _test_jets(scores: Scores, spec: SimplexClosureSpec) -> NDArray[np.int64]:
    """Return the positions of the jets that no map was fitted to, in a random order."""
    unseen = splits.select(scores.ids, spec.splits.fractions(), spec.split)
    ranked = order(scores.ids, spec.seed)
    return ranked[unseen[ranked]]


def _scale_factors(options: Any, spec: SimplexClosureSpec) -> list[ScaleFactors]:
    """Measure scale factors with the jets that the maps were fitted to."""
    share = spec.tagging.charm_share
    scores = [
        b_score(simulated(options.simulation, flavour, spec.splits, "train").p, share)
        for flavour in FLAVOURS
    ]
    thresholds = working_points(scores[FLAVOURS.index("b")], spec.tagging.efficiencies)
    targets = [b_score(extracted(path).p, share) for path in options.targets]
    return [scale_factors(x, y, thresholds) for x, y in zip(scores, targets, strict=True)]


def _shifts(path: Path) -> list[dict[str, Any]]:
    """Return δπ of the region enriched in each flavour, by variation."""
    content = read_json(path)
    try:
        enriched = [FLAVOURS.index(name) for name in content["enriched"]]
        regions = enriched_regions(np.array(content["pi"]), enriched)
        return [
            {one["name"]: np.array(one["delta_pi"])[region] for one in content["variations"]}
            for region in regions
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            path, str(error), "is not usable", "Pass the variations of propagate_uncertainty"
        ) from None


def _fitted_fractions(path: Path) -> dict[str, dict[str, float]]:
    content = read_json(path)
    return {
        region: dict(zip(content["flavours"], row, strict=True))
        for region, row in zip(content["regions"], content["pi"], strict=True)
    }


def _write(path: Path, tables: list[pd.DataFrame]) -> None:
    with atomic_path(path) as temporary:
        pd.concat(tables, ignore_index=True).to_csv(temporary, index=False, float_format="%.8g")


if __name__ == "__main__":
    cli.run(main)
