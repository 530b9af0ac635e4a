"""The benchmark of applying a calibration runs what it says on calibrations that are valid."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot

from apply_throughput import rows

JETS = 300


@pytest.mark.parametrize(
    ("study", "column"), [("simplex", "calibrated_p_b"), ("latent", "calibrated_z128")]
)
def test_every_row_runs_and_jets_are_calibrated(tmp_path: Path, study: str, column: str) -> None:
    functions = rows(study, JETS, tmp_path / study)
    formats = ["apply parquet", "apply root", "apply hdf5"]
    assert list(functions) == ["products", "model", "calibrate", *formats]
    for function in functions.values():
        function()
    output = tmp_path / f"{study}-out"
    table = pq.read_table(output.with_suffix(".parquet"))
    calibrated = np.array(table[column].to_pylist())
    assert len(calibrated) == JETS
    assert np.isfinite(calibrated).all()
    with uproot.open(output.with_suffix(".root")) as file:
        np.testing.assert_array_equal(file["tree"][column].array(library="np"), calibrated)
    with h5py.File(output.with_suffix(".hdf5")) as file:
        np.testing.assert_array_equal(file["jets"][column], calibrated)
