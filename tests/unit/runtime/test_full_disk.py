"""A full disk: the old file stays whole, nothing new is left, and the message says what to do."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from otcal.figures import style
from otcal.figures.tables import write_csv
from otcal.report import media
from otcal.runtime import checkpoint
from otcal.runtime.errors import InputError
from otcal.runtime.files import atomic_path, write_json, write_text
from otcal.runtime.scratch import Column
from otcal.samples import tables
from otcal.transport.api import fit_map

SPACE = 1 << 16
"""Bytes that there are."""

NUMBERS = np.random.default_rng(1).normal(size=50_000)
SCHEMA = pa.schema([("x", pa.float64())])


def table(path: Path) -> None:
    tables.write_table(path, pa.table({"x": NUMBERS}), SCHEMA, {})


def pieces(path: Path) -> None:
    """Write as a simulation does: row group by row group."""
    with tables.table_writer(path, SCHEMA, {}) as writer:
        for part in np.split(NUMBERS, 10):
            writer.write_table(pa.table({"x": part}))


def frame(path: Path) -> None:
    with atomic_path(path) as temporary:
        pd.DataFrame({"x": NUMBERS}).to_csv(temporary, index=False)


def figure(path: Path) -> None:
    drawn = style.new(4.0)
    drawn.subplots().imshow(NUMBERS.reshape(250, 200), interpolation="nearest")
    style.save(drawn, path.with_suffix(""))


def transport_map(path: Path) -> None:
    x = np.random.default_rng(2).normal(size=(400, 120))
    fit_map(x[:200], x[200:] + 1.0, method="gaussian", diagnostics=False).save(path)


WRITERS: dict[str, Callable[[Path], None]] = {
    "text.txt": lambda path: write_text(path, "otcal\n" * 50_000),
    "numbers.json": lambda path: write_json(path, NUMBERS.tolist()),
    "columns.csv": lambda path: write_csv(path, {"x": NUMBERS}),
    "frame.csv": frame,
    "table.parquet": table,
    "pieces.parquet": pieces,
    "checkpoint.safetensors": lambda path: checkpoint.save(path, {"x": torch.ones(50_000)}),
    "map.safetensors": transport_map,
    "figure.pdf": figure,
}


@contextmanager
def limited_files() -> Iterator[None]:
    """Let no file grow beyond `SPACE`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SPACE, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Mount a file system of `SPACE` bytes."""
    place = tmp_path_factory.mktemp("disk")
    command = ["mount", "-t", "tmpfs", "-o", f"size={SPACE}", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def fails_and_leaves_the_old_file(path: Path, write: Callable[[Path], None], reason: str) -> None:
    path.write_text("old")
    says = rf"{path}: file: cannot be written \({reason}\)\. Free space .* run the same command"
    with pytest.raises(InputError, match=says):
        write(path)
    assert {entry.name: entry.read_text() for entry in path.parent.iterdir()} == {path.name: "old"}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_may_not_grow(tmp_path: Path, name: str) -> None:
    with limited_files():
        fails_and_leaves_the_old_file(tmp_path / name, WRITERS[name], "File too large")


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk(small_disk: Path, name: str) -> None:
    try:
        path = small_disk / name
        fails_and_leaves_the_old_file(path, WRITERS[name], "No space left on device")
    finally:
        for entry in small_disk.iterdir():
            entry.unlink()


def test_enough_space_is_enough(tmp_path: Path) -> None:
    for name, write in WRITERS.items():
        write(tmp_path / name)
        assert (tmp_path / name).stat().st_size > SPACE


def test_a_copied_figure(tmp_path: Path) -> None:
    image = tmp_path / "figures/panel.png"
    figure(image)
    image.with_suffix(".csv").write_text("x\n1\n")
    with limited_files(), pytest.raises(InputError, match=r"report/figures/panel\.png: file: cann"):
        media.publish(image, tmp_path / "report/index.html")
    assert list((tmp_path / "report/figures").iterdir()) == []


def test_the_training_jets_scratch_file_names_its_directory(tmp_path: Path) -> None:
    column = Column(tmp_path)
    with limited_files(), pytest.raises(InputError, match=rf"{tmp_path}: file: cannot be written"):
        column.append(NUMBERS)


def test_a_command_tells_it_in_one_line_whatever_wrote(tmp_path: Path) -> None:
    script = (
        "import errno\n"
        "from otcal.runtime import cli\n"
        "def main(argv):\n"
        "    raise OSError(errno.EDQUOT, 'over quota')\n"
        "cli.run(main)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        "otcal: error: output: file: cannot be written (Disk quota exceeded). "
        "Free space or raise the quota there, and run the same command again\n"
    )


def test_another_failure_is_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        write_text(tmp_path, "x")
    with pytest.raises(PermissionError), atomic_path(tmp_path / "a"):
        raise PermissionError(13, "Permission denied")
