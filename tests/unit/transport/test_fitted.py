"""A fitted map on disk and in use."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from otcal.runtime.errors import InputError
from otcal.transport.api import FittedMap, fit_map
from otcal.transport.fitted import CHUNK, TransportMap
from otcal.transport.minimax import MinimaxOptions
from otcal.transport.semidual import SemidualOptions


@pytest.fixture(scope="module")
def samples() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(400, 3)), rng.normal(size=(400, 3)) ** 3 + 1.0


@pytest.fixture(
    scope="module",
    params=[
        "convex",
        "minimax",
        "gaussian",
        "rank-deficient",
        "minimax, standardised",
        "rank-deficient, standardised",
    ],
)
def fitted(request: pytest.FixtureRequest, samples: tuple[np.ndarray, np.ndarray]) -> FittedMap:
    source, target = samples
    name, *plain = request.param.split(", ")
    if name == "rank-deficient":
        source, target = source @ np.eye(3, 5), target @ np.eye(3, 5)
        return fit_map(
            source, target, steps=20, select=False, options=small(), precondition=not plain
        )
    options = {"convex": small(), "minimax": MinimaxOptions(blocks=2, hidden=(8, 8), batch=32)}
    return fit_map(
        source,
        target,
        method=name,
        steps=20,
        select=False,
        options=options.get(name),
        precondition=not plain,
    )


def small() -> SemidualOptions:
    return SemidualOptions(hidden=(16, 16), batch=64)


def points(fitted: FittedMap, n: int = 100) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(n, fitted.map.dimension)).astype(np.float32)


def test_round_trip_through_files_is_exact(fitted: FittedMap, tmp_path: Path) -> None:
    fitted.save(tmp_path / "map.safetensors", {"layer": "z128"})
    loaded = TransportMap.load(tmp_path / "map.safetensors")
    x = points(fitted)
    np.testing.assert_array_equal(loaded.transport(x), fitted.transport(x))
    np.testing.assert_array_equal(loaded.inverse(x).points, fitted.inverse(x).points)
    description = json.loads((tmp_path / "map.json").read_text())
    assert description["dimension"] == fitted.map.dimension
    assert description["gradient_of_one_convex_potential"] == fitted.map.is_gradient
    assert description["notes"]["layer"] == "z128"
    assert description["notes"]["diagnostics"]["winner"] == fitted.diagnostics["winner"]


def test_saving_twice_gives_the_same_bytes(fitted: FittedMap, tmp_path: Path) -> None:
    for name in ("a", "b"):
        fitted.save(tmp_path / f"{name}.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_inverse_undoes_the_map(fitted: FittedMap) -> None:
    x = points(fitted)
    back = fitted.inverse(fitted.transport(x))
    assert back.converged.all()
    np.testing.assert_allclose(back.points, x, atol=0.02)
    if fitted.map.is_gradient:
        assert (back.error_bound >= back.residual * 0.1).all()
    else:
        assert np.isnan(back.error_bound).all()


def test_torch_and_numpy_agree_and_chunks_do_not_matter(fitted: FittedMap) -> None:
    x = points(fitted, CHUNK + 10)
    moved = fitted.transport(x)
    assert moved.dtype == np.float32
    tensor = fitted.transport(torch.from_numpy(x))
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_array_equal(tensor.numpy(), moved)
    np.testing.assert_allclose(fitted.transport(x[-20:]), moved[-20:], rtol=1e-5, atol=1e-5)
    assert fitted.transport(x[:0]).shape == (0, fitted.map.dimension)


def test_bad_points_are_refused(fitted: FittedMap) -> None:
    x = points(fitted)
    with pytest.raises(InputError, match="takes"):
        fitted.transport(x[:, :-1])
    x[3, 0] = np.nan
    with pytest.raises(InputError, match="NaN"):
        fitted.transport(x)


def test_loading_and_applying_imports_no_training_code(
    samples: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    path = tmp_path / "map.safetensors"
    fit_map(*samples, steps=20, select=False, options=small()).save(path)
    script = f"""
import sys
import numpy as np
from otcal.transport.fitted import TransportMap
assert TransportMap.load({str(path)!r}).transport(np.zeros((4, 3))).shape == (4, 3)
training = {{"training", "semidual", "minimax", "api", "heldout", "problem"}}
loaded = [name for name in sys.modules if name.startswith("otcal.")]
assert not [name for name in loaded if name.split(".")[-1] in training], loaded
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_damaged_and_foreign_files_are_refused(
    samples: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    path = tmp_path / "map.safetensors"
    fit_map(*samples, steps=20, select=False, options=small()).save(path)
    with pytest.raises(InputError, match="does not exist"):
        TransportMap.load(tmp_path / "other.safetensors")
    description = json.loads((tmp_path / "map.json").read_text())
    description["potentials"][0]["architecture"]["hidden"] = [16, 17]
    (tmp_path / "map.json").write_text(json.dumps(description))
    with pytest.raises(InputError, match="do not fit the description"):
        TransportMap.load(path)
    (tmp_path / "map.json").write_text('{"format": "another"}')
    with pytest.raises(InputError, match="format"):
        TransportMap.load(path)
    fit_map(*samples, method="gaussian").save(tmp_path / "linear.safetensors")
    fit_map(*samples, steps=20, select=False, options=small()).save(path)
    path.write_bytes((tmp_path / "linear.safetensors").read_bytes())
    with pytest.raises(InputError, match=r"not the file that map\.json describes"):
        TransportMap.load(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="not a safetensors file"):
        TransportMap.load(path)
