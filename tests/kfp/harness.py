"""A backend for tests: its time passes when it is told to, and a script says what containers do."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp.test_utils import TestClient, TestServer

from tests.kfp.backend.app import make_app
from tests.kfp.backend.auth import Auth
from tests.kfp.backend.clock import Timing, VirtualClock
from tests.kfp.backend.engine import Engine
from tests.kfp.backend.operation import Host
from tests.kfp.backend.scripted import Deed, Script, ScriptedExecutor, succeeding
from tests.kfp.backend.state import Attempt
from tests.kfp.backend.store import Store

START = datetime(2026, 11, 21, 9, 50, tzinfo=UTC)
PIPELINE_ROOT = "s3://mlpipeline/v2/artifacts"
RECORDINGS = Path(__file__).parent / "recordings"


succeeds = succeeding(seconds=2)
"""Does what is asked for."""


@dataclass
class Outcome:
    """How a run stands: of several tasks of one name, such as `executor`, one is here."""

    state: str | None
    tasks: dict[str, str | None]


@dataclass
class Backend:
    """A backend, and a client of it."""

    client: TestClient[Any, Any]
    clock: VirtualClock
    executor: ScriptedExecutor
    store: Store
    engine: Engine

    async def ask(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        """Return the status and the body of an answer."""
        text = None if body is None else json.dumps(body)
        async with self.client.request(method, path, data=text, **options) as response:
            content = await response.text()
            return response.status, json.loads(content) if response.content_type == "application/json" else content

    async def submit(self, spec: dict[str, Any], **parameters: Any) -> str:
        """Start a run and return its ID."""
        body = {"display_name": "run", "pipeline_spec": spec, "runtime_config": {"parameters": parameters}}
        status, run = await self.ask("POST", "/apis/v2beta1/runs", body)
        assert status == 200, run
        return run["run_id"]

    async def finish(self, spec: dict[str, Any], **parameters: Any) -> Outcome:
        """Run a pipeline to its end."""
        run_id = await self.submit(spec, **parameters)
        self.clock.advance(600)
        return self.outcome(await self.run(run_id))

    @staticmethod
    def outcome(run: dict[str, Any]) -> Outcome:
        """Return how a run stands."""
        return Outcome(run.get("state"), dict(task_states(run)))

    def parameters_of(self, task: str) -> dict[str, Any]:
        """Return the inputs that a task's container was given last."""
        return self.attempts_at(task)[-1].inputs.parameters

    def attempts_at(self, task: str) -> list[Attempt]:
        """Return the attempts at a task of that path below the workflow."""
        return [attempt for attempt in self.executor.started if attempt.task == task]

    async def run(self, run_id: str) -> dict[str, Any]:
        """Return a run."""
        status, body = await self.ask("GET", f"/apis/v2beta1/runs/{run_id}")
        assert status == 200, body
        return body


@asynccontextmanager
async def backend(
    script: Script = succeeds,
    *,
    timing: Timing | None = None,
    store: Store | None = None,
    clock: VirtualClock | None = None,
    auth: Auth | None = None,
) -> AsyncGenerator[Backend]:
    """Serve."""
    clock, store = clock or VirtualClock(START), store or Store()
    executor = ScriptedExecutor(clock, script)
    host = Host(executor=executor, timing=timing or Timing(), pipeline_root=PIPELINE_ROOT, cache=store.cache)
    engine = Engine(store, host, clock)
    async with TestClient(TestServer(make_app(store, engine, clock, auth or Auth()))) as client:
        yield Backend(client, clock, executor, store, engine)


def recording(name: str) -> Any:
    """Return what was recorded."""
    return json.loads((RECORDINGS / f"{name}.json").read_text())


_UUID = re.compile(r"\b(?!0{8})[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_TIME = re.compile(r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$")


def normalised(value: Any) -> Any:
    """Return an answer without what is another each time: IDs, times, page tokens; tasks come in the order of their IDs."""
    if isinstance(value, dict):
        found = {key: normalised(item) for key, item in value.items()}
        if "task_details" in found:
            found["task_details"].sort(key=lambda task: json.dumps(task, sort_keys=True))
        return {**found, **{name: f"<{name}>" for name in ("next_page_token", "execution_id") if name in found}}
    if isinstance(value, list):
        return [normalised(item) for item in value]
    if isinstance(value, str):
        return _TIME.sub("<time>", _UUID.sub("<uuid>", value))
    return value


def task_states(run: dict[str, Any]) -> list[tuple[str, str | None]]:
    """Return the tasks of a run with their states."""
    tasks = run.get("run_details", {}).get("task_details", [])
    return sorted(((task.get("display_name", ""), task.get("state")) for task in tasks), key=str)


def workflow_of(run: dict[str, Any]) -> str:
    """Return the name of a run's workflow, which is among its tasks."""
    name = run["pipeline_spec"]["pipelineInfo"]["name"]
    tasks = run["run_details"]["task_details"]
    names = [task.get("display_name", "") for task in tasks]
    return next(found for found in names if re.fullmatch(rf"{name}-[a-z0-9]{{5}}", found))


def doubles(attempt: Attempt) -> Deed:
    """Write its input `x`, twice, to its output `y`."""
    return Deed(parameters={"y": str(attempt.inputs.parameters.get("x")) * 2})
