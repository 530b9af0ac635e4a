"""Small files in the layouts of public data sets, with random content."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
import pyarrow as pa
import uproot

from otcal.samples.jets import CONSTITUENT_FLAGS, CONSTITUENT_FLOATS
from otcal.samples.tables import to_numpy

INTEGER_LABELS = ("label_Zqq", "label_Wqq", "label_Tbqq", "label_Tbl")
"""Stored as int32 in JetClass; label_QCD is a float, the others are bool."""
FLAVOURS = {0: "light", 4: "c", 5: "b"}


def write_jetclass(path: Path, jets: pa.Table, vectors: bool = False) -> None:
    """Write jets of our schema as JetClass does: TTree `tree`, its branches and their types.

    Lists are C arrays with a counter, which uproot can write. With `vectors` their bytes are those
    of the ``std::vector`` that JetClass has, which uproot reads as such when it is told so: it
    cannot write the name of the class (see `vector_bytes`).
    """
    flags = dict.fromkeys(CONSTITUENT_FLAGS, np.int32)
    lists = dict.fromkeys(CONSTITUENT_FLOATS, np.float32) | flags
    branches: dict[str, Any] = {}
    for name in jets.column_names:
        column = jets[name].combine_chunks()
        if name in lists:
            values = to_numpy(column.flatten()).astype(lists[name])
            counts = np.diff(column.offsets.to_numpy())
            branches[name] = (
                vector_bytes(values, counts) if vectors else ak.unflatten(values, counts)
            )
        elif name.startswith("label_"):
            kind = np.float32 if name == "label_QCD" else bool
            branches[name] = to_numpy(column).astype(np.int32 if name in INTEGER_LABELS else kind)
        elif name != "jet_id":
            branches[name] = to_numpy(column)
    extra = ("jet_sdmass", "jet_tau1", "jet_tau2", "jet_tau3", "jet_tau4")
    branches |= {name: np.zeros(len(jets), dtype=np.float32) for name in extra}
    path.parent.mkdir(parents=True, exist_ok=True)
    with uproot.recreate(path, compression=uproot.LZ4(4)) as file:
        write_tree(file, "tree", branches)


def vector_bytes(values: np.ndarray, counts: np.ndarray) -> ak.Array:
    """Return the bytes of vectors as ROOT streams them.

    Size in bytes with a flag, version, length, and the numbers, all of them big-endian: 10 bytes of
    header, then the content.
    """
    numbers = values.astype(values.dtype.newbyteorder(">"))
    ends = np.cumsum(counts)
    streamed = []
    for count, end in zip(counts.tolist(), ends.tolist(), strict=True):
        content = numbers[end - count : end].tobytes()
        header = struct.pack(">IHI", 0x40000000 | (len(content) + 6), 9, count)
        streamed.append(np.frombuffer(header + content, dtype=np.uint8))
    return ak.unflatten(np.concatenate(streamed), [len(one) for one in streamed])


def write_tree(file: Any, name: str, branches: dict[str, Any]) -> None:
    """Write branches as a TTree: a mere assignment makes an RNTuple."""
    kinds = {
        key: f"var * {ak.type(values).content.content}"
        if isinstance(values, ak.Array)
        else values.dtype
        for key, values in branches.items()
    }
    file.mktree(name, kinds).extend(branches)


def _padded(rng: np.random.Generator, n: int, length: int) -> np.ndarray:
    """Return which of `length` places of each of `n` jets are taken: the first few."""
    return np.arange(length) < rng.integers(1, min(length, 12), n)[:, None]


def write_upp(path: Path, n: int, seed: int = 0, **changes: Any) -> dict[str, np.ndarray]:
    """Write top-pair jets as Zenodo 10371998 has them, and return the data sets.

    `changes` replace fields, ``consts_d0=...``; None leaves one out.
    """
    rng = np.random.default_rng(seed)
    valid = _padded(rng, n, 50)
    flavour = rng.choice(list(FLAVOURS), n).astype(np.int32)
    d0 = rng.normal(0, 0.02 + 0.05 * (flavour == 5) + 0.02 * (flavour == 4), (50, n)).T
    fields: dict[str, np.ndarray] = {
        "jets_pt": rng.uniform(20, 250, n).astype(np.float32),
        "jets_eta": rng.uniform(-2.5, 2.5, n).astype(np.float32),
        "jets_flavour": flavour,
        "jets_flavour_label": np.searchsorted(list(FLAVOURS), flavour).astype(np.int32),
        "consts_valid": valid,
        "consts_d0": d0.astype(np.float32),
        "consts_z0": rng.normal(0, 0.1, (n, 50)).astype(np.float32),
        "consts_phi_rel": rng.normal(0, 0.1, (n, 50)).astype(np.float32),
        "consts_eta_rel": rng.normal(0, 0.1, (n, 50)).astype(np.float32),
        "consts_dr": rng.uniform(0, 0.4, (n, 50)).astype(np.float32),
        "consts_pt_frac": rng.uniform(0.01, 0.3, (n, 50)).astype(np.float32),
        "consts_charge": rng.choice([-1, 1], (n, 50)).astype(np.float32),
        "consts_signed_2d_ip": (d0 / 0.02).astype(np.float32),
        "consts_signed_3d_ip": rng.normal(0, 1, (n, 50)).astype(np.float32),
        "consts_truth_origin_label": np.where(valid, 1, -1).astype(np.int32),
        "consts_truth_vertex_idx": np.where(valid, 0, -2).astype(np.int32),
        "consts_truth_hadron_idx": np.where(valid, 0, -1).astype(np.int32),
        "hadrons_valid": np.zeros((n, 5), dtype=bool),
        "hadrons_flavour": np.full((n, 5), -1, dtype=np.int32),
    }
    return _write_hdf(path, fields | changes)


def write_ftag(path: Path, n: int, seed: int = 0, **changes: Any) -> dict[str, np.ndarray]:
    """Write jets with ATLAS's flavour-tagging variables; otherwise as `write_upp`."""
    rng = np.random.default_rng(seed)
    shape = (n, 40)

    def normal(width: float) -> np.ndarray:
        return rng.normal(0, width, shape).astype(np.float32)

    d0, z0 = normal(0.05), normal(0.1)
    padding = ~_padded(rng, n, 40)
    fields: dict[str, np.ndarray] = {
        "jets_pt": rng.uniform(20e3, 250e3, n).astype(np.float32),
        "jets_eta": rng.uniform(-2.5, 2.5, n).astype(np.float32),
        "jets_mass": rng.uniform(1e3, 20e3, n).astype(np.float32),
        "jets_mcEventWeight": rng.exponential(1, n).astype(np.float32),
        "jets_n_tracks": (~padding).sum(axis=1).astype(np.int32),
        "jets_HadronConeExclTruthLabelID": rng.choice([0, 4, 5, 15], n).astype(np.int32),
        "tracks_valid": ~padding,
        "tracks_d0": d0,
        "tracks_z0SinTheta": z0,
        "tracks_dphi": normal(0.1),
        "tracks_deta": normal(0.1),
        "tracks_qOverP": (rng.choice([-1, 1], shape) / rng.uniform(1e3, 1e4, shape)).astype("f4"),
        "tracks_IP3D_signed_d0_significance": d0 / np.float32(0.02),
        "tracks_IP3D_signed_z0_significance": z0 / np.float32(0.04),
        "tracks_leptonID": rng.choice([0, 11, -13], shape, p=[0.9, 0.05, 0.05]).astype(np.int8),
    }
    p = rng.dirichlet(np.ones(4), n).astype(np.float32)
    fields |= {f"jets_MockTagger_p{name}": p[:, i] for i, name in enumerate(("u", "c", "b", "tau"))}
    for name in ("d0", "z0SinTheta", "qOverP"):  # what is not there must not be read
        fields[f"tracks_{name}"] = np.where(padding, np.float32(np.nan), fields[f"tracks_{name}"])
    return _write_hdf(path, fields | changes)


def _write_hdf(path: Path, fields: dict[str, Any]) -> dict[str, np.ndarray]:
    sets: dict[str, dict[str, np.ndarray]] = {}
    for key, values in fields.items():
        name, _, field = key.partition("_")
        if values is not None:
            sets.setdefault(name, {})[field] = values
    result = {}
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, columns in sets.items():
            shape = next(iter(columns.values())).shape
            data = np.empty(shape, dtype=[(field, a.dtype) for field, a in columns.items()])
            for field, values in columns.items():
                data[field] = values
            file.create_dataset(name, data=data, compression="gzip", chunks=True)
            result[name] = data
    return result
