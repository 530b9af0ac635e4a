"""What `import otcal` offers, and what it does not load."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import otcal
from otcal.runtime.fingerprint import closure
from otcal.transport import api, fitted


def test_public_names() -> None:
    assert otcal.fit_map is api.fit_map
    assert otcal.TransportMap is fitted.TransportMap
    with pytest.raises(AttributeError, match="no attribute 'fit_maps'"):
        _ = otcal.fit_maps


def test_the_package_itself_loads_no_solver() -> None:
    code = "import sys, otcal; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert not any(name.startswith("otcal.transport") for name in closure("otcal.steps.simulate"))


def test_the_example_of_fit_map_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(api)
    assert found.attempted >= 10
    assert found.failed == 0
    assert {path.name for path in tmp_path.iterdir()} == {"map.safetensors", "map.json", "map.onnx"}


def test_the_example_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(example, names)
    np.testing.assert_allclose(names["calibrated"].mean(0), names["target"].mean(0), atol=0.05)
    assert (tmp_path / "map.json").exists()
