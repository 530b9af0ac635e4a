"""What time, capacity and jets of the latent study's map buy: AUC of a retrained discriminator.

Needs the latents and the tagger of a finished study. Every row fits the map again with one setting
changed, moves the source's jets, and trains the study's discriminators anew on moved jets against
target jets that no fit has seen: in the layer of the map and in the tagger's outputs. Steps run as
the workflow runs them, on one thread. Rows are kept in `closure.csv`; a second run adds those that
are missing.

    python benchmarks/latent_closure.py --study results/latent --output results/latent_closure
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from matplotlib.ticker import NullLocator

from otcal.config.study import LatentStudy, load_settings
from otcal.config.transport import MapSpec
from otcal.figures import style

STEPS = (0, 125, 250, 500, 1000, 2000, 4000, 8000)
"""Of the fit; 0 for the Gaussian map alone."""
UNITS = (16, 32, 64, 128, 256)
LAYERS = ("z128", "z10")
"""Where discriminators are trained."""
SHARES = (0.0625, 0.125, 0.25, 0.5)
"""Of the jets, for training the map."""


def variants(spec: MapSpec) -> dict[str, dict[str, MapSpec]]:
    """Return the settings to try: by what is changed, and by its value."""

    def changed(**settings: Any) -> MapSpec:
        return MapSpec.model_validate({**spec.model_dump(), **settings})

    def with_units(units: int) -> MapSpec:
        hidden = [units] * len(spec.convex.hidden)
        return changed(convex={**spec.convex.model_dump(), "hidden": hidden})

    def with_share(share: float) -> MapSpec:
        # Jets fill [0, 1) from the left: what trains here is not among the jets that test there.
        rest = 1 - share - spec.splits.validation
        return changed(splits={**spec.splits.model_dump(), "train": share, "test": rest})

    return {
        "steps": {
            str(steps): changed(steps=steps) if steps else changed(method="gaussian")
            for steps in STEPS
        },
        "units": {str(units): with_units(units) for units in UNITS},
        "share": {str(share): with_share(share) for share in SHARES if share <= spec.splits.train},
    }


def step(name: str, spec: str, *options: str | Path) -> float:
    """Run a step of the workflow on one thread; return its CPU seconds."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", f"otcal.steps.{name}", "--spec", spec, "--threads", "1"]
    before = os.times()
    subprocess.run([*command, *map(str, options)], env=environment, check=True)
    after = os.times()
    user, system = (
        getattr(after, n) - getattr(before, n) for n in ("children_user", "children_system")
    )
    return user + system


def measure(
    spec: MapSpec | None, study: LatentStudy, folder: Path, scratch: Path
) -> dict[str, Any]:
    """Fit, move, discriminate; without a map, between halves of the target."""
    latents = {name: folder / f"latents/{name}.parquet" for name in ("source", "target")}
    if spec is None:
        return discriminate(study, latents["target"], scratch)
    fitted, moved = scratch / "map.safetensors", scratch / "calibrated.parquet"
    diagnostics = scratch / "diagnostics.json"
    seconds = step(
        "fit_map",
        spec.model_dump_json(),
        *("--source", latents["source"], "--target", latents["target"], "--output", fitted),
        *("--learning-curve", scratch / "curve.csv"),
        *("--diagnostics", diagnostics),
    )
    step(
        "calibrate",
        json.dumps({"classes": spec.classes}),
        *("--source", latents["source"], "--map", fitted, "--output", moved),
        *("--tagger", folder / "tagger/tagger.safetensors"),
    )
    winner = json.loads(diagnostics.read_text())["winner"]
    found = discriminate(study, latents["target"], scratch, moved)
    return {"fit_cpu_s": seconds, "map": winner, **found}


def discriminate(
    study: LatentStudy, target: Path, scratch: Path, calibrated: Path | None = None
) -> dict[str, float]:
    """Train discriminators on moved jets against the target, or on two halves of the target."""
    jets = study.closure.selection(study.splits.fractions(), study.transport.classes)
    output = scratch / "discriminator.json"
    found = {}
    for layer in LAYERS:
        step(
            "train_discriminator",
            study.closure.discriminator(jets, "mlp", study.seed).model_dump_json(),
            *("--layer", layer, "--target", target),
            *("--training", "floor" if calibrated is None else "retrained"),
            *(() if calibrated is None else ("--calibrated", calibrated)),
            *("--output", output, "--scores", scratch / "scores.parquet"),
        )
        (figures,) = json.loads(output.read_text())["evaluations"].values()
        found |= {f"auc_{layer}": figures["auc"], f"std_{layer}": figures["std"]}
    return found


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--study", type=Path, default=Path("results/latent"), help="finished study")
    parser.add_argument("--config", type=Path, default=Path("config.yaml"), help="of the study")
    parser.add_argument("--output", type=Path, default=Path("results/latent_closure"))
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    study = load_settings(yaml.safe_load(arguments.config.read_text())).latent
    path = arguments.output / "closure.csv"
    rows = pd.read_csv(path, dtype={"value": str}).to_dict("records") if path.exists() else []
    arguments.output.mkdir(parents=True, exist_ok=True)
    jobs: list[tuple[str, str, MapSpec | None]] = [("floor", "-", None)]
    for changed, values in variants(study.map_spec()).items():
        jobs += [(changed, value, spec) for value, spec in values.items()]
    known = {(row["changed"], row["value"]): row for row in rows}
    measured: dict[str, dict[str, Any]] = {}  # the study's own settings are in every series
    for changed, value, spec in jobs:
        same = "" if spec is None else spec.model_dump_json()
        row = known.get((changed, value))
        if row is None:
            with tempfile.TemporaryDirectory(dir=arguments.output) as name:
                found = measured.get(same) or measure(spec, study, arguments.study, Path(name))
            row = {"changed": changed, "value": value, **found}
            rows.append(row)
            pd.DataFrame(rows).to_csv(path, index=False, float_format="%.5g")
            print(row, flush=True)
        measured[same] = {key: row[key] for key in row if key not in ("changed", "value")}
    draw(pd.DataFrame(rows), study, arguments.output / "closure")


def draw(table: pd.DataFrame, study: LatentStudy, stem: Path) -> None:
    """Draw the AUC against the fit's time, the units of a layer and the training jets."""
    jets = sum(study.simulation.datasets["source"].jets.values())
    floor = table[table["changed"] == "floor"].iloc[0]
    figure = style.new(4.2, 10.8)
    figure.set_layout_engine("constrained", h_pad=0.06, w_pad=0.06)
    grid = figure.subplots(1, 3, sharey=True)
    places = {
        "steps": (lambda rows: rows["fit_cpu_s"], "CPU time of the fit (s)"),
        "units": (lambda rows: rows["value"].astype(int), "units per layer"),
        "share": (lambda rows: rows["value"].astype(float) * jets, "training jets per sample"),
    }
    for axes, (changed, (x, label)) in zip(grid, places.items(), strict=True):
        rows = table[table["changed"] == changed]
        for layer, marker in zip(LAYERS, ("o-", "s--"), strict=True):
            auc, error = rows[f"auc_{layer}"], rows[f"std_{layer}"]
            axes.errorbar(x(rows), auc, error, fmt=marker, capsize=3, label=layer)
        centre, half = (floor[f"{name}_{LAYERS[0]}"] for name in ("auc", "std"))
        axes.axhspan(centre - half, centre + half, color="0.8", label="two halves of the target")
        axes.set(xscale="log", xlabel=label)
        axes.margins(0.1)
        if changed != "steps":
            axes.set_xticks(x(rows), [f"{value:,.0f}" for value in x(rows)])
            axes.xaxis.set_minor_locator(NullLocator())
    grid[0].set_ylabel("AUC of a retrained discriminator")
    grid[0].legend()
    style.save(figure, stem)


if __name__ == "__main__":
    main()
