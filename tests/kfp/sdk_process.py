"""KFP's own SDK, in a process of its own: its dependencies and the operator's exclude each other."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cairn.runs.kubeflow.compiler import Pipeline

CHECKOUT = Path(__file__).parents[2]
ENVIRONMENT = ".venv-kfp"
# As the Makefile's WITH_KFP
COMMAND = ("uv", "run", "--quiet", "--locked", "--only-group", "kfp", "python", "-m", "tests.kfp.oracle")


class RefusedError(Exception):
    """The SDK does not take a document; the text says why."""


@dataclass
class Sdk:
    """Asks `tests/kfp/oracle`."""

    process: subprocess.Popen[str]

    def understood(self, pipeline: Pipeline) -> dict[str, Any]:
        """Return what the SDK understands of a compiled run; raises RefusedError."""
        found = self._ask({"spec": pipeline.spec, "platform": pipeline.platform})
        if "refused" in found:
            raise RefusedError(found["refused"])
        return found

    def by_hand(self, name: str) -> dict[str, Any]:
        """Return what the SDK compiles from a pipeline of `oracle/by_hand.py`."""
        return self._ask({"written_by_hand": name})

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{json.dumps(request)}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "the SDK's process has ended; its error is above"
        return json.loads(answer)


@contextmanager
def sdk_process() -> Generator[Sdk]:
    """Start it, having installed the SDK where it is not."""
    own = {**os.environ, "UV_PROJECT_ENVIRONMENT": ENVIRONMENT}
    with subprocess.Popen(
        COMMAND, cwd=CHECKOUT, env=own, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        yield Sdk(process)
