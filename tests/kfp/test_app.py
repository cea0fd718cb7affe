"""The server around runs: lists, who may ask, and faults."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from tests.kfp.backend.auth import Auth
from tests.kfp.harness import Backend, backend
from tests.kfp.pipelines import Pipeline

RUNS = "/apis/v2beta1/runs"
HEALTHZ = "/apis/v2beta1/healthz"


async def five_runs(server: Backend) -> None:
    pipeline = Pipeline()
    spec = pipeline.task("a", pipeline.container("a")).spec
    for number in range(5):
        server.clock.advance(60)
        await server.ask("POST", RUNS, {"display_name": f"run-{number}", "pipeline_spec": spec})


async def names(server: Backend, query: str) -> list[str]:
    status, body = await server.ask("GET", f"{RUNS}?{query}")
    assert status == 200, body
    return [run["display_name"] for run in body.get("runs", [])]


def predicate(key: str, operation: str, **value: Any) -> str:
    return "filter=" + quote(json.dumps({"predicates": [{"key": key, "operation": operation, **value}]}))


async def test_pages_follow_each_other_and_miss_nothing() -> None:
    async with backend() as server:
        await five_runs(server)
        seen: list[str] = []
        query = "page_size=2&sort_by=created_at%20desc"
        while True:
            _, body = await server.ask("GET", f"{RUNS}?{query}")
            seen += [run["display_name"] for run in body["runs"]]
            if "next_page_token" not in body:
                break
            query = f"page_size=2&page_token={quote(body['next_page_token'])}"

    assert seen == [f"run-{number}" for number in (4, 3, 2, 1, 0)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (predicate("display_name", "EQUALS", string_value="run-3"), ["run-3"]),
        (predicate("name", "IS_SUBSTRING", string_value="-4"), ["run-4"]),
        (predicate("display_name", "IN", string_values={"values": ["run-0", "run-1"]}), ["run-0", "run-1"]),
        (predicate("state", "EQUALS", string_value="SUCCEEDED"), ["run-0", "run-1", "run-2", "run-3"]),
        (predicate("created_at", "GREATER_THAN", timestamp_value="2026-11-21T09:53:30Z"), ["run-3", "run-4"]),
        ("experiment_id=unknown", []),
    ],
)
async def test_filters(query: str, expected: list[str]) -> None:
    async with backend() as server:
        await five_runs(server)

        assert await names(server, query) == expected


@pytest.mark.parametrize(
    "query",
    [
        "filter=nonsense",
        predicate("unknown", "EQUALS", string_value="a"),
        predicate("state", "UNKNOWN", string_value="a"),
        "sort_by=unknown",
        "page_token=nonsense",
    ],
)
async def test_lists_of_nothing_that_there_is_are_refused(query: str) -> None:
    async with backend() as server:
        await five_runs(server)
        status, body = await server.ask("GET", f"{RUNS}?{query}")

    assert (status, body["code"]) == (400, 3)


async def test_runs_without_an_experiment_are_in_the_default_one() -> None:
    async with backend() as server:
        await five_runs(server)
        _, body = await server.ask("GET", "/apis/v2beta1/experiments")

    assert [one["display_name"] for one in body["experiments"]] == ["Default"]
    assert body["experiments"][0]["last_run_created_at"] == "2026-11-21T09:55:00Z"


async def test_archived_runs_say_so() -> None:
    async with backend() as server:
        await five_runs(server)
        run_id = next(iter(server.store.runs))
        await server.ask("POST", f"{RUNS}/{run_id}:archive")
        archived = (await server.run(run_id))["storage_state"]
        await server.ask("POST", f"{RUNS}/{run_id}:unarchive")

        assert (archived, (await server.run(run_id))["storage_state"]) == ("ARCHIVED", "AVAILABLE")


async def test_a_request_without_the_token_is_refused_as_a_proxy_refuses_it() -> None:
    async with backend(auth=Auth("t")) as server:
        refused = await server.ask("GET", HEALTHZ)
        status, _ = await server.ask("GET", HEALTHZ, headers={"Authorization": "Bearer t"})

    assert refused == (401, "Jwt verification fails")
    assert status == 200


async def test_a_token_that_is_replaced_is_not_valid_any_more() -> None:
    async with backend(auth=Auth("old")) as server:
        await server.ask("PUT", "/token", {"token": "new"})

        assert (await server.ask("GET", HEALTHZ, headers={"Authorization": "Bearer old"}))[0] == 401
        assert (await server.ask("GET", HEALTHZ, headers={"Authorization": "Bearer new"}))[0] == 200


async def test_in_multi_user_mode_the_user_must_be_named() -> None:
    async with backend(auth=Auth(is_multi_user=True)) as server:
        status, body = await server.ask("GET", RUNS)
        named, health = await server.ask("GET", HEALTHZ, headers={"kubeflow-userid": "u@example.org"})

    assert (status, body["code"]) == (401, 16)
    assert (named, health["multi_user"]) == (200, True)


async def test_a_fault_lasts_as_long_as_it_says() -> None:
    async with backend() as server:
        await server.ask("POST", "/faults", {"status": 503, "seconds": 60})
        during, _ = await server.ask("GET", HEALTHZ)
        server.clock.advance(61)
        after, _ = await server.ask("GET", HEALTHZ)

    assert (during, after) == (503, 200)


async def test_a_fault_concerns_as_many_requests_as_it_says_and_only_those() -> None:
    async with backend() as server:
        fault = {"status": 429, "headers": {"Retry-After": "1"}, "count": 1, "method": "GET", "path": "runs"}
        await server.ask("POST", "/faults", fault)

        statuses = [(await server.ask("GET", path))[0] for path in (HEALTHZ, RUNS, RUNS)]

    assert statuses == [200, 429, 200]


async def test_a_connection_may_close_after_the_work_is_done() -> None:
    pipeline = Pipeline()
    spec = pipeline.task("a", pipeline.container("a")).spec
    async with backend() as server:
        await server.ask("POST", "/faults", {"drop": "after", "count": 1, "method": "POST"})
        with pytest.raises(aiohttp.ClientError):
            await server.ask("POST", RUNS, {"display_name": "lost", "pipeline_spec": spec})

        assert await names(server, "") == ["lost"]


async def test_a_connection_may_close_before_anything_is_done() -> None:
    async with backend() as server:
        await server.ask("POST", "/faults", {"drop": "before", "count": 1, "method": "POST"})
        with pytest.raises(aiohttp.ClientError):
            await server.ask("POST", "/apis/v2beta1/experiments", {"display_name": "lost"})

        assert not server.store.experiments


async def test_faults_can_be_ended() -> None:
    async with backend() as server:
        await server.ask("POST", "/faults", {"status": 503})
        await server.ask("DELETE", "/faults")

        assert (await server.ask("GET", HEALTHZ))[0] == 200


async def test_requests_are_counted_by_route() -> None:
    async with backend() as server:
        await server.ask("GET", HEALTHZ)
        await server.ask("GET", f"{RUNS}/a")
        await server.ask("GET", f"{RUNS}/b")
        _, counted = await server.ask("GET", "/requests")

    assert counted == {"GET /apis/v2beta1/healthz": 1, "GET /apis/v2beta1/runs/{run_id}": 2}


async def test_what_there_is_not_is_told_as_json() -> None:
    async with backend() as server:
        status, body = await server.ask("GET", "/apis/v2beta1/nothing")

    assert (status, body["code"]) == (404, 5)


async def test_it_is_told_to_the_microsecond_when_a_run_was_over_and_when_all_of_it_was_told() -> None:
    pipeline = Pipeline()
    spec = pipeline.task("a", pipeline.container("a")).spec
    async with backend() as server:
        await server.submit(spec)
        assert await server.ask("GET", "/ends") == (200, {})
        server.clock.advance(600)
        run = next(iter(server.store.runs.values()))

        _, ends = await server.ask("GET", "/ends")

    assert run.finished_at is not None
    ended = run.finished_at.timestamp()
    assert ends == {run.run_id: {"ended": ended, "told": pytest.approx(ended + 1.25)}}
