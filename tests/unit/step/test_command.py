"""`python -m cairn.step` as a pod runs it: exit codes, termination message, log."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = [sys.executable, "-m", "cairn.step"]


class Container:
    """Runs the commands with a store in a directory."""

    def __init__(self, directory: Path) -> None:
        self.out = directory / "out"
        self.message = directory / "termination-log"
        self.store = directory / "store"
        self.out.mkdir()
        self.store.mkdir()

    def environment(self, plan: object) -> dict[str, str]:
        return {**os.environ, "CAIRN_PLAN": json.dumps(plan), "CAIRN_TERMINATION_MESSAGE": str(self.message)}

    def plan(self, name: str = "model", **more: object) -> dict[str, Any]:
        return {
            "store": {"local": {"root": str(self.store), "claim": "c"}},
            "artifacts": [
                {
                    "name": name,
                    "uri": f"pvc://c/run/{name}",
                    "path": str(self.out / name),
                    "declaredPath": f"/out/{name}",
                }
            ],
            **more,
        }

    def run(self, command: str, plan: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, command], env=self.environment(plan), capture_output=True, text=True, check=False
        )


@pytest.fixture
def container(tmp_path: Path) -> Container:
    """A container."""
    return Container(tmp_path)


def test_publish_reports_digest_size_and_results(container: Container):
    (container.out / "model").write_bytes(b"weights")
    (container.out / "results.json").write_text('{"rmse": 0.5}')

    done = container.run("publish", container.plan(resultsPath=str(container.out / "results.json")))

    assert done.returncode == 0, done.stderr
    assert json.loads(container.message.read_text()) == {
        "artifacts": {
            "model": {
                "digest": "sha256:" + hashlib.sha256(b"weights").hexdigest(),
                "sizeBytes": 7,
            }
        },
        "results": '{"rmse": 0.5}',
    }


def test_the_last_line_of_the_log_is_the_termination_message(container: Container):
    (container.out / "model").write_bytes(b"weights")

    done = container.run("publish", container.plan())

    *progress, last = done.stdout.splitlines()
    assert last == container.message.read_text()
    assert [line.partition(",")[0] for line in progress] == ["published model: 1 file"]


def test_a_termination_message_that_cannot_be_written_is_still_in_the_log(container: Container):
    (container.out / "model").write_bytes(b"weights")
    container.message.mkdir()

    done = container.run("publish", container.plan())

    assert (done.returncode, "model" in json.loads(done.stdout.splitlines()[-1])["artifacts"]) == (0, True)


def test_fetch_downloads_what_publish_uploaded(container: Container):
    (container.out / "model").write_bytes(b"weights")
    container.run("publish", container.plan())
    (container.out / "model").unlink()

    done = container.run("fetch", container.plan())

    assert (done.returncode, (container.out / "model").read_bytes()) == (0, b"weights")


def test_a_plan_that_no_variable_can_hold_goes_on_in_the_next_ones(container: Container):
    (container.out / "model").write_bytes(b"weights")
    text = json.dumps(container.plan())
    variables = {"CAIRN_PLAN": text[:20], "CAIRN_PLAN_1": text[20:40], "CAIRN_PLAN_2": text[40:]}

    done = subprocess.run(
        [*COMMAND, "publish"], env={**container.environment({}), **variables}, capture_output=True, check=False
    )

    assert done.returncode == 0, done.stderr


def test_a_failure_is_reported_in_both_places(container: Container):
    done = container.run("publish", container.plan())

    assert done.returncode == 1
    assert json.loads(container.message.read_text())["reason"] == "OutputMissing"
    assert done.stdout.splitlines()[-1] == container.message.read_text()


def test_a_bad_plan_has_its_own_exit_code(container: Container):
    done = container.run("publish", {"store": {}})

    assert (done.returncode, json.loads(container.message.read_text())["reason"]) == (2, "PlanInvalid")


def test_help_names_both_commands():
    done = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True)

    assert ("fetch" in done.stdout, "publish" in done.stdout) == (True, True)


def test_nothing_heavy_is_imported():
    script = (
        "import sys; import cairn.step.commands, cairn.step.__main__; "
        "print([name for name in ('kopf', 'kubernetes', 'botocore', 'pydantic', 'aiohttp') if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_sigterm_ends_an_upload_and_leaves_nothing_that_looks_complete(container: Container):
    for number in range(3000):
        (container.out / "model" / str(number % 50)).mkdir(parents=True, exist_ok=True)
        (container.out / "model" / str(number % 50) / str(number)).write_bytes(b"x" * 1000)
    with subprocess.Popen(
        [*COMMAND, "publish"], env=container.environment(container.plan()), stdout=subprocess.DEVNULL
    ) as process:
        until = time.monotonic() + 30
        while not (container.store / "run").exists() and time.monotonic() < until:
            time.sleep(0.005)
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=20)

    assert code == 143
    assert not (container.store / "run/model.manifest.json").exists()
    assert not container.message.exists()
