"""What `import otcal` offers, and what it does not load."""

from __future__ import annotations

import subprocess
import sys

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
