"""Command lines: what a user sees when a setting is wrong."""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import Field

from otcal.config.base import Block
from otcal.runtime import cli
from otcal.runtime.errors import InputError


class Inner(Block):
    steps: int = Field(gt=0)
    rate: float = 0.1


class Spec(Block):
    name: str
    inner: Inner


def spec(**change: object) -> str:
    return json.dumps({"name": "x", "inner": {"steps": 3}} | change)


def test_settings_are_read_from_text_and_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(spec())
    expected = Spec(name="x", inner=Inner(steps=3))
    assert cli.load_spec(spec(), Spec) == expected
    assert cli.load_spec(f"@{tmp_path}/s.json", Spec) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            spec(inner={"steps": 3, "stepps": 4}),
            "--spec: inner.stepps: is not a known key. Allowed here: steps, rate",
        ),
        (
            spec(colour="red"),
            "--spec: colour: is not a known key. Allowed here: name, inner",
        ),
        (
            spec(inner={}),
            "--spec: inner.steps: is missing. Add it; this block takes: steps, rate",
        ),
        (
            spec(inner={"steps": 0}),
            "--spec: inner.steps: Input should be greater than 0, got 0. "
            "Correct the value in the configuration",
        ),
        (
            spec(inner={"steps": "many"}),
            "--spec: inner.steps: Input should be a valid integer, unable to parse string as an "
            "integer, got 'many'. Correct the value in the configuration",
        ),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        cli.load_spec(text, Spec)
    assert str(caught.value) == message


def test_the_file_is_named_when_the_settings_come_from_one(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(spec(colour="red"))
    with pytest.raises(InputError, match=r"s\.json: colour: is not a known key"):
        cli.load_spec(f"@{tmp_path}/s.json", Spec)
    with pytest.raises(InputError, match=r"none\.json: file: No such file"):
        cli.load_spec(f"@{tmp_path}/none.json", Spec)


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_what_is_not_a_json_object_is_an_input_error(text: str) -> None:
    with pytest.raises(InputError, match="--spec") as caught:
        cli.load_spec(text, Spec)
    assert "\n" not in str(caught.value)


def run(body: str) -> subprocess.CompletedProcess[str]:
    script = f"from otcal.runtime import cli\nfrom otcal.runtime.errors import InputError\n{body}"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)


def test_a_users_mistake_is_one_line_and_status_2() -> None:
    done = run(
        "def main(argv):\n"
        "    raise InputError('jets.parquet', 'jet_pt', 'has NaN', 'Drop it')\n"
        "cli.run(main)"
    )
    assert done.returncode == 2
    assert done.stderr == "otcal: error: jets.parquet: jet_pt: has NaN. Drop it\n"


def test_our_own_mistake_has_a_traceback() -> None:
    done = run("def main(argv):\n    raise KeyError('x')\ncli.run(main)")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_every_step_takes_settings_and_threads() -> None:
    options = cli.parser("A step").parse_args(["--spec", "{}", "--threads", "2"])
    assert (options.spec, options.threads) == ("{}", 2)
    with pytest.raises(SystemExit):
        cli.parser("A step").parse_args([])


def paths(*values: str) -> list[Path]:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jets", nargs="+", action=cli.NumberedFiles)
    return parser.parse_args(["--jets", *values]).jets


def test_numbered_files_are_those_that_the_shell_would_name() -> None:
    values = ["a b/{8..11}.parquet", "one.parquet", "c{0..0}/x"]
    unquoted = " ".join(value.replace(" ", "\\ ") for value in values)
    listed = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {unquoted}"], capture_output=True, text=True, check=True
    )
    assert [str(path) for path in paths(*values)] == listed.stdout.splitlines()


def test_a_range_that_counts_down_is_refused() -> None:
    with pytest.raises(InputError, match=r"--jets: x/\{3\.\.1\}: counts down from 3 to 1"):
        paths("x/{3..1}")


def test_a_shell_takes_a_range_where_it_takes_no_names() -> None:
    program = (
        "import argparse; from otcal.runtime import cli; p = argparse.ArgumentParser();"
        "p.add_argument('--jets', nargs='+', action=cli.NumberedFiles);"
        "print(len(p.parse_args().jets))"
    )
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(program)} --jets "
    pattern = "results/latent/jets/training/QCD/{0..9999}.parquet"
    names = [str(path) for path in paths(pattern)]
    with pytest.raises(OSError, match="Argument list too long"):
        subprocess.run(["sh", "-c", command + " ".join(names)], check=True)
    done = subprocess.run(
        ["sh", "-c", command + shlex.quote(pattern)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "10000\n"
