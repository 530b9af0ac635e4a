"""Apply the transport map to the source's latents and run the rest of the tagger's head again.

Jets of the calibrated classes of every split are moved in z128; z'128 and z'10 follow from the
moved z128. Jets of other classes are left out: no map was fitted for them. Jets keep their ids,
their kinematics and their order, so the output can be compared with the source jet by jet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from otcal.config.transport import CalibrateSpec
from otcal.runtime import cli, device
from otcal.runtime.errors import InputError
from otcal.runtime.files import read_json
from otcal.runtime.progress import progress
from otcal.runtime.provenance import record
from otcal.runtime.weights import description_path
from otcal.samples import tables
from otcal.samples.latents import (
    LAYERS,
    iterate_latents,
    kind_of,
    labels_of,
    latent_writer,
)
from otcal.tagger.head import load_head
from otcal.tagger.head_model import load_head_model
from otcal.transport.fitted import TransportMap

Array = NDArray[np.float32]
Rest = Callable[[Array], tuple[Array, Array]]
"""The rest of the head: from z128 to z'128 and z'10."""


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--source", type=Path, required=True, help="latents to be moved (Parquet)")
    parser.add_argument("--map", type=Path, required=True, help="map.safetensors")
    parser.add_argument(
        "--tagger",
        type=Path,
        required=True,
        help="tagger.safetensors, or head.onnx of another tagger",
    )
    parser.add_argument("--output", type=Path, required=True, help="calibrated latents (Parquet)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    arguments = parser.parse_args(argv)
    spec = cli.load_spec(arguments.spec, CalibrateSpec)
    device.limit_threads(arguments.threads)
    place = device.resolve(arguments.device)
    rest, width = _rest(arguments.tagger, place, arguments.threads)
    transport_map, conditions = _load(arguments.map, width)
    transport_map = transport_map.to(place)
    kind = kind_of(arguments.source)
    labels = pa.array(labels_of(arguments.source, spec.classes), pa.int8())
    inputs = [arguments.source, arguments.map, arguments.tagger]
    provenance = record("calibrate", spec.model_dump(mode="json"), inputs)
    columns = [name for name in kind.schema.names if name not in ("zp128", "z10")]
    total = tables.row_count(arguments.source)
    written = 0
    with (
        latent_writer(arguments.output, provenance, kind) as writer,
        progress(total, "calibrate", "jets") as bar,
    ):
        for piece in iterate_latents(arguments.source, columns):
            bar.advance(len(piece))
            chosen = piece.filter(pc.is_in(piece["label"], value_set=labels))
            if len(chosen) == 0:
                continue
            writer.write_table(_calibrate(chosen, transport_map, rest, conditions, kind.schema))
            written += len(chosen)
        if written == 0:
            raise InputError(
                arguments.source,
                "label",
                f"has no jet of {', '.join(spec.classes)}",
                "Correct classes, or give the latents of another sample",
            )


def _rest(path: Path, place: torch.device, threads: int | None) -> tuple[Rest, int]:
    """Return the rest of a tagger's head, and the width of its latent."""
    if path.suffix == ".onnx":
        model = load_head_model(path, threads)
        return model, model.width
    head = load_head(path).to(place)

    @torch.no_grad()
    def rest(z128: Array) -> tuple[Array, Array]:
        zp128, z10 = head.from_z128(torch.from_numpy(z128).to(place))
        return zp128.cpu().numpy(), z10.cpu().numpy()

    return rest, head.widths[0]


def _load(map_path: Path, width: int) -> tuple[TransportMap, list[str]]:
    """Return the map of a latent of this width, and the columns on which it depends."""
    transport_map = TransportMap.load(map_path)
    notes = read_json(description_path(map_path))["notes"]
    layer, conditions = notes.get("layer", "z128"), notes.get("conditions", [])
    if layer != "z128" or width != transport_map.dimension:
        raise InputError(
            map_path,
            "layer",
            f"is a map of {layer} with {transport_map.dimension} features",
            f"This tagger's head continues from z128 with {width} features",
        )
    if len(conditions) != transport_map.conditions:
        raise InputError(
            description_path(map_path),
            "notes.conditions",
            f"names {len(conditions)} columns, the map depends on {transport_map.conditions}",
            "Fit the map again",
        )
    return transport_map, conditions


def _calibrate(
    jets: pa.Table,
    transport_map: TransportMap,
    rest: Rest,
    conditions: Sequence[str],
    schema: pa.Schema,
) -> pa.Table:
    """Return the jets with all three layers recomputed, in their schema."""
    given = [tables.to_numpy(jets[name]) for name in conditions]
    moved = transport_map.transport(
        tables.to_numpy(jets["z128"]), np.stack(given, axis=1) if given else None
    )
    layers = dict(zip(LAYERS, (moved, *rest(moved)), strict=True))
    arrays = [
        tables.fixed_size_list(np.asarray(layers[name], dtype=np.float32))
        if name in LAYERS
        else jets[name]
        for name in schema.names
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


if __name__ == "__main__":
    cli.run(main)
