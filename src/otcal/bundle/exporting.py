"""Export the maps of a finished study as a bundle: ONNX models, scale factors and model card."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnx.version_converter
import torch
from numpy.typing import NDArray

from otcal.bundle.calibration import Calibration
from otcal.bundle.card import NOMINAL, Card, Range, write_card
from otcal.bundle.card import Head as HeadFile
from otcal.bundle.graph import OPSET
from otcal.bundle.latent_study import latent_scale_factors
from otcal.bundle.onnx_head import OUTPUTS, head_model
from otcal.bundle.onnx_map import map_model, probability_model
from otcal.bundle.scale_factors import correction_set
from otcal.closure.simplex_samples import variation_files
from otcal.config.bundle import BundleConfig, LatentBundleConfig
from otcal.config.splits import Splits
from otcal.runtime.errors import InputError
from otcal.runtime.files import atomic_directory, read_json, write_text
from otcal.runtime.provenance import record
from otcal.runtime.weights import description_path
from otcal.samples import tables
from otcal.samples.flavours import FLAVOURS, index
from otcal.samples.latents import labels_of, read_latents
from otcal.tagger.head import load_head
from otcal.tagger.head_model import load_head_model
from otcal.transport.fitted import TransportMap
from otcal.transport.flavour_samples import Sample, simulated
from otcal.transport.simplex_maps import SimplexMap

Study = Literal["simplex", "latent"]

AGREEMENT = 1e-5
"""Largest difference of an exported model to its map, in units of the largest output or 1."""

CHECKED = 10_000
"""Most jets that an exported model is compared on."""

SCALE_FACTORS = "scale_factors.json"


SETTINGS: dict[str, type[BundleConfig] | type[LatentBundleConfig]] = {
    "simplex": BundleConfig,
    "latent": LatentBundleConfig,
}
"""Settings of an export, by study."""


def export_bundle(
    study: Study,
    directory: Path,
    output: Path,
    spec: BundleConfig | LatentBundleConfig,
    force: bool = False,
) -> Card:
    """Write a bundle from the files of a finished study, and return its card.

    Parameters
    ----------
    study
        Which study the files are of.
    directory
        Its directory, such as ``results/simplex``.
    output
        Directory to write; it appears whole or not at all.
    spec
        Working points of the scale factors: an instance of the study's `SETTINGS`.
    force
        Replace an output that exists.

    Raises
    ------
    InputError
        When a file of the study is missing or not what it should be, when the output exists, or
        when an exported model does not agree with its map.
    """
    if output.exists() and not force:
        raise InputError(output, "directory", "exists", "Choose another name, or pass --force")
    if output.exists() and not output.is_dir():
        raise InputError(output, "directory", "is a file", "Choose another name")
    if not isinstance(spec, SETTINGS[study]):
        raise TypeError(f"{study} needs {SETTINGS[study].__name__}")
    with atomic_directory(output) as temporary:
        if isinstance(spec, BundleConfig):
            return _export_simplex(directory, temporary, spec)
        return _export_latent(directory, temporary, spec)


def _export_simplex(study: Path, output: Path, spec: BundleConfig) -> Card:
    scores = study / "scores/simulation.parquet"
    nominal = {name: study / f"maps/{name}/nominal.safetensors" for name in FLAVOURS}
    lists = {name: study / f"maps/{name}/variations.json" for name in FLAVOURS}
    settings = tables.read_provenance(scores).get("spec", {})
    given = _common_conditions(nominal)
    columns = tuple(f"p_{name}" for name in FLAVOURS)
    maps: dict[str, dict[str, str]] = {}
    validity, jets, test, agreement = {}, {}, {}, 0.0
    for name in FLAVOURS:
        shares = _splits(nominal[name])
        train, test[name] = (
            _single(Sample.of(simulated(scores, name, shares, split), given))
            for split in ("train", "test")
        )
        values = np.concatenate([train.p, train.conditions], axis=1)
        validity[name] = {
            column: _range(values[:, [k]]) for k, column in enumerate((*columns, *given))
        }
        jets[name] = {"train": len(train), "test": len(test[name])}
        paths = {NOMINAL: nominal[name], **variation_files(lists[name])}
        checked = test[name].select(np.arange(min(CHECKED, len(test[name]))))
        maps[name], largest = _write_flavour(name, paths, output, checked)
        agreement = max(agreement, largest)
    card = Card(
        study="simplex",
        kind="probabilities",
        columns=columns,
        width=1,
        conditions=given,
        floor=settings.get("floor"),
        normalise=settings.get("files", {}).get("normalise", False),
        label="label",
        labels={index(name): name for name in FLAVOURS},
        maps=maps,
        validity=validity,
    )
    _check_variations(maps, lists)
    _write_scale_factors(output, card, test, spec)
    uncertainty = study / "uncertainty/variations.json"
    inputs = [scores, *nominal.values(), *lists.values(), uncertainty, study / "summary.json"]
    summary = _summary(study)
    notes = {
        "provenance": _provenance(spec, inputs, list(nominal.values()), jets),
        "closure": _below(summary, "simplex.closure."),
        "uncertainties": {
            "covers": "fractions of the control regions; not the flows' statistical error",
            "variations": _variations(uncertainty),
            "composition": _below(summary, "simplex.composition."),
        },
        "agreement": {"largest_difference": agreement, "required": AGREEMENT},
    }
    card = replace(card, notes=notes)
    write_card(output, card)
    return card


def _common_conditions(maps: Mapping[str, Path]) -> tuple[str, ...]:
    """Return the conditions of all flavours' maps, which are fitted with the same."""
    found = {path: tuple(_notes(path).get("conditions", ())) for path in maps.values()}
    first, *others = found
    for path in others:
        if found[path] != found[first]:
            raise InputError(
                path,
                "conditions",
                f"are {', '.join(found[path]) or 'none'}",
                f"{first} has {', '.join(found[first]) or 'none'}: run fit_flavour_map again",
            )
    return found[first]


def _single(sample: Sample) -> Sample:
    """Return jets in single precision, as the models take them."""
    return Sample(sample.p.astype(np.float32), sample.conditions.astype(np.float32))


def _write_flavour(
    flavour: str, paths: Mapping[str, Path], output: Path, jets: Sample
) -> tuple[dict[str, str], float]:
    """Write the models of a flavour; equal maps share one. Return files and largest difference."""
    written: dict[bytes, str] = {}
    files, largest = {}, 0.0
    for variation, path in paths.items():
        flavour_map = SimplexMap.load(path, flavour)
        model = probability_model(flavour_map.map, flavour_map.space, {"flavour": flavour})
        content = model.SerializeToString(deterministic=True)
        key = hashlib.sha256(content).digest()
        if key not in written:
            written[key] = f"{flavour}-{variation}.onnx"
            onnx.save(model, output / written[key])
            expected = flavour_map(jets.p.astype(np.float64), jets.conditions).p
            given = [jets.conditions] if flavour_map.conditions else []
            found = _difference(output / written[key], [jets.p, *given], [expected])
            largest = max(largest, found)
        files[variation] = written[key]
    return files, largest


def _check_variations(maps: Mapping[str, Mapping[str, str]], lists: Mapping[str, Path]) -> None:
    first, *others = maps
    for name in others:
        if list(maps[name]) != list(maps[first]):
            raise InputError(
                lists[name],
                "maps",
                f"are of {', '.join(maps[name])}",
                f"{lists[first]} has {', '.join(maps[first])}: run vary_flavour_maps again",
            )


def _write_scale_factors(
    output: Path, card: Card, test: Mapping[str, Sample], spec: BundleConfig
) -> None:
    calibration = Calibration(output, card, threads=1)
    moved = {}
    for name, jets in test.items():
        columns = dict(zip(card.columns, jets.p.T, strict=True))
        columns |= dict(zip(card.conditions, jets.conditions.T, strict=True))
        columns[card.label] = np.full(len(jets), index(name))
        new = calibration(columns)
        moved[name] = {
            variation: np.stack(
                [new[_column(part, variation)] for part in card.columns], axis=1
            ).astype(np.float64)
            for variation in (NOMINAL, *card.variations)
        }
    raw = {name: jets.p.astype(np.float64) for name, jets in test.items()}
    write_text(output / SCALE_FACTORS, correction_set(raw, moved, spec.working_points) + "\n")


def _column(name: str, variation: str) -> str:
    return f"calibrated_{name}" + ("" if variation == NOMINAL else f"_{variation}")


def _export_latent(study: Path, output: Path, spec: LatentBundleConfig) -> Card:
    path, source = study / "transport/map.safetensors", study / "latents/source.parquet"
    transport_map = TransportMap.load(path)
    settings = _notes(path)["provenance"]["spec"]
    layer, names = settings["layer"], settings["classes"]
    given = _notes(path).get("conditions", [])
    labels = labels_of(source, names)
    shares = Splits(**settings["splits"]).fractions()
    train = read_latents(source, [layer, *given], shares, "train", labels, output)
    tested = read_latents(source, [layer, *given], shares, "test", labels)
    test = tested[layer][:CHECKED]
    inputs = [test]
    if given:
        inputs.append(np.stack([tested[name][:CHECKED] for name in given], axis=1))
    onnx.save(map_model(transport_map, {"layer": layer}), output / "map.onnx")
    moved = transport_map.transport(*inputs)
    agreement = _difference(output / "map.onnx", inputs, [moved])
    foreign = tables.read_provenance(source).get("step") == "read_latents"
    tagger = study / ("head/head.onnx" if foreign else "tagger/tagger.safetensors")
    head, layers = (_copied_head if foreign else _own_head)(tagger, output / "head.onnx", moved)
    agreement = max(agreement, _difference(output / "head.onnx", [moved], layers))
    by_class = dict(zip(names, labels, strict=True))
    factors, others = latent_scale_factors(study, by_class, shares, spec.working_points)
    write_text(output / SCALE_FACTORS, factors + "\n")
    files = [path, description_path(path), source, tagger, *others]
    summary = _summary(study)
    notes = {
        "provenance": _provenance(spec, files, [path], {"map": {"train": len(train[layer])}}),
        "classes": dict(zip(map(str, labels), names, strict=True)),
        "closure": _below(summary, "latent.auc.") | _below(summary, "latent.map."),
        "uncertainties": {
            "covers": "of scale factors: finite simulated samples, and what the map leaves of the "
            "difference to the target; moved jets have no variations",
            "variations": [],
        },
        "agreement": {"largest_difference": agreement, "required": AGREEMENT},
    }
    card = Card(
        study="latent",
        kind="latent",
        columns=(layer,),
        width=transport_map.dimension,
        conditions=tuple(given),
        floor=None,
        normalise=False,
        label="label",
        labels=dict.fromkeys(labels, "map"),
        maps={"map": {NOMINAL: "map.onnx"}},
        validity={"map": {name: _range(np.asarray(train[name])) for name in (layer, *given)}},
        head=head,
        notes=notes,
    )
    write_card(output, card)
    return card


def _own_head(
    path: Path, output: Path, z: NDArray[np.float32]
) -> tuple[HeadFile, list[NDArray[Any]]]:
    """Write the rest of our tagger's head; return what the card says, and its layers of `z`."""
    head = load_head(path)
    onnx.save(head_model(head), output)
    with torch.no_grad():
        layers = [values.numpy() for values in head.from_z128(torch.from_numpy(z))]
    return HeadFile(output.name, dict(zip(OUTPUTS, head.widths[1:], strict=True))), layers


def _copied_head(
    path: Path, output: Path, z: NDArray[np.float32]
) -> tuple[HeadFile, list[NDArray[Any]]]:
    """Do the same for the head of another tagger, whose outputs keep their names."""
    head = load_head_model(path, threads=1)
    names = (head.spec.zp128, head.spec.z10)
    model = onnx.load(path)  # weights in files beside it would come along
    if any(one.domain in ("", "ai.onnx") and one.version < OPSET for one in model.opset_import):
        model = onnx.version_converter.convert_version(model, OPSET)
    outputs = {one.name: one for one in model.graph.output}
    del model.graph.output[:]
    model.graph.output.extend(outputs[name] for name in names)
    onnx.save(model, output)
    return HeadFile(output.name, dict(zip(names, head.widths, strict=True))), list(head(z))


def _difference(
    path: Path, inputs: list[NDArray[np.float32]], expected: list[NDArray[Any]]
) -> float:
    """Return the largest difference of a model's outputs to those expected, checked.

    It is in units of the largest number expected of an output, or absolute where that is below one.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    found = session.run(None, dict(zip(names, inputs, strict=True)))
    largest = 0.0
    for a, b in zip(found, expected, strict=True):
        difference = float(np.abs(a - b).max(initial=0.0))
        difference /= max(1.0, float(np.abs(b).max(initial=0.0)))
        largest = max(largest, difference if np.isfinite(difference) else np.inf)
    if not largest < AGREEMENT:
        raise InputError(
            path.name,
            "outputs",
            f"differ from the map's by {largest:.2g} on onnxruntime {onnxruntime.__version__}",
            "Use another version of onnxruntime",
        )
    return largest


def _range(values: NDArray[np.float32]) -> Range:
    return Range(values.min(axis=0), values.max(axis=0))


def _notes(path: Path) -> dict[str, Any]:
    notes = read_json(description_path(path)).get("notes", {})
    if "provenance" not in notes:
        raise InputError(
            description_path(path), "notes.provenance", "is missing", "Fit the map in the workflow"
        )
    return dict(notes)


def _splits(path: Path) -> Splits:
    return Splits(**_notes(path)["provenance"]["spec"]["splits"])


def _provenance(
    spec: BundleConfig | LatentBundleConfig,
    inputs: list[Path],
    maps: list[Path],
    jets: Mapping[str, Any],
) -> dict[str, Any]:
    """Say with which settings, seeds, jets and code the maps were fitted and exported."""
    fits = {path.parent.name: _notes(path)["provenance"] for path in maps}
    settings = {name: fit["spec"] for name, fit in fits.items()}
    text = json.dumps(settings, sort_keys=True)
    return {
        "export": record("export_bundle", spec.model_dump(mode="json"), inputs),
        "fits": fits,
        "seeds": {name: fit["seed"] for name, fit in fits.items()},
        "settings_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "jets": jets,
    }


def _summary(study: Path) -> dict[str, float]:
    return dict(read_json(study / "summary.json"))


def _below(summary: Mapping[str, float], prefix: str) -> dict[str, float]:
    return {key: value for key, value in summary.items() if key.startswith(prefix)}


def _variations(path: Path) -> list[dict[str, Any]]:
    content = read_json(path)
    try:
        return [dict(one) for one in content["variations"]]
    except (KeyError, TypeError, ValueError):
        raise InputError(
            path, "variations", "are missing", "Pass the output of propagate_uncertainty"
        ) from None
