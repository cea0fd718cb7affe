"""How a step tells its results: small values, shown in the run's status and handed to later steps."""

import json
import os
from pathlib import Path


def write_results(**results: str | float) -> None:
    """Write them as one flat JSON object to the file that CAIRN_RESULTS names, and to the log."""
    text = json.dumps({name: _rounded(value) for name, value in results.items()})
    print(text)
    if file := os.environ.get("CAIRN_RESULTS"):
        Path(file).write_text(text)


def _rounded(value: str | float) -> str | float:
    return round(value, 4) if isinstance(value, float) else value
