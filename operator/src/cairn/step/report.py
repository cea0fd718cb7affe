"""What a command tells the operator: one JSON object, as termination message and last line of the log."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cairn.step.errors import OUTPUT_INVALID, StepError
from cairn.step.tree import output_is_elsewhere

if TYPE_CHECKING:
    from collections.abc import Mapping

MESSAGE_FILE_ENV: Final = "CAIRN_TERMINATION_MESSAGE"
MESSAGE_FILE: Final = "/dev/termination-log"
RESULTS_LIMIT: Final = 4096


def say(line: str) -> None:
    """Write a line to the log."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def finish(report: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    """Write the report to both places. The log alone is enough, so an unwritable file is only mentioned."""
    line = json.dumps(report, separators=(",", ":"), ensure_ascii=False)
    path = Path(environment.get(MESSAGE_FILE_ENV) or MESSAGE_FILE)
    try:
        path.write_text(line, encoding="utf-8")
    except OSError as error:
        say(f"The termination message cannot be written to {path}: {error.strerror}.")
    say(line)


def failure(error: StepError) -> dict[str, Any]:
    """Return the report of a failure."""
    return {"reason": error.reason, "message": error.message}


def read_results(path: Path) -> str | None:
    """Return the text of the results file, at most one byte more than is allowed; None when there is none.

    Raises:
        StepError: It is not a plain file of the step. A link could lead to what only publish may read.
    """
    if output_is_elsewhere(path):
        raise _not_a_file()
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _not_a_file(error.strerror) from error
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _not_a_file()
        return file.read(RESULTS_LIMIT + 1).decode("utf-8", "replace")


def _not_a_file(detail: str | None = None) -> StepError:
    detail = f" ({detail})" if detail else ""
    return StepError(
        OUTPUT_INVALID,
        f"Step's results file is not a plain file that publish can read{detail}; write JSON to $CAIRN_RESULTS itself.",
    )
