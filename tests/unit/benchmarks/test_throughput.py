"""The benchmark of applying a calibration runs what it says on calibrations that are valid."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from apply_throughput import rows

JETS = 300


@pytest.mark.parametrize(
    ("study", "column"), [("simplex", "calibrated_p_b"), ("latent", "calibrated_z128")]
)
def test_every_row_runs_and_jets_are_calibrated(tmp_path: Path, study: str, column: str) -> None:
    functions = rows(study, JETS, tmp_path / study)
    assert list(functions) == ["products", "model", "calibrate", "apply"]
    for function in functions.values():
        function()
    calibrated = pq.read_table(tmp_path / f"{study}-out.parquet")
    assert calibrated.num_rows == JETS
    assert calibrated[column].null_count == 0
