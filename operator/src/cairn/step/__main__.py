"""`python -m cairn.step fetch` and `python -m cairn.step publish`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

TERMINATED = 128 + signal.SIGTERM

DESCRIPTION = """\
Move a step's artifacts between its pod and the artifact store. The operator runs this in the step's pod; the
plan is JSON in CAIRN_PLAN, S3 credentials are in the usual AWS variables or come from the pod's identity.
"""
EPILOG = """\
The last line of the output, and the termination message, is a JSON object: the digests and sizes, or reason
and message.
Exit codes: 0 done, 1 failed and reported, 2 the plan cannot be used, 143 told to stop.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the commands."""
    # As process 1 of a container, a process without a handler would not notice SIGTERM.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(TERMINATED))
    parser = argparse.ArgumentParser(
        prog="cairn.step",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("fetch", help="download the declared inputs, before the step")
    commands.add_parser("publish", help="upload the declared outputs, after the step")
    options = parser.parse_args(arguments)

    from cairn.step.commands import run  # noqa: PLC0415  # after the signal handler, and not for --help

    return run(options.command)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Without waiting for obstore's threads: one that still lets go of a buffer while Python ends aborts the process.
    os._exit(code)
