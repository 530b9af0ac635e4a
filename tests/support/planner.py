"""Plan the smoke preset's workflow under many settings in one process.

    python planner.py < settings.json > plans.json

The working directory is the checkout, `settings.json` holds a list of settings on top of the
preset. The answer lists the outputs of each plan as Snakemake's own summary has them. A command
`snakemake --summary` for each would spend its time on imports, fingerprints of the code, and on
parsing files that are the same for all.
"""

from __future__ import annotations

import contextlib
import copy
import csv
import io
import json
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import snakemake.api
import snakemake.workflow
from snakemake.common import configfile
from snakemake.settings.types import (
    ConfigSettings,
    OutputSettings,
    Quietness,
    ResourceSettings,
)

PRESET = Path("workflow/presets/smoke.yaml")


def plan(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return file, rule, log and inputs of every output, and whether it would be made again."""
    summary = io.StringIO()
    with snakemake.api.SnakemakeApi(OutputSettings(quiet={Quietness.ALL}, dryrun=True)) as api:
        workflow = api.workflow(
            resource_settings=ResourceSettings(cores=2),
            config_settings=ConfigSettings(configfiles=[PRESET], config=settings),
            snakefile=Path("Snakefile"),
            workdir=Path.cwd(),
        )
        with contextlib.redirect_stdout(summary):
            workflow.dag().summary(detailed=True)
    rows = csv.DictReader(io.StringIO(summary.getvalue()), delimiter="\t", quoting=csv.QUOTE_NONE)
    return [
        {
            "file": row["output_file"],
            "rule": row["rule"],
            "log": row["log-file(s)"],
            "inputs": row["input-file(s)"].split(","),
            "pending": row["plan"] != "no update",
        }
        for row in rows
    ]


def parse_files_once() -> None:
    """Let Snakemake keep what it parses, which is a third of the time that a plan takes."""
    parse, load = snakemake.workflow.parse, cache(configfile._load_configfile)
    known: dict[tuple[str, int], tuple[Any, dict[int, int]]] = {}

    def parsed(path: Any, workflow: Any, linemap: dict[int, int], rulecount: int) -> Any:
        key = path.get_path_or_uri(secret_free=True), rulecount
        if key not in known:
            known[key] = parse(path, workflow, linemap, rulecount=rulecount), linemap
        result, lines = known[key]
        linemap.update(lines)
        return result

    snakemake.workflow.parse = parsed
    configfile._load_configfile = lambda path: copy.deepcopy(load(path))


if __name__ == "__main__":
    parse_files_once()
    json.dump([plan(settings) for settings in json.load(sys.stdin)], sys.stdout)
