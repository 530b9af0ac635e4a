"""Write the JSON schema of config.yaml, for editors: ``python -m otcal.config.schema FILE``."""

from __future__ import annotations

import sys

from otcal.config.study import Settings
from otcal.runtime.files import write_json

if __name__ == "__main__":
    write_json(sys.argv[1], Settings.model_json_schema())
