"""Plan the smoke preset's workflow under many settings in one process.

    python planner.py < settings.json > plans.json

The working directory is the checkout, `settings.json` holds a list of settings on top of the
preset. The answer lists the outputs of each plan as Snakemake's own summary has them. A command
`snakemake --summary` for each would spend its time on imports and fingerprints of the code.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snakemake.api import SnakemakeApi
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
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL}, dryrun=True)) as api:
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


if __name__ == "__main__":
    json.dump([plan(settings) for settings in json.load(sys.stdin)], sys.stdout)
