"""What all tests share: random jets that look different from class to class, and a browser."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

# Before anything loads OpenMP: its threads spin while they wait for each other, which makes the
# small problems of tests many times slower on a machine that is busy with something else.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa
import pytest

from otcal.samples.classes import CLASSES
from otcal.samples.jets import JET_SCHEMA, LABELS

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytest.register_assert_rewrite("support.browser")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Start a process more than there are processors: the tests of Slurm mostly wait for it."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None  # for the plugin to read
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files that take minutes first: begun last, one would run on while other cores idle."""
    items.sort(key=lambda item: item.get_closest_marker("heavy") is None)


def random_jets(n: int, seed: int, classes: Sequence[str] = CLASSES) -> pa.Table:
    """Return `n` jets in `JET_SCHEMA`, of the given classes in turn.

    Number of constituents, width and displacement of tracks depend on the class, so that a tagger
    can learn it. Ids are unique for a seed. Nothing else is physical.
    """
    rng = np.random.default_rng(seed)
    labels = np.array([CLASSES.index(name) for name in classes], dtype=np.int8)
    labels = labels[np.arange(n) % len(labels)]
    lengths = 1 + rng.poisson(10 + 3 * labels)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    label, m = np.repeat(labels, lengths), int(lengths.sum())

    pt = rng.lognormal(1.5, 1.0, m)
    phi, eta = rng.uniform(-np.pi, np.pi, n), rng.uniform(-2, 2, n)
    deta, dphi = rng.normal(0, 0.05 + 0.02 * label, (2, m))
    angle = np.repeat(phi, lengths) + dphi
    rapidity = np.repeat(eta, lengths) + deta

    # Charged hadron, neutral hadron, photon, electron, muon.
    kind = rng.choice(5, m, p=[0.5, 0.15, 0.3, 0.03, 0.02])
    charged = (kind == 0) | (kind >= 3)
    errors = rng.uniform(0.01, 0.1, (2, m)) * charged
    impact = rng.normal(0, 1, (2, m)) * (errors + 0.05 * (label % 3) * charged)
    jet_pt = np.bincount(np.repeat(np.arange(n), lengths), weights=pt, minlength=n)

    parts = {
        "part_px": pt * np.cos(angle),
        "part_py": pt * np.sin(angle),
        "part_pz": pt * np.sinh(rapidity),
        "part_energy": pt * np.cosh(rapidity),
        "part_deta": deta,
        "part_dphi": dphi,
        "part_d0val": impact[0],
        "part_d0err": errors[0],
        "part_dzval": impact[1],
        "part_dzerr": errors[1],
        "part_charge": charged * rng.choice([-1, 1], m),
        "part_isChargedHadron": kind == 0,
        "part_isNeutralHadron": kind == 1,
        "part_isPhoton": kind == 2,
        "part_isElectron": kind == 3,
        "part_isMuon": kind == 4,
    }
    jets = {
        "jet_pt": jet_pt,
        "jet_eta": eta,
        "jet_phi": phi,
        "jet_energy": jet_pt * np.cosh(eta),
        "jet_nparticles": lengths,
    }
    columns: dict[str, object] = {"jet_id": np.int64(seed) * 10**9 + np.arange(n)}
    columns |= {
        name: pa.ListArray.from_arrays(
            pa.array(offsets, pa.int32()),
            pa.array(values).cast(JET_SCHEMA.field(name).type.value_type, safe=False),
        )
        for name, values in parts.items()
    }
    columns |= {name: (labels == i).astype(np.int8) for i, name in enumerate(LABELS)}
    columns |= {name: np.asarray(values, dtype=np.float32) for name, values in jets.items()}
    absent = [name for name in JET_SCHEMA.names if name not in columns]
    columns |= {name: np.zeros(n, dtype=np.float32) for name in absent}
    return pa.table(columns).select(JET_SCHEMA.names).cast(JET_SCHEMA)


@pytest.fixture(scope="session")
def make_jets() -> Callable[..., pa.Table]:
    """Return `random_jets(n, seed, classes=CLASSES)`."""
    return random_jets


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Run Chromium; tests that use it are marked with `support.browser.needs_chromium`."""
    from support.browser import chromium

    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver
