"""Files are whole or absent."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from otcal.runtime.errors import InputError
from otcal.runtime.files import atomic_path, read_json, sha256, write_json, write_text


def test_the_file_appears_when_the_block_succeeds(tmp_path: Path) -> None:
    path = tmp_path / "new/deep/table.csv"
    with atomic_path(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.suffix == ".csv"
        temporary.write_text("content")
        assert not path.exists()
    assert path.read_text() == "content"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("before", [None, "old"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_changes_nothing(
    tmp_path: Path, before: str | None, error: type[BaseException]
) -> None:
    path = tmp_path / "a.txt"
    if before is not None:
        path.write_text(before)

    def half_done() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        half_done()
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == (
        {} if before is None else {"a.txt": before}
    )


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a.txt"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_json_round_trip_keeps_floats_and_order(tmp_path: Path) -> None:
    content = {"z": 0.1 + 0.2, "a": [1, None, True, "≤"], "tiny": 5e-324}
    write_json(tmp_path / "a.json", content)
    loaded = read_json(tmp_path / "a.json")
    assert loaded == content
    assert list(loaded) == list(content)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_json_refuses_what_json_has_not(tmp_path: Path, bad: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"x": [bad]})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe\x00"])
def test_what_is_not_json_is_an_input_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json: file: is not JSON"):
        read_json(tmp_path / "a.json")


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_json(tmp_path / "a.json")


def test_checksum_of_a_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "otcal\n" * 100_000)
    assert sha256(tmp_path / "a") == hashlib.sha256(b"otcal\n" * 100_000).hexdigest()
    write_text(tmp_path / "b", "abc")  # FIPS 180-2, appendix B.1
    assert sha256(tmp_path / "b").startswith("ba7816bf8f01cfea414140de5dae2223b00361a3")


@pytest.mark.parametrize(
    ("name", "problem"), [("absent", "does not exist"), ("folder", "cannot be read")]
)
def test_the_checksum_of_no_file_is_an_input_error(tmp_path: Path, name: str, problem: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=rf"{name}: file: {problem}"):
        sha256(tmp_path / name)
