from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cairn.api.base import JsonObject

BUILD = Path(__file__).parent / "build.sh"

Kstatus = Callable[[JsonObject], str]


@pytest.fixture(scope="session")
def kstatus() -> Kstatus:
    """What kstatus makes of an object, such as Current."""
    if shutil.which("go") is None:
        pytest.skip("kstatus is Go, and there is no Go here")
    program = subprocess.run(["bash", BUILD], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()

    def verdict(body: JsonObject) -> str:
        done = subprocess.run([program], input=json.dumps(body), stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout.split("\t")[0]

    return verdict
