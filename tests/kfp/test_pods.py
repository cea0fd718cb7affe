"""Attempts as pods, against an API server in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestServer

from tests.kfp.backend import pods
from tests.kfp.backend.cluster import Cluster
from tests.kfp.backend.executor import Progress
from tests.kfp.backend.launcher import RESULT
from tests.kfp.backend.pod_spec import Helpers
from tests.kfp.backend.pods import PodExecutor
from tests.kfp.backend.state import Attempt, Phase
from tests.kfp.fake_servers import FakePods

HELPERS = Helpers(image="operator", endpoint="http://s3:7070")
NAME = "p-x-system-container-impl-1"


def attempt(**fields: Any) -> Attempt:
    """An attempt at a container."""
    known = {
        "pod_name": NAME,
        "node_id": "p-x-1",
        "node_name": "p-x.root.train.executor",
        "workflow": "p-x",
        "run_id": "r",
        "task": "root.a",
        "number": 0,
        "container": {"image": "i"},
        "service_account": "pipeline-runner",
    }
    return Attempt.model_validate({**known, **fields})


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pods, "RETRY_SECONDS", 0)


@asynccontextmanager
async def executor(api: FakePods, tmp_path: Path) -> AsyncGenerator[PodExecutor]:
    """An executor that watches the pods of an API server."""
    async with TestServer(api.app()) as server:
        cluster = Cluster(str(server.make_url("/")), tmp_path)
        found = PodExecutor(cluster, HELPERS, "ml")
        found.follow()
        await api.watched()
        yield found
        await found.close()
        await cluster.close()


async def reached(executor: PodExecutor, phase: Phase) -> Progress:
    """Wait until the attempt is so far."""
    async with asyncio.timeout(5):
        while (progress := executor.progress(attempt())).phase is not phase:  # noqa: ASYNC110 - polled, as by the engine
            await asyncio.sleep(0)
    return progress


async def test_a_pod_is_followed_to_its_end(tmp_path: Path) -> None:
    api = FakePods()
    async with executor(api, tmp_path) as followed:
        followed.start(attempt())
        await api.until("POST")
        before = followed.progress(attempt()).phase
        api.set(NAME, "Running")
        await reached(followed, Phase.RUNNING)
        result = {"parameters": {"n": "1"}, "artifacts": ["d"]}
        api.set(NAME, "Succeeded", exit_code=0, annotations={RESULT: json.dumps(result)})
        progress = await reached(followed, Phase.SUCCEEDED)

    assert before is Phase.PENDING
    assert (progress.exit_code, progress.parameters, progress.artifacts) == (0, {"n": "1"}, ["d"])


async def test_a_container_that_fails_fails_its_attempt(tmp_path: Path) -> None:
    api = FakePods()
    async with executor(api, tmp_path) as followed:
        followed.start(attempt())
        await api.until("POST")
        api.set(NAME, "Failed", exit_code=3)

        assert (await reached(followed, Phase.FAILED)).exit_code == 3


async def test_a_pod_that_is_taken_away_has_failed(tmp_path: Path) -> None:
    api = FakePods()
    async with executor(api, tmp_path) as followed:
        followed.start(attempt())
        await api.until("POST")
        api.set(NAME, "Running")
        await reached(followed, Phase.RUNNING)
        api.take_away(NAME)

        assert (await reached(followed, Phase.FAILED)).finished_at is not None


async def test_a_pod_that_goes_while_nobody_watches_has_failed(tmp_path: Path) -> None:
    api = FakePods()
    async with executor(api, tmp_path) as followed:
        followed.start(attempt())
        await api.until("POST")
        api.set(NAME, "Running")
        await reached(followed, Phase.RUNNING)
        del api.pods[NAME]
        api.end_watches()

        await reached(followed, Phase.FAILED)


async def test_an_api_server_that_is_busy_is_asked_again(tmp_path: Path) -> None:
    api = FakePods()
    api.refusals = [503, 429]
    async with executor(api, tmp_path) as followed:
        followed.start(attempt())
        await api.until("POST")

    assert NAME in api.pods


async def test_a_pod_that_is_refused_fails_its_attempt(tmp_path: Path) -> None:
    api = FakePods()
    api.refusals = [403]
    async with executor(api, tmp_path) as followed:
        followed.start(attempt())

        await reached(followed, Phase.FAILED)


async def test_after_a_restart_the_pod_that_is_there_is_followed(tmp_path: Path) -> None:
    api = FakePods()
    async with executor(api, tmp_path) as before:
        before.start(attempt())
        await api.until("POST")
    async with executor(api, tmp_path) as after:
        after.start(attempt())
        await api.until("POST conflict")
        api.set(NAME, "Succeeded", exit_code=0)

        await reached(after, Phase.SUCCEEDED)


async def test_a_pod_that_waits_is_deleted_to_stop_it(tmp_path: Path) -> None:
    api = FakePods()
    async with executor(api, tmp_path) as followed:
        followed.start(attempt())
        await api.until("POST")
        followed.stop(attempt())
        await api.until("DELETE")

        await reached(followed, Phase.FAILED)


async def test_a_pod_that_runs_is_given_no_more_time_and_stays(tmp_path: Path) -> None:
    api = FakePods()
    async with executor(api, tmp_path) as followed:
        followed.start(attempt())
        await api.until("POST")
        api.set(NAME, "Running")
        followed.stop(attempt())
        await api.until("PATCH")

    assert api.pods[NAME]["spec"]["activeDeadlineSeconds"] == 1


async def test_a_new_attempt_of_the_same_name_waits_for_the_old_pod_to_go(tmp_path: Path) -> None:
    api = FakePods()
    async with executor(api, tmp_path) as followed:
        followed.start(attempt())
        await api.until("POST")
        api.set(NAME, "Failed", exit_code=1)
        await reached(followed, Phase.FAILED)
        first = api.pods[NAME]["metadata"]["uid"]

        followed.remove(attempt())
        followed.start(attempt())
        api.requests.clear()
        await api.until("POST")

        assert api.pods[NAME]["metadata"]["uid"] != first
        assert followed.progress(attempt()).phase is Phase.PENDING
